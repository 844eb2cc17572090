"""The emulator: lock the state directory, recover its machines, listen, stop; and what tests do to machines."""

import asyncio
import contextlib
import errno
import fcntl
import logging
import os
import secrets
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from tornado.httpserver import HTTPServer

from aether.emulator.errors import EmulatorError
from aether.emulator.faults import Faults
from aether.emulator.http.limits import RateLimits
from aether.emulator.http.routes import application
from aether.emulator.machine.edge import Edge
from aether.emulator.machine.life import Host
from aether.emulator.machine.registry import Machines
from aether.emulator.options import Options
from aether.emulator.runtimes.base import AUTO, FAST, Isolation, Runtime
from aether.emulator.runtimes.choice import choose
from aether.emulator.runtimes.rootfs import Trash

log = logging.getLogger(__name__)


class Emulator:
    """A Machines API on loopback and the machines behind it.

    Args:
        state_dir: where machines are kept; the next emulator on the same directory finds them, stopped.
        runtime: one of `runtimes.base.RUNTIMES`, by name.
        clock: the time, in seconds since the epoch.
        sleep: how delays, leases and waits let that time pass.
        options: how it behaves where Fly is slow, unknown, or has changed.
        hidden: directories and files that machines in namespaces do not see.
        choose_runtime: how the runtime is created.
    """

    def __init__(
        self,
        state_dir: Path,
        token: str | None = None,
        port: int = 0,
        runtime: str = AUTO,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        options: Options | None = None,
        hidden: Sequence[Path] = (),
        choose_runtime: Callable[[str, Path, Sequence[Path]], Awaitable[Runtime]] = choose,
    ) -> None:
        self.token = token or secrets.token_urlsafe(24)
        self.url = ""
        self.isolation = Isolation.NONE
        self.machines = Machines(state_dir.resolve() / "machines", options or Options(), clock, sleep)
        self._state_dir = state_dir.resolve()
        self._port = port
        self._runtime = runtime
        self._limits = RateLimits(clock)
        self._sleep = sleep
        self._hidden = hidden
        self._choose_runtime = choose_runtime
        self._cleanup = contextlib.AsyncExitStack()

    @property
    def faults(self) -> Faults:
        """What goes wrong on purpose."""
        return self.machines.faults

    @property
    def options(self) -> Options:
        """How it behaves where Fly is slow, unknown, or has changed."""
        return self.machines.options

    async def start(self) -> None:
        """Lock the state directory, recover its machines, listen; raises EmulatorError."""
        async with contextlib.AsyncExitStack() as stack:
            self._lock(stack)
            listener = self._listen(stack)
            await self.machines.recover(await self._open_host())
            server = HTTPServer(application(self.machines, self._limits, self.token))
            server.add_socket(listener)
            stack.push_async_callback(server.close_all_connections)
            stack.push_async_callback(self.machines.close)
            stack.callback(server.stop)
            self._cleanup = stack.pop_all()
        log.info("emulating the Fly Machines API at %s, machines in %s", self.url, self._state_dir)

    async def stop(self) -> None:
        """Stop every machine, which stays on disk, and release everything; a second call does nothing."""
        self.faults.clear()
        await self._cleanup.aclose()

    async def crash(self, machine_id: str, exit_code: int = 1) -> None:
        """Let a started machine's main process end by itself; returns when the machine is `stopped`."""
        await self.machines.by_id(machine_id).crash(exit_code, False)

    async def oom(self, machine_id: str) -> None:
        """Let a started machine run out of memory; returns when it is `stopped`."""
        await self.machines.by_id(machine_id).crash(137, True)

    async def vanish(self, machine_id: str) -> None:
        """Destroy a machine as if another client did; returns when it is `destroyed`."""
        await self.machines.by_id(machine_id).vanish()

    def migrate(self, machine_id: str) -> None:
        """Move a stopped machine to another host, which changes its private address."""
        self.machines.by_id(machine_id).migrate()

    async def _open_host(self) -> Host:
        """Create what the machines share."""
        is_fast = self._runtime == FAST
        trash = Trash(self._state_dir / "trash", is_threaded=not is_fast)
        await trash.empty()
        runtime = await self._choose_runtime(self._runtime, self._state_dir, self._hidden)
        self.isolation = runtime.isolation
        edge = Edge(is_virtual=is_fast, is_shared=self.options.shared_ports)
        return Host(runtime, trash, self.options, self.faults, self._sleep, edge)

    def _lock(self, stack: contextlib.AsyncExitStack) -> None:
        try:
            self._state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._state_dir.chmod(0o700)
        except OSError as error:
            text = f"state directory {self._state_dir} cannot be used: {error.strerror}; choose another one"
            raise EmulatorError(text) from None
        fd = os.open(self._state_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        stack.callback(os.close, fd)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            text = "is in use by another process; stop that one or choose another state directory"
            raise EmulatorError(f"state directory {self._state_dir} {text}") from None

    def _listen(self, stack: contextlib.AsyncExitStack) -> socket.socket:
        try:
            listener = socket.create_server(("127.0.0.1", self._port), backlog=128)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise EmulatorError(f"cannot listen on port {self._port}: {error}") from None
            text = f"is in use; try --port {self._port + 1}, or --port 0 for any free one"
            raise EmulatorError(f"port {self._port} {text}") from None
        stack.callback(listener.close)
        listener.setblocking(False)
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        return listener
