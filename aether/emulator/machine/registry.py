"""The machines of every app: created, updated, found, listed, and read from disk."""

import asyncio
import logging
import re
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

from aether.emulator.config import check_config, ssh_port
from aether.emulator.errors import ApiError, Json
from aether.emulator.faults import Faults
from aether.emulator.machine.life import Host
from aether.emulator.machine.machine import Machine
from aether.emulator.machine.record import new_machine
from aether.emulator.machine.store import MachineStore
from aether.emulator.options import Options

log = logging.getLogger(__name__)

DEFAULT_REGION = "iad"
_DESTROYED_KEPT = 200
_PRUNE_EVERY = 100  # creations: the time of a search for destroyed machines is proportional to the number of all


class Machines:
    """The machines of one emulator, kept in `directory`; `recover` has to be called before anything else."""

    def __init__(
        self,
        directory: Path,
        options: Options,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self.options = options
        self.faults = Faults(self._snapshot)
        self._directory = directory
        self._clock = clock
        self._sleep = sleep
        self._machines: dict[str, Machine] = {}
        self._names: dict[tuple[str, str], Machine] = {}
        self._ports: dict[int, Machine] = {}
        self._host: Host

    async def recover(self, host: Host) -> None:
        """Load the machines that an earlier process left, in the order of their creation."""
        self._host = host
        self._machines, self._names, self._ports = {}, {}, {}
        found = []
        for path in self._directory.glob("*/machine.json"):
            try:
                found.append(Machine(MachineStore.read(path.parent, self._clock, self._sleep), host))
            except (OSError, ValueError, KeyError, TypeError) as error:
                log.warning("skipping %s, which is not a machine's record: %s", path, error)
        for machine in sorted(found, key=lambda m: str(m.store.record["created_at"])):
            await machine.recover()
            self._add(machine)

    def create(self, app: str, request: Json) -> Machine:
        """Create a machine and begin to boot it."""
        config = check_config(request["config"])
        name = request.get("name", "")
        other = self._names.get((app, name))
        if other is not None and other.state != "destroyed":
            text = f'machine ID {other.id} already exists with name "{name}"'
            raise ApiError(409, f"already_exists: unique machine name violation, {text}")
        listener = self._bind(ssh_port(config))
        record = new_machine(name, _region(request.get("region", "")), config, self._clock())
        store = MachineStore(app, record, self._directory / record["id"], self._clock, self._sleep)
        machine = Machine(store, self._host)
        self._add(machine)
        if len(self._machines) % _PRUNE_EVERY == 0:
            self._prune()
        machine.launch(listener, request.get("skip_launch", False))
        return machine

    def update(self, machine: Machine, request: Json) -> None:
        """Replace a machine's config; it may move to another SSH port."""
        config = check_config(request["config"])
        machine.check_update(request)
        port = ssh_port(config)
        if port != machine.ssh_port:
            listener = self._bind(port)
            if listener is not None:  # this only checks that it is free: each start binds it again
                listener.close()
            self._ports |= {} if port is None else {port: machine}
        machine.update(config, request.get("skip_launch", False))

    def find(self, app: str, machine_id: str) -> Machine:
        """Find a machine of an app, destroyed ones included."""
        if not re.fullmatch(r"[0-9a-f]{14}", machine_id):
            raise ApiError(400, f"invalid machine ID, '{machine_id}'")
        machine = self._machines.get(machine_id)
        is_purged = machine is not None and machine.state == "destroyed" and self.options.purge_destroyed
        if machine is None or machine.store.app != app or is_purged:
            raise ApiError(404, "not_found: machine not found")
        return machine

    def of_app(self, app: str, include_deleted: bool = False) -> list[Machine]:
        """List the machines of an app, oldest first."""
        found = [m for m in self._machines.values() if m.store.app == app]
        return [m for m in found if include_deleted or m.state != "destroyed"]

    def by_id(self, machine_id: str) -> Machine:
        """Find a machine of any app; raises KeyError."""
        return self._machines[machine_id]

    async def close(self) -> None:
        """Stop every machine, which stays on disk."""
        for machine in self._machines.values():
            await machine.store.release_waiters()
        await asyncio.gather(*(machine.close() for machine in self._machines.values()))

    def _snapshot(self) -> dict[str, tuple[str, Json]]:
        return {machine.id: (machine.store.app, machine.view()) for machine in self._machines.values()}

    def _add(self, machine: Machine) -> None:
        self._machines[machine.id] = machine
        self._names[machine.store.app, machine.store.record["name"]] = machine
        if machine.ssh_port is not None:
            self._ports[machine.ssh_port] = machine

    def _bind(self, port: int | None) -> socket.socket | None:
        """Bind the SSH port of a machine; unless ports are shared, no other machine may have it, running or not."""
        holder = None if port is None or self.options.shared_ports else self._ports.get(port)
        if holder is not None and holder.state != "destroyed" and holder.ssh_port == port:
            raise ApiError(409, f"aborted: external port {port} is already in use on this computer")
        return self._host.edge.bind(port)

    def _prune(self) -> None:
        """Forget destroyed machines but the last ones."""
        destroyed = [m.id for m in self._machines.values() if m.state == "destroyed"]
        for machine_id in destroyed[:-_DESTROYED_KEPT]:
            del self._machines[machine_id]


def _region(requested: str) -> str:
    """Take the first region of a priority list; an alias ("any", "eu") means the emulator's own."""
    first = requested.split(",", maxsplit=1)[0].strip()
    return first if re.fullmatch(r"[a-z]{3}", first) and first != "any" else DEFAULT_REGION
