"""Reconciler: holds the fleet against Fly's list, which is the record.

Machines that are not ours to touch: those of another deployment (the list is filtered by ours), those being created
just now, and copies of a machine that somebody made with Fly's own tools. What a list says is acted on only after
the machine itself has been read; what it lacks, only after two lists and a reading. Sources: Fly's infra log, where
lists were wrongly empty; flyctl#4618, where they lagged.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from aether.errors import AetherError, MachineNotFound, ProviderError
from aether.fleet import Fleet
from aether.fly import config
from aether.fly.answers import FlyMachine
from aether.fly.client import FlyClient
from aether.lifecycle import MachineLifecycle
from aether.machines import FLY_GONE, Guest, Machine, MachineState, from_iso, state_from_fly
from aether.ssh.keys import checked_public_key

log = logging.getLogger(__name__)

READINGS = 2
YOUNG_S = 180.0
DEADLINE_S = 30.0
REMEMBERED_S = 86400.0  # how long a failed create or a destroyed machine may come up in a list


class Reconciler:
    """Adopts what the fleet does not know, and lets it know what has stopped or gone."""

    def __init__(
        self, fleet: Fleet, client: FlyClient, deployment: str, clock: Callable[[], float] = time.time
    ) -> None:
        self._fleet = fleet
        self._client = client
        self._deployment = deployment
        self._clock = clock
        self._missed: dict[str, int] = {}

    async def reconcile(self) -> None:
        """Compare once: one list, and one reading for each machine that differs. Raises AetherError from the list."""
        for past in (self._fleet.births.failed, self._fleet.destroyed):
            for key in [key for key, at in past.items() if self._clock() - at > REMEMBERED_S]:
                del past[key]
        listed = [
            fly
            for fly in await self._client.list({config.META_DEPLOYMENT: self._deployment})
            if fly.state not in FLY_GONE and fly.id not in self._fleet.destroyed
        ]
        listed.sort(key=lambda fly: (not _is_original(fly), fly.created_at, fly.id))
        self._adopt_unknown(listed)
        self._note_shared_ports(listed)
        seen = {fly.id for fly in listed}
        steps = [self._guarded(fly.id, self._compare(fly)) for fly in listed]
        steps += [
            self._guarded(entry.machine.fly_machine_id, self._miss(entry, seen)) for entry in self._fleet.entries()
        ]
        try:
            async with asyncio.timeout(DEADLINE_S):
                await asyncio.gather(*steps)
        except TimeoutError:  # idle machines must be stopped all the same
            log.warning("Fly was too slow to compare all machines within %.0f s; the next sweep goes on", DEADLINE_S)

    async def look_again(self, machine: Machine) -> None:
        """Read one machine's activity as other servers have published it, and what became of the machine."""
        fly = await self._client.get(machine.fly_machine_id)
        _take_over_activity(machine, fly, self._clock())

    async def _guarded(self, fly_id: str, step: Awaitable[None]) -> None:
        """One machine that makes trouble does not end the sweep."""
        try:
            await step
        except AetherError as error:
            log.warning("Fly machine %s could not be compared: %s", fly_id, error)

    def _adopt_unknown(self, listed: list[FlyMachine]) -> None:
        """Adopt what no server is making just now and no failed create has left."""
        births = self._fleet.births
        for fly in listed:
            aether_id = fly.metadata.get(config.META_ID, "")
            is_being_born = aether_id in births.under_way or (births.is_pending(fly) and births.is_young(fly))
            if self._fleet.find(aether_id) is None and not is_being_born and not births.is_orphan(fly):
                self._adopt(fly)

    def _adopt(self, fly: FlyMachine) -> None:
        machine = adopted(fly, self._clock())
        if machine is None:
            log.warning("Fly machine %s carries our metadata, but not all of it; left alone", fly.id)
            return
        log.info("machine %s adopted, it is %s (%s) at Fly", machine.id, fly.id, fly.state)
        self._fleet.take_in(machine)

    def _note_shared_ports(self, listed: list[FlyMachine]) -> None:
        """Tell the younger of two machines on one SSH port, which no list showed when it was created."""
        holders: dict[str, FlyMachine] = {}
        for fly in listed:
            port = fly.metadata.get(config.META_SSH_PORT, "")
            older = holders.setdefault(port, fly)
            entry = self._entry(fly)
            if older is not fly and entry is not None and fly.config.get("services"):
                log.warning("Fly machines %s and %s share port %s", older.id, fly.id, port)
                text = f"Another machine has port {port}, too: save your files, delete this one, create it again."
                entry.machine.error = entry.machine.error or ProviderError(text).to_json()

    def _entry(self, fly: FlyMachine) -> MachineLifecycle | None:
        """Find what drives this very machine, not a copy of it."""
        entry = self._fleet.find(fly.metadata.get(config.META_ID, ""))
        return entry if entry is not None and entry.machine.fly_machine_id == fly.id else None

    async def _compare(self, fly: FlyMachine) -> None:
        births = self._fleet.births
        entry = self._entry(fly)
        if entry is not None:
            _take_over_activity(entry.machine, fly, self._clock())
            if births.is_pending(fly):
                await births.confirm(fly)
            if _differs(entry, fly):
                await entry.check()
        elif births.is_orphan(fly) and births.is_orphan(await self._client.get(fly.id)):
            log.warning("Fly machine %s is left of a create that failed; destroying it", fly.id)
            await self._client.destroy(fly.id)

    async def _miss(self, entry: MachineLifecycle, seen: set[str]) -> None:
        machine = entry.machine
        if machine.fly_machine_id in seen or entry.is_busy() or self._clock() - machine.created_at < YOUNG_S:
            self._missed.pop(machine.id, None)
            return
        self._missed[machine.id] = self._missed.get(machine.id, 0) + 1
        if self._missed[machine.id] < READINGS:
            return
        await entry.check()
        if entry.is_gone:
            log.warning("machine %s is gone from Fly", machine.id)
            self._missed.pop(machine.id, None)
            self._fleet.forget(machine.id)
            await entry.close(MachineNotFound("Machine destroyed from outside of aether."))


