"""The emulator: its life cycle, the machines of every app, and what tests do to them."""

import asyncio
import contextlib
import errno
import fcntl
import logging
import os
import re
import secrets
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from tornado.httpserver import HTTPServer

from aether.emulator.edge import Edge
from aether.emulator.faults import Faults
from aether.emulator.ledger import Ledger
from aether.emulator.limits import RateLimits
from aether.emulator.machine import Machine
from aether.emulator.options import Options
from aether.emulator.record import Json, new_machine
from aether.emulator.requests import ApiError, check_create, ssh_port
from aether.emulator.rootfs import Trash
from aether.emulator.routes import application
from aether.emulator.runtime import Host, Runtime
from aether.emulator.runtimes import choose
from aether.emulator.sandbox import SandboxError

log = logging.getLogger(__name__)

DEFAULT_REGION = "iad"
_DESTROYED_KEPT = 200
_FORGET_EVERY = 100  # creations: to look for destroyed machines at each would take time in proportion to all


class EmulatorError(Exception):
    """The emulator cannot start; the message says why and what to do."""


class Emulator:
    """A Machines API on loopback and the machines behind it.

    Args:
        state_dir: where machines are kept; another emulator on the same directory has them, stopped.
        runtime: "auto", "bwrap", "plain": processes; "sshd": with OpenSSH's server; "podman", "docker": containers of
            their images; "fast": states only.
        clock: the time, in seconds since the epoch.
        sleep: how delays, leases and waits pass that time; a `VirtualClock` is both.
        options: how it behaves where Fly is slow, unknown, or has changed.
    """

    def __init__(
        self,
        state_dir: Path,
        token: str | None = None,
        port: int = 0,
        runtime: str = "auto",
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        options: Options | None = None,
        hidden: Sequence[Path] = (),
    ) -> None:
        self.token = token or secrets.token_urlsafe(24)
        self.url = ""
        self.sandboxed = False
        self.options = options or Options()
        self._hidden = hidden
        self.faults = Faults(self._snapshot)
        self.limits = RateLimits(clock)
        self._state_dir = state_dir.resolve()
        self._port = port
        self._runtime = runtime
        self._clock = clock
        self._sleep = sleep
        self._machines: dict[str, Machine] = {}
        self._names: dict[tuple[str, str], Machine] = {}
        self._ports: dict[int, Machine] = {}
        self._cleanup = contextlib.AsyncExitStack()

    async def start(self) -> None:
        """Lock the state directory, take over its machines, listen."""
        async with contextlib.AsyncExitStack() as stack:
            self._lock(stack)
            listener = self._listen(stack)
            trash = Trash(self._state_dir / "trash", is_threaded=self._runtime != "fast")
            await trash.empty()
            runtime = await self._choose()
            self.sandboxed = runtime.is_contained
            edge = Edge(self._runtime == "fast", self.options.shared_ports)
            self._host = Host(runtime, trash, self.options, self.faults, self._sleep, edge)
            await self._recover()
            server = HTTPServer(application(self, self.token))
            server.add_socket(listener)
            stack.push_async_callback(server.close_all_connections)
            stack.push_async_callback(self._stop_machines)
            stack.callback(server.stop)
            self._cleanup = stack.pop_all()
        log.info("emulating the Fly Machines API at %s, machines in %s", self.url, self._state_dir)

    async def stop(self) -> None:
        """Stop every machine, keep it on disk, and let go of everything; a second call does nothing."""
        self.faults.clear()
        await self._cleanup.aclose()

    def create(self, app: str, request: Json) -> Machine:
        """Create a machine and begin to boot it."""
        config = check_create(request)
        name = request.get("name", "")
        holder = self._names.get((app, name))
        if holder is not None and holder.state != "destroyed":
            text = f'machine ID {holder.id} already exists with name "{name}"'
            raise ApiError(409, f"already_exists: unique machine name violation, {text}")
        listener = self._reserve(ssh_port(config))
        record = new_machine(name, _region(request.get("region", "")), config, self._clock())
        directory = self._state_dir / "machines" / record["id"]
        machine = Machine(Ledger(app, record, directory, self._clock, self._sleep), self._host)
        self._add(machine)
        if len(self._machines) % _FORGET_EVERY == 0:
            self._forget_some()
        machine.launch(listener, request.get("skip_launch", False))
        return machine

    def update(self, machine: Machine, request: Json) -> None:
        """Replace a machine's config; it may move to another SSH port."""
        config = check_create(request)
        machine.check_update(request)
        port = ssh_port(config)
        if port != machine.ssh_port:
            listener = self._reserve(port)
            if listener is not None:  # as for every start, it is bound anew then
                listener.close()
            self._ports |= {} if port is None else {port: machine}
        machine.update(config, request.get("skip_launch", False))

    async def crash(self, machine_id: str, exit_code: int = 1) -> None:
        """Let a started machine's main process end by itself; returns when the machine is `stopped`."""
        await self._machines[machine_id].crash(exit_code, False)

    async def oom(self, machine_id: str) -> None:
        """Let a started machine run out of memory; returns when it is `stopped`."""
        await self._machines[machine_id].crash(137, True)

    async def vanish(self, machine_id: str) -> None:
        """Destroy a machine as if somebody else did; returns when it is gone."""
        await self._machines[machine_id].vanish()

    def migrate(self, machine_id: str) -> None:
        """Move a stopped machine to another host, which changes its private address."""
        self._machines[machine_id].migrate()

    def machine(self, app: str, machine_id: str) -> Machine:
        """Find a machine of an app, destroyed ones included."""
        if not re.fullmatch(r"[0-9a-f]{14}", machine_id):
            raise ApiError(400, f"invalid machine ID, '{machine_id}'")
        machine = self._machines.get(machine_id)
        is_purged = machine is not None and machine.state == "destroyed" and self.options.purge_destroyed
        if machine is None or machine.ledger.app != app or is_purged:
            raise ApiError(404, "not_found: machine not found")
        return machine

    def machines(self, app: str, include_deleted: bool = False) -> list[Machine]:
        """List the machines of an app, oldest first."""
        mine = [m for m in self._machines.values() if m.ledger.app == app]
        return [m for m in mine if include_deleted or m.state != "destroyed"]

    def _snapshot(self) -> dict[str, tuple[str, Json]]:
        return {machine.id: (machine.ledger.app, machine.view()) for machine in self._machines.values()}

    async def _choose(self) -> Runtime:
        try:
            return await choose(self._runtime, self._state_dir, self._hidden)
        except SandboxError as error:
            raise EmulatorError(str(error)) from None

    def _add(self, machine: Machine) -> None:
        self._machines[machine.id] = machine
        self._names[machine.ledger.app, machine.ledger.record["name"]] = machine
        if machine.ssh_port is not None:
            self._ports[machine.ssh_port] = machine

    def _reserve(self, port: int | None) -> socket.socket | None:
        """Bind the SSH port of a new machine; unless ports are shared, no other may have it, running or not."""
        holder = None if port is None or self.options.shared_ports else self._ports.get(port)
        if holder is not None and holder.state != "destroyed" and holder.ssh_port == port:
            raise ApiError(409, f"aborted: external port {port} is already in use on this computer")
        return self._host.edge.reserve(port)

    def _forget_some(self) -> None:
        gone = [m.id for m in self._machines.values() if m.state == "destroyed"]
        for machine_id in gone[:-_DESTROYED_KEPT]:
            del self._machines[machine_id]

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

    async def _recover(self) -> None:
        """Load the machines an earlier process left, in the order of their creation."""
        self._machines, self._names, self._ports = {}, {}, {}
        found = []
        for path in self._state_dir.glob("machines/*/machine.json"):
            try:
                found.append(Machine(Ledger.read(path.parent, self._clock, self._sleep), self._host))
            except (OSError, ValueError, KeyError, TypeError) as error:
                log.warning("skipping %s, which is not a machine's record: %s", path, error)
        for machine in sorted(found, key=lambda m: str(m.ledger.record["created_at"])):
            await machine.recover()
            self._add(machine)

    async def _stop_machines(self) -> None:
        for machine in self._machines.values():
            await machine.ledger.release()
        await asyncio.gather(*(machine.close() for machine in self._machines.values()))


def _region(asked: str) -> str:
    """Take the first region of a priority list; an alias ("any", "eu") means the emulator's own."""
    first = asked.split(",", maxsplit=1)[0].strip()
    return first if re.fullmatch(r"[a-z]{3}", first) and first != "any" else DEFAULT_REGION
