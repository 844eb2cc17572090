"""Fleet: the machines we manage, in memory. Fly is the record: at start the fleet is read from there."""

import asyncio
import logging
import time
from collections.abc import Callable

import asyncssh

from aether.births import Births
from aether.errors import LimitExceeded, MachineNotFound, ShuttingDown
from aether.fly.client import FlyClient
from aether.fly.config import Birth
from aether.fly.transitions import Transitions
from aether.lifecycle import MachineLifecycle
from aether.machines import Machine, MachineSpec
from aether.messages import TerminalQuery
from aether.output import Client
from aether.sessions import TerminalSession
from aether.ssh.client import SshLink
from aether.ssh.keys import secret_of

log = logging.getLogger(__name__)


class Fleet:
    """All machines of one deployment.

    Args:
        client: the app's machines at Fly.
        birth: what every machine is born with.
        user_key: what opens the machines.
        region: where new machines go unless the caller says otherwise; empty: Fly chooses.
        max_machines, max_sessions: refuse more with LimitExceeded.
    """

    def __init__(
        self,
        client: FlyClient,
        birth: Birth,
        user_key: asyncssh.SSHKey,
        region: str,
        max_machines: int,
        max_sessions: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._transitions = Transitions(client)
        self._birth = birth
        self._user_key = user_key
        self.births = Births(client, self._transitions, birth, region, secret_of(user_key), clock)
        self._max_machines = max_machines
        self._max_sessions = max_sessions
        self._clock = clock
        self._machines: dict[str, MachineLifecycle] = {}
        self.destroyed: dict[str, float] = {}  # Fly's ids of machines we destroyed: a stale list may still have them
        self._is_closing = False

    def entries(self) -> list[MachineLifecycle]:
        """Return all machines with what drives them."""
        return [*self._machines.values()]

    def find(self, machine_id: str) -> MachineLifecycle | None:
        """Return one machine with what drives it, None if there is none."""
        return self._machines.get(machine_id)

    def list(self) -> list[Machine]:
        """Return all machines, oldest first."""
        return sorted((entry.machine for entry in self._machines.values()), key=lambda machine: machine.created_at)

    def get(self, machine_id: str) -> Machine:
        """Return one machine; raise MachineNotFound."""
        return self._entry(machine_id).machine

    def session_count(self) -> int:
        """Return how many terminals are open or opening."""
        return sum(len(entry.terminals) for entry in self._machines.values())

    async def create(self, spec: MachineSpec) -> Machine:
        """Create a machine; it boots after this returns.

        Raises:
            LimitExceeded: there are `max_machines` already.
            ProviderError: Fly refused or could not be reached.
        """
        self.refuse_if_closing()
        if len(self._machines) + len(self.births.under_way) >= self._max_machines:
            raise LimitExceeded(
                f"there are {self._max_machines} machines already (AETHER_MAX_MACHINES); delete one first"
            )
        machine = await self.births.create(spec, {machine.ssh_port for machine in self.list()})
        self.take_in(machine)
        return machine

    def start(self, machine_id: str) -> Machine:
        """Start a machine; returns before it runs. Raises MachineNotFound."""
        self.refuse_if_closing()
        entry = self._entry(machine_id)
        entry.start()
        return entry.machine

    def stop(self, machine_id: str, by: str) -> Machine:
        """Stop a machine; returns before it has stopped. `by` completes "Machine stopped …"."""
        self.refuse_if_closing()
        entry = self._entry(machine_id)
        entry.stop(by)
        return entry.machine

    async def destroy(self, machine_id: str) -> None:
        """Destroy a machine and wait until it is gone, with all that ran in it.

        Raises:
            MachineNotFound: there is none.
            ProviderError, ProviderTimeout: Fly did not do it; the machine is in `error`, try again.
        """
        self.refuse_if_closing()
        entry = self._entry(machine_id)
        await entry.destroy()
        self.destroyed[entry.machine.fly_machine_id] = self._clock()
        self.forget(machine_id)
        log.info("machine %s destroyed", machine_id)

    def forget(self, machine_id: str) -> None:
        """Drop a machine that is gone."""
        self._machines.pop(machine_id, None)

    def open_terminal(self, machine_id: str, client: Client, query: TerminalQuery) -> TerminalSession:
        """Open a terminal; on a machine that is starting it waits. Raises MachineNotFound, LimitExceeded."""
        self.refuse_if_closing()
        entry = self._entry(machine_id)
        if self.session_count() >= self._max_sessions:
            raise LimitExceeded(
                f"there are {self._max_sessions} terminals open already (AETHER_MAX_SESSIONS); close one first"
            )
        return entry.terminals.open(client, query)

    async def close(self) -> None:
        """Let go of all machines without touching them; terminals close with "service restart"."""
        self._is_closing = True
        await self.births.close()  # whoever asked gets an answer
        error = ShuttingDown("The server restarts.")
        await asyncio.gather(*(entry.close(error) for entry in self._machines.values()))

    def take_in(self, machine: Machine) -> None:
        """Manage a machine that exists at Fly."""
        link = SshLink(
            lambda: self._birth.network.address(machine),
            self._birth.ssh_user,
            self._user_key,
            machine.host_public_key,
        )
        entry = MachineLifecycle(machine, self._transitions, link, self._clock)
        self._machines[machine.id] = entry
        if not self._is_closing:  # else the next server takes it from here
            entry.settle()

    def _entry(self, machine_id: str) -> MachineLifecycle:
        try:
            return self._machines[machine_id]
        except KeyError:
            raise MachineNotFound(f"there is no machine {machine_id}; GET /machines lists them") from None

    def refuse_if_closing(self) -> None:
        """Raise ShuttingDown once `close` has begun."""
        if self._is_closing:
            raise ShuttingDown("the server is shutting down; try again in a moment")
