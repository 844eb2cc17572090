"""Reconciler: compares the fleet with Fly's list, which is the record.

Left alone are machines of another deployment (the list is filtered by ours), those being created just now, and copies
of a machine that were made with Fly's own tools. What a list says is acted on only after the machine itself has been
read; what it lacks, only after two lists and a reading. Sources: Fly's infra log, where lists were wrongly empty;
flyctl#4618, where they lagged.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from aether.errors import AetherError, MachineNotFound, ProviderError
from aether.fleet.creation import MachineCreation, is_original
from aether.fleet.lifecycle import MachineLifecycle
from aether.fleet.registry import Fleet
from aether.fly import template
from aether.fly.answers import FlyMachine
from aether.fly.operations import Operations
from aether.machines import Machine, MachineSize, MachineState, from_iso, state_from_fly
from aether.ssh.keys import checked_public_key

log = logging.getLogger(__name__)

READINGS = 2
YOUNG_S = 180.0
DEADLINE_S = 30.0


class Reconciler:
    """Adopts machines that the fleet does not know, and passes on to it what has stopped or gone.

    Args:
        deployment: whose machines are compared.
    """

    def __init__(
        self,
        fleet: Fleet,
        operations: Operations,
        creation: MachineCreation,
        deployment: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._fleet = fleet
        self._operations = operations
        self._creation = creation
        self._deployment = deployment
        self._clock = clock
        self._missed: dict[str, int] = {}
        self._is_first = True

    async def reconcile(self) -> None:
        """Compare once: one list, and one reading for each machine that differs. Raises AetherError from the list."""
        listed = await self._operations.list({template.META_DEPLOYMENT: self._deployment})
        known = {lifecycle.machine.fly_machine_id: lifecycle for lifecycle in self._fleet.lifecycles()}
        seen = {fly.id for fly in listed}
        steps = [self._guarded(fly.id, self._compare(fly, known.get(fly.id))) for fly in listed]
        steps += [self._guarded(fly_id, self._miss(lifecycle, seen)) for fly_id, lifecycle in known.items()]
        try:
            async with asyncio.timeout(DEADLINE_S):
                await asyncio.gather(*steps)
        except TimeoutError:  # idle machines must be stopped all the same
            log.warning("Fly was too slow to compare all machines within %.0f s; the next sweep goes on", DEADLINE_S)
        self._note_shared_ports(listed)
        self._is_first = False

    async def _guarded(self, fly_id: str, step: Awaitable[None]) -> None:
        """Take one machine's step; its error does not end the sweep."""
        try:
            await step
        except AetherError as error:
            log.warning("Fly machine %s could not be compared: %s", fly_id, error)
        except Exception:
            log.exception("Fly machine %s could not be compared", fly_id)

    async def _compare(self, fly: FlyMachine, lifecycle: MachineLifecycle | None) -> None:
        if lifecycle is not None:
            lifecycle.activity.take(fly)
            if _differs(lifecycle, fly):
                await lifecycle.check()
            if self._creation.is_pending(fly):
                await self._creation.confirm(fly)
        elif is_original(fly) and not self._creation.is_under_way(fly):
            await self._meet(fly)

    async def _meet(self, listed: FlyMachine) -> None:
        """Adopt a machine that is not in the fleet, or destroy it if its user was told that it is gone or never was.

        The list may be old, so the machine is read first; when the server starts there is nothing but the list.
        """
        is_unwanted = self._is_unwanted(listed)
        fly = await self._operations.get(listed.id) if is_unwanted or not self._is_first else listed
        if fly is None:
            return
        if self._is_unwanted(fly):
            log.warning("Fly machine %s is left of a create or a deletion that failed; destroying it", fly.id)
            await self._operations.request_destroy(fly.id)
        elif not is_unwanted and self._fleet.find(fly.metadata.get(template.META_ID, "")) is None:
            self._adopt(fly)

    def _is_unwanted(self, fly: FlyMachine) -> bool:
        return self._creation.is_orphan(fly) or self._fleet.has_destroyed(fly.id)

    def _adopt(self, fly: FlyMachine) -> None:
        machine = machine_from_fly(fly, self._clock())
        if machine is None:
            if fly.is_reachable:  # else Fly does not show all of it
                log.warning("Fly machine %s carries our metadata, but not all of it; left alone", fly.id)
            return
        log.info("machine %s adopted, it is %s (%s) at Fly", machine.id, fly.id, fly.state)
        self._fleet.adopt(machine)

    def _note_shared_ports(self, listed: list[FlyMachine]) -> None:
        """Note it in the younger of two machines on one SSH port, which no list showed when it was created."""
        known = {machine.fly_machine_id: machine for machine in self._fleet.list()}
        holders: dict[int, str] = {}
        for fly in sorted(listed, key=lambda fly: (fly.created_at, fly.id)):
            machine = known.get(fly.id)
            if machine is None or not fly.config.get("services"):
                continue
            holder = holders.setdefault(machine.ssh_port, fly.id)
            machine.note_shared_port(holder != fly.id)
            if holder != fly.id:
                log.warning("Fly machines %s and %s share port %d", holder, fly.id, machine.ssh_port)

    async def _miss(self, lifecycle: MachineLifecycle, seen: set[str]) -> None:
        """Count a machine that the list lacks; drop it if it is still gone in READINGS lists and when it is read."""
        machine = lifecycle.machine
        if machine.fly_machine_id in seen or lifecycle.is_busy() or self._clock() - machine.created_at < YOUNG_S:
            self._missed.pop(machine.id, None)
            return
        self._missed[machine.id] = self._missed.get(machine.id, 0) + 1
        if self._missed[machine.id] < READINGS:
            return
        await lifecycle.check()
        if lifecycle.status.is_gone:
            log.warning("machine %s is gone from Fly", machine.id)
            self._missed.pop(machine.id, None)
            self._fleet.forget(machine.id)
            await lifecycle.close(MachineNotFound("Machine destroyed from outside of aether."))


