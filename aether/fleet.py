"""Fleet: the machines we manage, in memory. Fly is the record: at start the fleet is read from there."""

import asyncio
import contextlib
import logging
import random
import time
import uuid
from collections.abc import Callable
from typing import Any

import asyncssh

from aether.errors import AetherError, LimitExceeded, MachineNotFound, ProviderError, ShuttingDown
from aether.fly import config
from aether.fly.answers import FlyMachine
from aether.fly.client import FlyClient
from aether.fly.transitions import Transitions
from aether.lifecycle import MachineLifecycle
from aether.machines import FLY_GONE, Machine, MachineSpec
from aether.messages import TerminalQuery
from aether.sessions import Client, TerminalSession
from aether.ssh.client import SshLink
from aether.ssh.keys import make_host_key

log = logging.getLogger(__name__)

SSH_PORTS = range(20000, 30000)  # below Linux' ephemeral ports, so that no outgoing connection holds one
PORT_ATTEMPTS = 5
BIRTHS_DEADLINE_S = 5.0  # how long a shutdown waits for creates under way


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
        birth: config.Birth,
        user_key: asyncssh.SSHKey,
        region: str,
        max_machines: int,
        max_sessions: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._transitions = Transitions(client)
        self._birth = birth
        self._user_key = user_key
        self._region = region
        self._max_machines = max_machines
        self._max_sessions = max_sessions
        self._clock = clock
        self._machines: dict[str, MachineLifecycle] = {}
        self._ports_being_born: set[int] = set()
        self._born = asyncio.Event()
        self.being_born: set[str] = set()  # ids whose create is under way
        self.stillborn: dict[str, float] = {}  # ids whose create failed, but perhaps made a machine, and when
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
        if len(self._machines) + len(self._ports_being_born) >= self._max_machines:
            raise LimitExceeded(
                f"there are {self._max_machines} machines already (AETHER_MAX_MACHINES); delete one first"
            )
        for attempt in range(1, PORT_ATTEMPTS + 1):
            port = self._free_port()
            self._ports_being_born.add(port)
            try:
                return await self._create(spec, port)
            except ProviderError as error:
                if error.status != 409 or "port" not in str(error) or attempt == PORT_ATTEMPTS:
                    raise
            finally:
                self._ports_being_born.discard(port)
        raise AssertionError("unreachable")

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
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(BIRTHS_DEADLINE_S):
                while self.being_born:  # whoever asked gets an answer
                    self._born.clear()
                    await self._born.wait()
        error = ShuttingDown("The server restarts.")
        await asyncio.gather(*(entry.close(error) for entry in self._machines.values()))

    async def _create(self, spec: MachineSpec, ssh_port: int) -> Machine:
        now = self._clock()
        machine_id = str(uuid.uuid4())
        host_key = make_host_key()
        machine = Machine(
            id=machine_id,
            name=spec.name or f"aether-{machine_id[:8]}",
            region=spec.region or self._region,
            image=self._birth.image,
            guest=spec.guest,
            created_at=now,
            last_activity_at=now,
            last_input_at=now,
            ssh_port=ssh_port,
            host_public_key=host_key.public,
        )
        self.being_born.add(machine.id)
        try:
            fly = await self._be_born(machine, self._birth.config(machine, host_key.private))
        except AetherError:
            self.stillborn[machine.id] = now
            raise
        finally:
            self.being_born.discard(machine.id)
            self._born.set()
        machine.fly_machine_id = fly.id
        machine.instance_id = fly.instance_id
        machine.region = fly.region  # the one we got, not the one we asked for
        log.info("machine %s created, it is %s at Fly", machine.id, fly.id)
        self.take_in(machine)
        return machine

    async def _be_born(self, machine: Machine, birth_config: dict[str, Any]) -> FlyMachine:
        """Create the machine; where another server took its port at the same time, the older machine keeps it.

        Where that cannot be seen, the create has failed, and what it made goes, now or at a later sweep: on a shared
        port Fly would lead a user to somebody else's machine.
        """
        mark = (config.META_ID, machine.id)
        fly = await self._transitions.create(config.fly_name(machine), machine.region, birth_config, mark)
        if not birth_config["services"]:
            return fly
        try:
            sharing = await self._client.list({config.META_SSH_PORT: str(machine.ssh_port)})
        except AetherError:
            with contextlib.suppress(AetherError):
                await self._transitions.destroy(fly.id)
            raise
        for other in sharing:
            if other.state not in FLY_GONE and (other.created_at, other.id) < (fly.created_at, fly.id):
                await self._transitions.destroy(fly.id)
                raise ProviderError(f"port {machine.ssh_port} belongs to Fly machine {other.id}", status=409)
        return fly

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

    def _free_port(self) -> int:
        taken = {machine.ssh_port for machine in self.list()} | self._ports_being_born
        return random.choice([port for port in SSH_PORTS if port not in taken])  # noqa: S311 - not a secret

    def _entry(self, machine_id: str) -> MachineLifecycle:
        try:
            return self._machines[machine_id]
        except KeyError:
            raise MachineNotFound(f"there is no machine {machine_id}; GET /machines lists them") from None

    def refuse_if_closing(self) -> None:
        """Raise ShuttingDown once `close` has begun."""
        if self._is_closing:
            raise ShuttingDown("the server is shutting down; try again in a moment")
