"""The supervisor process of a running machine, and the control socket to it, which is its standard input.

Both sides send lines of JSON. The emulator sends `{"listen": true}`, `{"exec": 1, "command": […], "stdin": ""}`,
`{"kill": 1}` and `{"stop": 5.0}`; the supervisor sends `{"ready": true}` once it reads them, and `{"exec": 1, …}` with
the outcome of a command. The end of the connection means stop, too.
"""

import asyncio
import contextlib
import itertools
import json
import os
import signal
import socket

from aether.emulator.errors import ApiError, Json
from aether.emulator.guest.command import LINE_LIMIT

_OVERTIME_S = 3.0  # on top of the grace period: the supervisor itself kills and disconnects


class SupervisorProcess:
    """The supervisor of a running machine."""

    is_oom_killed = False

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        namespace: int | None,
        control: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self._process = process
        self._namespace = namespace
        self._reader, self._writer = control
        self._deadline: asyncio.TimerHandle | None = None
        self._is_ready = self._is_boot_aborted = False
        self._numbers = itertools.count(1)
        self._outcomes: dict[int, asyncio.Future[Json]] = {}
        self._receiver = asyncio.create_task(self._receive(), name=f"supervisor {process.pid}")

    def listen(self) -> None:
        """Let its SSH server accept connections."""
        self._send({"listen": True})

    def stop(self, grace_s: float) -> None:
        """Tell it to stop; a second call replaces the grace period.

        One that still boots runs nothing that needs the grace period, and is killed at once.
        """
        if not self._is_ready:
            self._is_boot_aborted = True
            self.signal(signal.SIGKILL)
            return
        overtime_s = 0.0
        if self._deadline is None:
            self._send({"stop": grace_s})
            overtime_s = _OVERTIME_S
        else:
            self._deadline.cancel()
        self._deadline = asyncio.get_running_loop().call_later(grace_s + overtime_s, self.signal, signal.SIGKILL)

    def signal(self, number: int) -> None:
        """Send a signal; the end of the process ends everything in its PID namespace (`wait`)."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def run(self, command: list[str], stdin: str) -> Json:
        """Run a command inside; return its outcome. A cancellation kills the command."""
        number = next(self._numbers)
        outcome: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
        self._outcomes[number] = outcome
        self._send({"exec": number, "command": command, "stdin": stdin})
        try:
            return await outcome
        finally:
            del self._outcomes[number]
            if outcome.cancelled():
                self._send({"kill": number})

    async def wait(self) -> int:
        """Wait until it has ended, and its PID namespace with it; return its exit code.

        After a stop during the boot that is 0, as if it had ended by itself. A bubblewrap that is killed may not have
        asked the kernel yet to end the namespace with it (prctl(2), PR_SET_PDEATHSIG), so the namespace is killed here.
        """
        code = await self._process.wait()
        if self._namespace is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._namespace, signal.SIGKILL)
        if self._deadline is not None:
            self._deadline.cancel()
        self._writer.close()
        await self._receiver
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()
        if self._namespace is not None:
            await until_readable(self._namespace)
            os.close(self._namespace)
            self._namespace = None
        return 0 if self._is_boot_aborted else code

    def _send(self, message: Json) -> None:
        if not self._writer.is_closing():
            self._writer.write(json.dumps(message).encode() + b"\n")

    async def _receive(self) -> None:
        """Handle its messages until it has ended."""
        with contextlib.suppress(ConnectionError):
            while line := await self._reader.readline():
                message = json.loads(line)
                self._is_ready = True  # any message shows that it reads ours
                outcome = self._outcomes.get(message.pop("exec", 0))
                if outcome is not None and not outcome.done():
                    outcome.set_result(message)
        for outcome in self._outcomes.values():
            if not outcome.done():
                outcome.set_exception(ApiError(412, "failed_precondition: machine stopped while the command ran"))


async def open_control() -> tuple[socket.socket, tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Create the socket that becomes a supervisor's standard input, and open the emulator's end of it."""
    ours, theirs = socket.socketpair()
    return theirs, await asyncio.open_unix_connection(sock=ours, limit=LINE_LIMIT)


async def until_readable(fd: int) -> None:
    """Wait until a descriptor can be read."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(fd, ready.set_result, None)
    ready.add_done_callback(lambda _: loop.remove_reader(fd))
    await ready
