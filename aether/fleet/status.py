"""MachineStatus: a machine's state as it changes, why it has ended, and those who wait for a change."""

import asyncio
import logging

from aether.errors import AetherError, MachineNotFound, MachineStopped
from aether.machines import Machine, MachineState

log = logging.getLogger(__name__)


class MachineStatus:
    """The one place where the state of a machine changes."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.stopped_by = ""  # completes "Machine stopped …"
        self.is_gone = False  # from Fly, not by us
        self.is_destroying = False
        self.changes = 0  # how often the state has been entered
        self._changed = asyncio.Event()

    def enter(self, state: MachineState) -> None:
        """Move to `state`; raise ValueError where `machines.TRANSITIONS` has no such transition."""
        if state is not self.machine.state:
            log.info("machine %s: %s → %s", self.machine.id, self.machine.state, state)
        self.machine.to(state)
        self.changes += 1
        self._changed.set()
        self._changed = asyncio.Event()

    def fail(self, error: AetherError) -> None:
        """Move to `error`, because of `error`."""
        log.error("machine %s: %s", self.machine.id, error)
        self.machine.error = error.to_json()
        self.enter(MachineState.ERROR)

    async def changed(self) -> None:
        """Wait for the next change of state."""
        await self._changed.wait()

    def note_stopped(self, state: MachineState, by: str) -> MachineStopped:
        """Record that the machine came to rest by itself; return what its terminals are told."""
        self.stopped_by = by
        log.info("machine %s stopped %s", self.machine.id, by)
        stopped = self.stopped_error()
        self.machine.error = stopped.to_json() if state is MachineState.ERROR else None
        self.enter(state)
        return stopped

    def refuse_if_destroying(self) -> None:
        """Raise MachineNotFound while the machine is being destroyed."""
        if self.is_destroying:
            raise MachineNotFound(f"machine {self.machine.id} is being deleted")

    def ended_error(self) -> AetherError | None:
        """Return what terminals are told of a machine that is gone or does not run, None while it runs."""
        if self.is_gone or self.is_destroying:
            return MachineNotFound(f"Machine destroyed {'from outside of aether' if self.is_gone else 'by user'}.")
        if self.machine.state in (MachineState.STOPPING, MachineState.STOPPED):
            return self.stopped_error()
        return None

    def stopped_error(self) -> MachineStopped:
        """Return what terminals are told of a machine that has stopped."""
        return MachineStopped(f"Machine stopped {self.stopped_by or 'by provider'}.")
