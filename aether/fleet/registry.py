"""Fleet: the registry of the machines aether manages, in memory. Fly is the record: at start it is read from there."""

import asyncio
import logging
from collections.abc import Callable, Sequence

from aether.errors import LimitExceeded, MachineNotFound, MachineNotRunning, ShuttingDown
from aether.fleet.creation import MachineCreation
from aether.fleet.lifecycle import MachineLifecycle
from aether.fleet.tombstones import Tombstones
from aether.machines import Machine, MachineSpec, MachineState
from aether.messages import TerminalQuery
from aether.terminals.attachment import Client
from aether.terminals.machine_terminals import MachineTerminals
from aether.terminals.session_info import SessionInfo
from aether.terminals.terminal import Terminal

log = logging.getLogger(__name__)


class Fleet:
    """All machines of one deployment.

    Args:
        creation: makes new machines.
        lifecycle: makes what drives a machine that exists at Fly.
        tombstones: where destroyed machines are remembered.
        max_machines, max_terminals: refuse more with LimitExceeded.
    """

    def __init__(
        self,
        creation: MachineCreation,
        lifecycle: Callable[[Machine], MachineLifecycle],
        tombstones: Tombstones,
        max_machines: int,
        max_terminals: int,
    ) -> None:
        self._creation = creation
        self._lifecycle = lifecycle
        self._tombstones = tombstones
        self._max_machines = max_machines
        self._max_terminals = max_terminals
        self._machines: dict[str, MachineLifecycle] = {}
        self._is_closing = False

    def lifecycles(self) -> list[MachineLifecycle]:
        """Return what drives each machine, oldest first."""
        return sorted(self._machines.values(), key=lambda known: known.machine.created_at)

    def find(self, machine_id: str) -> MachineLifecycle | None:
        """Return what drives a machine, None if there is no such machine."""
        return self._machines.get(machine_id)

    def list(self) -> list[Machine]:
        """Return all machines, oldest first."""
        return [known.machine for known in self.lifecycles()]

    def get(self, machine_id: str) -> Machine:
        """Return one machine; raise MachineNotFound."""
        return self._get(machine_id).machine

    def terminal_count(self) -> int:
        """Return how many terminals are open or opening."""
        return sum(len(known.terminals) for known in self._machines.values())

    async def create(self, spec: MachineSpec) -> Machine:
        """Create a machine; it boots after this returns.

        Raises:
            LimitExceeded: there are `max_machines` already.
            ProviderError, ProviderTimeout: Fly refused, could not be reached or did not finish.
        """
        self.refuse_if_closing()
        if len(self._machines) + self._creation.under_way >= self._max_machines:
            raise LimitExceeded(
                f"there are {self._max_machines} machines already (AETHER_MAX_MACHINES); delete one first"
            )
        machine = await self._creation.create(spec, {machine.ssh_port for machine in self.list()})
        self.adopt(machine)
        return machine

    def start(self, machine_id: str) -> Machine:
        """Start a machine; returns before it runs. Raises MachineNotFound."""
        self.refuse_if_closing()
        lifecycle = self._get(machine_id)
        lifecycle.start()
        return lifecycle.machine

    def stop(self, machine_id: str, by: str) -> Machine:
        """Stop a machine; returns before it has stopped. `by` completes "Machine stopped …"."""
        self.refuse_if_closing()
        lifecycle = self._get(machine_id)
        lifecycle.stop(by)
        return lifecycle.machine

    async def destroy(self, machine_id: str) -> None:
        """Destroy a machine and wait until it is gone, with all that ran in it.

        Raises:
            MachineNotFound: there is none.
            ProviderError, ProviderTimeout: Fly did not do it; the machine is in `error`, try again.
        """
        self.refuse_if_closing()
        lifecycle = self._get(machine_id)
        await lifecycle.destroy()
        self._tombstones.add_destroyed(lifecycle.machine.fly_machine_id)
        self.forget(machine_id)
        log.info("machine %s destroyed", machine_id)

    def has_destroyed(self, fly_id: str) -> bool:
        """Return whether a Fly machine was one of ours that was destroyed, though a list may still show it."""
        return self._tombstones.has_destroyed(fly_id)

    def forget(self, machine_id: str) -> None:
        """Drop a machine that is gone."""
        self._machines.pop(machine_id, None)

    def open_terminal(self, machine_id: str, client: Client, query: TerminalQuery) -> Terminal:
        """Open a terminal; on a machine that is starting it waits. Raises MachineNotFound, LimitExceeded."""
        self.refuse_if_closing()
        lifecycle = self._get(machine_id)
        if self.terminal_count() >= self._max_terminals:
            raise LimitExceeded(
                f"there are {self._max_terminals} terminals open already (AETHER_MAX_SESSIONS); close one first"
            )
        return lifecycle.terminals.open(client, query)

    async def sessions(self, machine_id: str) -> Sequence[SessionInfo]:
        """List the running sessions of a machine, none of one that does not run.

        Raises:
            MachineNotFound: there is no such machine.
            SshError, ProviderTimeout: it could not be asked.
        """
        self.refuse_if_closing()
        lifecycle = self._get(machine_id)
        return await lifecycle.terminals.sessions() if lifecycle.machine.state is MachineState.RUNNING else []

    async def end_session(self, machine_id: str, session_id: str) -> None:
        """Hang up a session; raises SessionNotFound, MachineNotRunning, and as `sessions` does."""
        await self._terminals_of_running(machine_id).end_session(session_id)

    async def close(self) -> None:
        """Stop managing all machines, which go on at Fly; terminals close with "service restart"."""
        self._is_closing = True
        await self._creation.close()  # callers that wait for a machine get their answer
        error = ShuttingDown("The server restarts.")
        await asyncio.gather(*(known.close(error) for known in self._machines.values()))

    def adopt(self, machine: Machine) -> None:
        """Manage a machine that exists at Fly."""
        lifecycle = self._lifecycle(machine)
        self._machines[machine.id] = lifecycle
        if not self._is_closing:  # else the next server goes on from here
            lifecycle.settle()

    def _get(self, machine_id: str) -> MachineLifecycle:
        try:
            return self._machines[machine_id]
        except KeyError:
            raise MachineNotFound(f"there is no machine {machine_id}; GET /machines lists them") from None

    def _terminals_of_running(self, machine_id: str) -> MachineTerminals:
        self.refuse_if_closing()
        lifecycle = self._get(machine_id)
        if lifecycle.machine.state is not MachineState.RUNNING:
            raise MachineNotRunning(f"The machine is {lifecycle.machine.state}; it has sessions while it runs.")
        return lifecycle.terminals

    def refuse_if_closing(self) -> None:
        """Raise ShuttingDown once `close` has begun."""
        if self._is_closing:
            raise ShuttingDown("the server is shutting down; try again in a moment")
