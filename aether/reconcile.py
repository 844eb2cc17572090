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

from aether.births import is_original
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
        self._is_first = True

    async def reconcile(self) -> None:
        """Compare once: one list, and one reading for each machine that differs. Raises AetherError from the list."""
        for past in (self._fleet.births.failed, self._fleet.destroyed):
            for key in [key for key, at in past.items() if self._clock() - at > REMEMBERED_S]:
                del past[key]
        listed = [
            fly
            for fly in await self._client.list({config.META_DEPLOYMENT: self._deployment})
            if fly.state not in FLY_GONE
        ]
        driven = {entry.machine.fly_machine_id: entry for entry in self._fleet.entries()}
        seen = {fly.id for fly in listed}
        steps = [self._guarded(fly.id, self._compare(fly, driven.get(fly.id))) for fly in listed]
        steps += [self._guarded(fly_id, self._miss(entry, seen)) for fly_id, entry in driven.items()]
        try:
            async with asyncio.timeout(DEADLINE_S):
                await asyncio.gather(*steps)
        except TimeoutError:  # idle machines must be stopped all the same
            log.warning("Fly was too slow to compare all machines within %.0f s; the next sweep goes on", DEADLINE_S)
        self._note_shared_ports(listed)
        self._is_first = False

    async def look_again(self, machine: Machine) -> None:
        """Read one machine's activity as other servers have published it; raise ProviderError where that is unknown."""
        fly = await self._client.get(machine.fly_machine_id)
        if not fly.is_reachable:
            raise ProviderError("Fly does not reach the machine's host, so nobody knows who uses it")
        _take_over_activity(machine, fly, self._clock())

    async def _guarded(self, fly_id: str, step: Awaitable[None]) -> None:
        """One machine that makes trouble does not end the sweep."""
        try:
            await step
        except AetherError as error:
            log.warning("Fly machine %s could not be compared: %s", fly_id, error)
        except Exception:
            log.exception("Fly machine %s could not be compared", fly_id)

    async def _compare(self, fly: FlyMachine, entry: MachineLifecycle | None) -> None:
        if entry is not None:
            _take_over_activity(entry.machine, fly, self._clock())
            if _differs(entry, fly):
                await entry.check()
            if self._fleet.births.is_pending(fly):
                await self._fleet.births.confirm(fly)
        elif is_original(fly) and not self._fleet.births.is_being_born(fly):
            await self._meet(fly)

    async def _meet(self, fly: FlyMachine) -> None:
        """Adopt a machine that we do not drive, or destroy it if its user was told that it is gone or never was.

        The list may be old, so the machine is read first; when the server starts there is nothing but the list.
        """
        births = self._fleet.births
        is_unwanted = births.is_orphan(fly) or fly.id in self._fleet.destroyed
        if is_unwanted or not self._is_first:
            fly = await self._client.get(fly.id)
        if fly.state in FLY_GONE:
            return
        if births.is_orphan(fly) or fly.id in self._fleet.destroyed:
            log.warning("Fly machine %s is left of a create or a deletion that failed; destroying it", fly.id)
            await self._client.destroy(fly.id)
        elif not is_unwanted and self._fleet.find(fly.metadata.get(config.META_ID, "")) is None:
            self._adopt(fly)

    def _adopt(self, fly: FlyMachine) -> None:
        machine = adopted(fly, self._clock())
        if machine is None:
            if fly.is_reachable:  # else Fly does not show all of it
                log.warning("Fly machine %s carries our metadata, but not all of it; left alone", fly.id)
            return
        log.info("machine %s adopted, it is %s (%s) at Fly", machine.id, fly.id, fly.state)
        self._fleet.take_in(machine)

    def _note_shared_ports(self, listed: list[FlyMachine]) -> None:
        """Tell the younger of two machines on one SSH port, which no list showed when it was created."""
        driven = {entry.machine.fly_machine_id: entry.machine for entry in self._fleet.entries()}
        holders: dict[int, str] = {}
        for fly in sorted(listed, key=lambda fly: (fly.created_at, fly.id)):
            machine = driven.get(fly.id)
            if machine is None or not fly.config.get("services"):
                continue
            holder = holders.setdefault(machine.ssh_port, fly.id)
            machine.note_shared_port(holder != fly.id)
            if holder != fly.id:
                log.warning("Fly machines %s and %s share port %d", holder, fly.id, machine.ssh_port)

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


def _differs(entry: MachineLifecycle, fly: FlyMachine) -> bool:
    """Say whether Fly's view of a machine is worth a closer look."""
    is_running = state_from_fly(fly.state) is MachineState.RUNNING
    was_running = entry.machine.state is MachineState.RUNNING
    has_changed = is_running is not was_running or entry.machine.is_unreachable or not fly.is_reachable
    if is_running and was_running:  # it was stopped, or updated, and started again since we looked
        has_changed |= (fly.instance_id, fly.private_ip) != (entry.machine.instance_id, entry.machine.private_ip)
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
