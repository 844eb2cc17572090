"""Births: makes exactly one machine for a request that succeeds, and leaves none behind one that fails.

A machine is born with a mark that says "pending" and loses it before anybody is told of it. A server that was killed
in between leaves a marked machine; whichever server meets it later destroys it. As whoever is root in a machine can
write the metadata of all machines of an app (Fly staff, community.fly.io 13115), the mark is sealed with a secret.
"""

import asyncio
import contextlib
import hashlib
import hmac
import logging
import random
import re
import time
import uuid
from collections.abc import Callable, Collection

from aether.errors import AetherError, LimitExceeded, ProviderError, ProviderTimeout
from aether.fly import config
from aether.fly.answers import FlyMachine
from aether.fly.client import FlyClient
from aether.fly.transitions import Transitions
from aether.machines import FLY_GONE, Machine, MachineSpec, from_iso
from aether.ssh.keys import HostKey, make_host_key

log = logging.getLogger(__name__)

PORT_ATTEMPTS = 5
CLOSE_DEADLINE_S = 5.0  # how long a shutdown waits for creates under way
PENDING_S = 900.0  # by then a create has succeeded or failed, on whichever server
SEALED_S = 86400.0  # for so long a seal proves that a machine is left of a failed create
BORN = "no"
ABOUT_PORT = re.compile(r"\bport \d")


class Births:
    """Makes machines, each with an external port of its own.

    Args:
        region: where they go unless the caller says otherwise; empty: Fly chooses.
        secret: what seals the pending mark; the same for all servers of a deployment.
    """

    def __init__(
        self,
        client: FlyClient,
        transitions: Transitions,
        birth: config.Birth,
        region: str,
        secret: bytes,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._transitions = transitions
        self._birth = birth
        self._region = region
        self._secret = secret
        self._clock = clock
        self._ports: set[int] = set()
        self._ended = asyncio.Event()
        self.under_way: set[str] = set()  # ids
        self.failed: dict[str, float] = {}  # ids of creates that failed, but perhaps made a machine, and when

    async def create(self, spec: MachineSpec, taken_ports: Collection[int]) -> Machine:
        """Create a machine on a port that is not among `taken_ports`; it boots after this returns.

        Raises ProviderError when Fly refused, could not be reached, or the machine's port may be shared.
        """
        for attempt in range(1, PORT_ATTEMPTS + 1):
            port = self._free_port(taken_ports)
            self._ports.add(port)
            try:
                return await self._create(spec, port)
            except ProviderError as error:
                if error.status != 409 or not ABOUT_PORT.search(str(error)) or attempt == PORT_ATTEMPTS:
                    raise
            finally:
                self._ports.discard(port)
        raise AssertionError("unreachable")

    async def confirm(self, fly: FlyMachine) -> None:
        """Take the pending mark off, once and for all."""
        await self._transitions.set_metadata(fly.id, config.META_PENDING, BORN)

    def is_pending(self, fly: FlyMachine) -> bool:
        """Say whether nobody has been told of this machine yet, as far as it says."""
        return fly.metadata.get(config.META_PENDING, BORN) != BORN

    def is_being_born(self, fly: FlyMachine) -> bool:
        """Say whether some server may still be about to tell somebody of this machine."""
        is_pending = self.is_pending(fly) and self._age_s(fly) < PENDING_S
        return is_pending or fly.metadata.get(config.META_ID, "") in self.under_way

    def _age_s(self, fly: FlyMachine) -> float:
        """Return how old the machine is; an odd date counts as long ago."""
        with contextlib.suppress(ValueError):
            return self._clock() - from_iso(fly.created_at)
        return SEALED_S

    def is_orphan(self, fly: FlyMachine) -> bool:
        """Say whether this machine is what a failed create left: ours, or one whose server did not live to clean up.

        Metadata can be forged, and a seal be read while a machine is born; a name cannot change. So a seal counts only
        on a machine with the name it was born with, that never ran to be used, and for a day.
        """
        aether_id = fly.metadata.get(config.META_ID, "")
        if not is_original(fly) or aether_id in self.under_way:
            return False
        if aether_id in self.failed:
            return True
        is_sealed = hmac.compare_digest(fly.metadata.get(config.META_PENDING, "").encode(), self._seal(aether_id))
        return is_sealed and config.META_LAST_ACTIVITY not in fly.metadata and PENDING_S <= self._age_s(fly) < SEALED_S

    async def close(self) -> None:
        """Wait until no create is under way, at most CLOSE_DEADLINE_S."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_DEADLINE_S):
                while self.under_way:
                    self._ended.clear()
                    await self._ended.wait()

    async def _create(self, spec: MachineSpec, ssh_port: int) -> Machine:
        host_key = make_host_key()
        machine = self._machine(spec, ssh_port, host_key)
        self.under_way.add(machine.id)
        try:
            fly = await self._be_born(machine, host_key.private)
        except AetherError:
            self.failed[machine.id] = machine.created_at
            raise
        finally:
            self.under_way.discard(machine.id)
            self._ended.set()
        machine.fly_machine_id = fly.id
        machine.instance_id = fly.instance_id
        machine.region = fly.region  # the one we got, not the one we asked for
        log.info("machine %s created, it is %s at Fly", machine.id, fly.id)
        return machine

    def _machine(self, spec: MachineSpec, ssh_port: int, host_key: HostKey) -> Machine:
        now = self._clock()
        machine_id = str(uuid.uuid4())
        return Machine(
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

    async def _be_born(self, machine: Machine, host_private_key: str) -> FlyMachine:
        born_with = self._birth.config(machine, host_private_key)
        born_with["metadata"][config.META_PENDING] = self._seal(machine.id).decode()
        mark = (config.META_ID, machine.id)
        fly = await self._transitions.create(config.fly_name(machine), machine.region, born_with, mark)
        try:
            if born_with["services"]:
                await self._check_port(machine.ssh_port, fly)
            if self._clock() - machine.created_at > PENDING_S / 2:  # another server may be about to destroy it
                raise ProviderTimeout("Fly took too long to create the machine; try again")
            await self._transitions.confirm(fly.id, config.META_PENDING, BORN)
        except AetherError:
            with contextlib.suppress(AetherError):  # else the next sweep does it
                await self._transitions.destroy(fly.id)
            raise
        return fly

    async def _check_port(self, port: int, fly: FlyMachine) -> None:
        """Raise ProviderError where another server took the port at the same time: the older machine keeps it.

        On a shared port Fly would lead a user to somebody else's machine, so a list that cannot be read raises, too.
        """
        for other in await self._client.list({config.META_SSH_PORT: str(port)}):
            if other.state not in FLY_GONE and (other.created_at, other.id) < (fly.created_at, fly.id):
                raise ProviderError(f"port {port} belongs to Fly machine {other.id}", status=409)

    def _free_port(self, taken: Collection[int]) -> int:
        ports = self._birth.network.ports
        free = [port for port in ports if port not in taken and port not in self._ports]
        if not free:
            text = f"all {len(ports)} SSH ports are taken; delete a machine, or allow more with AETHER_SSH_PORTS"
            raise LimitExceeded(text)
        return random.choice(free)  # noqa: S311 - not a secret

    def _seal(self, aether_id: str) -> bytes:
        return hmac.new(self._secret, aether_id.encode(), hashlib.sha256).hexdigest().encode()


def is_original(fly: FlyMachine) -> bool:
    """Say whether a machine has the name it was born with; a copy made with Fly's tools has another."""
    return fly.name.endswith(fly.metadata.get(config.META_ID, "?")[:8])
