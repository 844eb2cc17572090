"""MachineCreation: makes exactly one machine for a request that succeeds, and leaves none behind one that fails.

A machine is created with a mark "pending" in its metadata, which is taken off before the caller is told of it. A server
that is killed in between leaves a marked machine, and a later sweep of any server destroys it. As root in any machine
can write the metadata of all machines of an app (Fly staff, community.fly.io 13115), the mark is sealed: an HMAC.
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
from collections.abc import Callable, Collection, Sequence

from aether.errors import AetherError, LimitExceeded, ProviderError, ProviderTimeout
from aether.fleet.tombstones import Tombstones
from aether.fly import template
from aether.fly.answers import FlyMachine
from aether.fly.operations import Operations
from aether.machines import Machine, MachineSpec, from_iso
from aether.ssh.keys import HostKey, make_host_key

log = logging.getLogger(__name__)

PORT_ATTEMPTS = 5
CLOSE_DEADLINE_S = 5.0  # how long a shutdown waits for creates under way
PENDING_S = 900.0  # by then a create has succeeded or failed, on whichever server
SEALED_S = 86400.0  # for so long a seal proves that a machine is left of a failed create
ABOUT_PORT = re.compile(r"\bport \d")


class MachineCreation:
    """Creates machines, each with an external port of its own.

    Args:
        region: where they go unless the caller says otherwise; empty: Fly chooses.
        secret: what seals the pending mark; the same for all servers of a deployment.
        tombstones: where creations that failed are remembered.
        choose: picks one of the free ports.
    """

    def __init__(
        self,
        operations: Operations,
        machine_template: template.MachineTemplate,
        region: str,
        secret: bytes,
        tombstones: Tombstones,
        clock: Callable[[], float] = time.time,
        choose: Callable[[Sequence[int]], int] = random.choice,
    ) -> None:
        self._operations = operations
        self._template = machine_template
        self._region = region
        self._secret = secret
        self._tombstones = tombstones
        self._clock = clock
        self._choose = choose
        self._ports: set[int] = set()
        self._under_way: set[str] = set()
        self._ended = asyncio.Event()

    @property
    def under_way(self) -> int:
        """How many creations are under way."""
        return len(self._under_way)

    async def create(self, spec: MachineSpec, taken_ports: Collection[int]) -> Machine:
        """Create a machine on a port that is not among `taken_ports`; it boots after this returns.

        Raises:
            LimitExceeded: no port is free.
            ProviderError: Fly refused, could not be reached, or the machine's port may be shared.
            ProviderTimeout: Fly took too long.
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
        """Take the pending mark off, for good."""
        await self._operations.set_metadata(fly.id, template.META_PENDING, template.CONFIRMED)

    def is_pending(self, fly: FlyMachine) -> bool:
        """Return whether the machine's metadata say that no caller has been told of it yet."""
        return fly.metadata.get(template.META_PENDING, template.CONFIRMED) != template.CONFIRMED

    def is_under_way(self, fly: FlyMachine) -> bool:
        """Return whether this server, or another one, may still be about to tell its caller of the machine."""
        is_pending = self.is_pending(fly) and self._age_s(fly) < PENDING_S
        return is_pending or fly.metadata.get(template.META_ID, "") in self._under_way

    def is_orphan(self, fly: FlyMachine) -> bool:
        """Return whether the machine is what a failed create left: of this server, or of one that was killed.

        Metadata can be forged, and a seal be read while a machine is created; a name cannot change. So a seal counts
        only on a machine with the name it was created with, that was never used, and for a day.
        """
        aether_id = fly.metadata.get(template.META_ID, "")
        if not is_original(fly) or aether_id in self._under_way:
            return False
        if self._tombstones.has_failed(aether_id):
            return True
        is_sealed = hmac.compare_digest(fly.metadata.get(template.META_PENDING, "").encode(), self._seal(aether_id))
        is_unused = template.META_LAST_ACTIVITY not in fly.metadata
        return is_sealed and is_unused and PENDING_S <= self._age_s(fly) < SEALED_S

    async def close(self) -> None:
        """Wait until no create is under way, at most CLOSE_DEADLINE_S."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_DEADLINE_S):
                while self._under_way:
                    self._ended.clear()
                    await self._ended.wait()

    async def _create(self, spec: MachineSpec, ssh_port: int) -> Machine:
        host_key = make_host_key()
        machine = self._machine(spec, ssh_port, host_key)
        self._under_way.add(machine.id)
        try:
            fly = await self._create_at_fly(machine, host_key.private)
        except AetherError:
            self._tombstones.add_failed(machine.id)  # it may have been made all the same
            raise
        finally:
            self._under_way.discard(machine.id)
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
            image=self._template.image,
            size=spec.size,
            created_at=now,
            last_activity_at=now,
            last_input_at=now,
            ssh_port=ssh_port,
            host_public_key=host_key.public,
        )

    async def _create_at_fly(self, machine: Machine, host_private_key: str) -> FlyMachine:
        config = self._template.config(machine, host_private_key)
        config["metadata"][template.META_PENDING] = self._seal(machine.id).decode()
        mark = (template.META_ID, machine.id)
        fly = await self._operations.create(template.fly_name(machine), machine.region, config, mark)
        try:
            if config["services"]:
                await self._check_port(machine.ssh_port, fly)
            if self._clock() - machine.created_at > PENDING_S / 2:  # another server may be about to destroy it
                raise ProviderTimeout("Fly took too long to create the machine; try again")
            await self._operations.set_metadata_of_new(fly.id, template.META_PENDING, template.CONFIRMED)
        except AetherError:
            with contextlib.suppress(AetherError):  # else the next sweep does it
                await self._operations.destroy(fly.id)
            raise
        return fly

    async def _check_port(self, port: int, fly: FlyMachine) -> None:
        """Raise ProviderError where another server took the port at the same time: the older machine keeps it.

        On a shared port Fly would lead a user to another user's machine, so a list that cannot be read raises, too.
        """
        for other in await self._operations.list({template.META_SSH_PORT: str(port)}):
            if (other.created_at, other.id) < (fly.created_at, fly.id):
                raise ProviderError(f"port {port} belongs to Fly machine {other.id}", status=409)

    def _free_port(self, taken: Collection[int]) -> int:
        ports = self._template.network.ports
        free = [port for port in ports if port not in taken and port not in self._ports]
        if not free:
            text = f"all {len(ports)} SSH ports are taken; delete a machine, or allow more with AETHER_SSH_PORTS"
            raise LimitExceeded(text)
        return self._choose(free)

    def _seal(self, aether_id: str) -> bytes:
        return hmac.new(self._secret, aether_id.encode(), hashlib.sha256).hexdigest().encode()

    def _age_s(self, fly: FlyMachine) -> float:
        """Return how old the machine is; a date that cannot be read counts as long ago."""
        with contextlib.suppress(ValueError):
            return self._clock() - from_iso(fly.created_at)
        return SEALED_S


def is_original(fly: FlyMachine) -> bool:
    """Return whether a machine has the name it was created with; a copy made with Fly's tools has another."""
    return fly.name.endswith(fly.metadata.get(template.META_ID, "?")[:8])