def _is_original(fly: FlyMachine) -> bool:
    """Say whether a machine has the name it was born with; a copy made with Fly's tools has another."""
    return fly.name.endswith(fly.metadata.get(config.META_ID, "?")[:8])


def _differs(entry: MachineLifecycle, fly: FlyMachine) -> bool:
    """Say whether Fly's view of a machine is worth a closer look."""
    is_running = state_from_fly(fly.state) is MachineState.RUNNING
    was_running = entry.machine.state is MachineState.RUNNING
    has_changed = is_running is not was_running or entry.machine.is_unreachable or not fly.is_reachable
    return has_changed and not entry.is_busy()


def adopted(fly: FlyMachine, now: float) -> Machine | None:
    """Make our machine of Fly's, None if its metadata forbid; activity that nobody knows of counts as now."""
    guest: dict[str, Any] = fly.config.get("guest") or {}
    state = state_from_fly(fly.state)
    if state is None:
        state = MachineState.STOPPING if fly.state in ("stopping", "suspending") else MachineState.CREATED
    error = None
    if state is MachineState.ERROR:
        text = f"The machine stopped {fly.why_stopped()}; start it again or delete it."
        error = {"code": ProviderError.code, "message": text}
    try:
        return Machine(
            id=str(uuid.UUID(fly.metadata[config.META_ID])),
            name=fly.metadata[config.META_NAME],
            region=fly.region,
            image=fly.config["image"],
            guest=Guest(guest["cpu_kind"], int(guest["cpus"]), int(guest["memory_mb"])),
            created_at=from_iso(fly.created_at),
            last_activity_at=now,
            last_input_at=now,
            ssh_port=int(fly.metadata[config.META_SSH_PORT]),
            host_public_key=checked_public_key(fly.metadata[config.META_HOST_KEY]),
            state=state,
            fly_machine_id=fly.id,
            instance_id=fly.instance_id,
            private_ip=fly.private_ip,
            error=error,
        )
    except (KeyError, ValueError, TypeError):
        return None


def _take_over_activity(machine: Machine, fly: FlyMachine, now: float) -> None:
    """Count what another server's users do; metadata can be forged, so never believe in the future."""
    text = fly.metadata.get(config.META_LAST_ACTIVITY, "")
    if text.isascii() and text.isdecimal():
        machine.last_activity_at = max(machine.last_activity_at, min(float(text), now))
