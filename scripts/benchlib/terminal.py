"""Terminal: what every contender's client can do, and the words the measurements are written in."""

import asyncio
import base64
import re
import uuid
import zlib
from collections.abc import Callable
from pathlib import Path

from benchlib.wire import DirectStream

KEPT_BYTES = 64 * 1024
PROMPT = b"bench>> "
SHELL = "PS1='be''nch>> ' PS2= HISTFILE= INPUTRC=/dev/null exec bash --noprofile --norc -i"
ANY_PROMPT = re.compile(rb"[$#>] (\x1b\[[0-9;?]*[A-Za-z])*$")
INSIDE = Path(__file__).with_name("inside.py")


class TerminalLost(Exception):
    """The terminal ended while something was awaited from it."""


class Terminal:
    """One open terminal. Of its output the last `KEPT_BYTES` are kept, in which the benchmarks search."""

    def __init__(self) -> None:
        self.bytes_received = 0
        self.tap: Callable[[bytes], None] | None = None
        self.pid: int | None = None  # of the client program, where it is one
        self._shown = bytearray()
        self._wanted: tuple[Callable[[bytearray], int], asyncio.Future[None]] | None = None
        self._lost_reason = ""

    @property
    def wire(self) -> DirectStream | None:
        """What is read, where there is a descriptor to read."""
        raise NotImplementedError

    def send(self, data: bytes) -> None:
        """Type, as one message; never waits."""
        raise NotImplementedError

    def pace(self, bytes_s: float | None) -> None:
        """Read so many bytes a second from the socket: None for all that come, 0 for none."""
        assert self.wire is not None
        self.wire.pace(bytes_s)

    async def drain(self) -> None:
        """Wait until what was typed has left this process."""
        if self.wire is not None:
            await self.wire.drain()

    async def close(self) -> None:
        """Hang up and free everything."""
        raise NotImplementedError

    async def type(self, data: bytes) -> None:
        """Type as one message, and wait until it has left."""
        self.send(data)
        await self.drain()

    async def until(self, sentinel: bytes, timeout_s: float = 60.0) -> None:
        """Wait until `sentinel` has been shown, and forget all up to its end."""
        begin = 0

        def find(shown: bytearray) -> int:
            nonlocal begin
            place = shown.find(sentinel, begin)
            begin = max(0, min(len(shown), KEPT_BYTES) - len(sentinel))
            return -1 if place < 0 else place + len(sentinel)

        await self._until(find, repr(sentinel), timeout_s)

    async def until_any_prompt(self, timeout_s: float = 60.0) -> None:
        """Wait until the last thing shown looks like a shell's prompt."""
        await self._until(lambda shown: len(shown) if ANY_PROMPT.search(shown[-200:]) else -1, "a prompt", timeout_s)

    async def run(self, command: str, timeout_s: float = 60.0) -> bytes:
        """Run a command at the prompt; return what was shown until the next prompt."""
        seen = bytearray()
        self.tap = seen.extend
        await self.type(command.encode() + b"\r")
        await self.until(PROMPT, timeout_s)
        self.tap = None
        return bytes(seen)

    async def prepare(self) -> None:
        """Have the same shell everywhere: bash without its files, and a prompt that nothing else prints."""
        await self.type(SHELL.encode() + b"\r")
        await self.until(PROMPT)

    async def install_inside(self, folder: str) -> str:
        """Type the inside program into a file on the machine; return its path."""
        path = f"{folder}/inside-{uuid.uuid4().hex[:8]}.py"
        packed = base64.b64encode(zlib.compress(INSIDE.read_bytes(), 9)).decode()
        await self.run(f"stty -echo; P={path}; : >$P.64")
        for begin in range(0, len(packed), 700):
            await self.run(f"echo {packed[begin : begin + 700]} >>$P.64")
        unpack = "import sys,base64,zlib; sys.stdout.buffer.write(zlib.decompress(base64.b64decode(sys.stdin.read())))"
        await self.run(f"python3 -c '{unpack}' <$P.64 >$P && rm $P.64; stty echo; echo $P")
        return path

    async def _until(self, find: Callable[[bytearray], int], what: str, timeout_s: float) -> None:
        place = find(self._shown)
        if place < 0:
            if self._lost_reason:
                raise TerminalLost(f"{self._lost_reason}, before {what}")
            found: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._wanted = (find, found)
            handle = asyncio.get_running_loop().call_later(timeout_s, _expire, found, f"no {what} in {timeout_s:g} s")
            try:
                await found
            finally:
                handle.cancel()
                self._wanted = None
            return
        del self._shown[:place]

    def show(self, data: bytes) -> None:
        """Take what came from the terminal."""
        self.bytes_received += len(data)
        if self.tap is not None:
            self.tap(data)
        shown = self._shown
        shown += data
        if self._wanted is not None:
            find, found = self._wanted
            place = find(shown)
            if place >= 0 and not found.done():
                del shown[:place]
                self._wanted = None
                found.set_result(None)
        if len(shown) > KEPT_BYTES:
            del shown[:-KEPT_BYTES]

    def lose(self, reason: str) -> None:
        """Take the news that the terminal has ended."""
        self._lost_reason = reason or "the terminal ended"
        if self._wanted is not None and not self._wanted[1].done():
            self._wanted[1].set_exception(TerminalLost(self._lost_reason))


def _expire(found: "asyncio.Future[None]", message: str) -> None:
    if not found.done():
        found.set_exception(TimeoutError(message))
