"""The process of a running machine, and the line to it: a socket that is the guest's standard input.

Downwards go lines of JSON: `{"listen": true}`, `{"exec": 1, "command": […], "stdin": ""}`, `{"kill": 1}` and
`{"stop": 5.0}`; upwards `{"ready": true}` once the guest obeys, and `{"exec": 1, …}` with the outcome of a command.
The end of the line means stop as well.
"""

import asyncio
import contextlib
import itertools
import json
import os
import signal
import socket

from aether.emulator.command import LINE_LIMIT
from aether.emulator.record import Json
from aether.emulator.requests import ApiError

_OVERTIME_S = 3.0  # what a guest may take on top of the grace: it kills and says goodbye itself


class GuestProcess:
    """The process of a running machine."""

    is_oom_killed = False

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        namespace: int | None,
        line: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self._process = process
        self._namespace = namespace
        self._reader, self._writer = line
        self._deadline: asyncio.TimerHandle | None = None
        self._is_ready = self._is_cut_short = False
        self._numbers = itertools.count(1)
        self._outcomes: dict[int, asyncio.Future[Json]] = {}
        self._listener = asyncio.create_task(self._hear(), name=f"guest {process.pid}")

    def listen(self) -> None:
        """Let the guest answer SSH."""
        self._tell({"listen": True})

    def stop(self, grace_s: float) -> None:
        """Tell the guest to stop; told again, it has until then at most.

        One that still boots runs nothing that could need the grace, and ends at once.
        """
        if not self._is_ready:
            self._is_cut_short = True
            self.signal(signal.SIGKILL)
            return
        overtime_s = 0.0
        if self._deadline is None:
            self._tell({"stop": grace_s})
            overtime_s = _OVERTIME_S
        else:
            self._deadline.cancel()
        self._deadline = asyncio.get_running_loop().call_later(grace_s + overtime_s, self.signal, signal.SIGKILL)

    def signal(self, number: int) -> None:
        """Send a signal; the end of the process ends everything in its PID namespace (`wait`)."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def run(self, command: list[str], stdin: str) -> Json:
        """Run a command inside and answer its outcome; whoever is cancelled meanwhile kills it."""
        number = next(self._numbers)
        outcome: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
        self._outcomes[number] = outcome
        self._tell({"exec": number, "command": command, "stdin": stdin})
        try:
            return await outcome
        finally:
            del self._outcomes[number]
            if outcome.cancelled():
                self._tell({"kill": number})

    async def wait(self) -> int:
        """Wait until the guest is gone, and its PID namespace with it; answer its exit code.

        That of a guest which a stop met while it booted is 0, as if it had ended by itself. A bubblewrap that is killed
        may not have asked the kernel yet to end the namespace with it (prctl(2), PR_SET_PDEATHSIG): we do it.
        """
        code = await self._process.wait()
        if self._namespace is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._namespace, signal.SIGKILL)
        if self._deadline is not None:
            self._deadline.cancel()
        self._writer.close()
        await self._listener
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()
        if self._namespace is not None:
            await until_readable(self._namespace)
            os.close(self._namespace)
            self._namespace = None
        return 0 if self._is_cut_short else code

    def _tell(self, message: Json) -> None:
        if not self._writer.is_closing():
            self._writer.write(json.dumps(message).encode() + b"\n")

    async def _hear(self) -> None:
        """Take what the guest says until it is gone."""
        with contextlib.suppress(ConnectionError):
            while line := await self._reader.readline():
                answer = json.loads(line)
                self._is_ready = True  # whatever it says: it has begun to obey
                outcome = self._outcomes.get(answer.pop("exec", 0))
                if outcome is not None and not outcome.done():
                    outcome.set_result(answer)
        for outcome in self._outcomes.values():
            if not outcome.done():
                outcome.set_exception(ApiError(412, "failed_precondition: machine stopped while the command ran"))


async def open_line() -> tuple[socket.socket, tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Make the socket that will be a guest's standard input, and open our end of it."""
    ours, theirs = socket.socketpair()
    return theirs, await asyncio.open_unix_connection(sock=ours, limit=LINE_LIMIT)


async def until_readable(fd: int) -> None:
    """Wait until a descriptor can be read."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(fd, ready.set_result, None)
    ready.add_done_callback(lambda _: loop.remove_reader(fd))
    await ready