def _differs(lifecycle: MachineLifecycle, fly: FlyMachine) -> bool:
    """Return whether Fly's list differs from what we know, so that the machine should be read."""
    machine = lifecycle.machine
    is_running = state_from_fly(fly.state) is MachineState.RUNNING
    was_running = machine.state is MachineState.RUNNING
    has_changed = is_running is not was_running or machine.is_unreachable or not fly.is_reachable
    if is_running and was_running:  # it was stopped, or updated, and started again since we looked
        has_changed |= (fly.instance_id, fly.private_ip) != (machine.instance_id, machine.private_ip)
    return has_changed and not lifecycle.is_busy()


def machine_from_fly(fly: FlyMachine, now: float) -> Machine | None:
    """Make our machine of Fly's, None if its metadata forbid; activity that is unknown counts as now."""
    state, error = _state_at_adoption(fly)
    guest: dict[str, Any] = fly.config.get("guest") or {}
    try:
        return Machine(
            id=str(uuid.UUID(fly.metadata[template.META_ID])),
            name=fly.metadata[template.META_NAME],
            region=fly.region,
            image=fly.config["image"],
            size=MachineSize(guest["cpu_kind"], int(guest["cpus"]), int(guest["memory_mb"])),
            created_at=from_iso(fly.created_at),
            last_activity_at=now,
            last_input_at=now,
            ssh_port=int(fly.metadata[template.META_SSH_PORT]),
            host_public_key=checked_public_key(fly.metadata[template.META_HOST_KEY]),
            state=state,
            fly_machine_id=fly.id,
            instance_id=fly.instance_id,
            private_ip=fly.private_ip,
            error=error,
        )
    except (KeyError, ValueError, TypeError):
        return None


def _state_at_adoption(fly: FlyMachine) -> tuple[MachineState, dict[str, Any] | None]:
    """Return the state a machine is adopted in, and its error; one in transition is driven on from there."""
    state = state_from_fly(fly.state)
    if state is None:
        return MachineState.STOPPING if fly.state in ("stopping", "suspending") else MachineState.CREATED, None
    if state is not MachineState.ERROR:
        return state, None
    text = f"The machine stopped {fly.why_stopped()}; start it again or delete it."
    return state, {"code": ProviderError.code, "message": text}
