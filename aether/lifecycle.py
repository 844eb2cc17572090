"""MachineLifecycle: drives one machine to the state last asked for, one step after the other.

Callers only say where the machine shall head; one task per machine does the steps, so that they cannot overlap
and every order of requests has one sane outcome: the last one wins.
"""

import asyncio
import logging
import time
from collections.abc import Callable

from aether.activity import ActivityPublisher
from aether.errors import AetherError, MachineNotFound, MachineNotRunning, MachineStopped, ShuttingDown, SshError
from aether.fly.answers import FlyMachine
from aether.fly.transitions import Transitions
from aether.machines import Machine, MachineState, state_from_fly
from aether.ssh.client import SshLink
from aether.terminals import Terminals

log = logging.getLogger(__name__)

RUNNING, STOPPED = MachineState.RUNNING, MachineState.STOPPED
AT_REST = (MachineState.STOPPED, MachineState.ERROR)
LAST_WORDS_S = 3.5  # for a stopped machine to hang up by itself; `infra/images/base/aether-sshd` takes three


class MachineLifecycle:
    """One machine, its SSH connection, its terminals, and the task that drives it."""

    def __init__(
        self,
        machine: Machine,
        transitions: Transitions,
        link: SshLink,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.machine = machine
        self._transitions = transitions
        self._heading = STOPPED if machine.state in (STOPPED, MachineState.STOPPING) else RUNNING
        self._asked_by = self._stopped_by = ""
        self._asked = 0  # how often somebody has said where to head
        self._entered = 0  # how often the state has changed
        self.is_gone = False
        self.activity = ActivityPublisher(machine, transitions, clock)
        self.terminals = Terminals(link, self.activity, self._until_running, self.ended_error, self.check)
        self._driver: asyncio.Task[None] | None = None
        self._destroying: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    def settle(self) -> None:
        """See a transition through that began elsewhere: at creation, or before this server was started."""
        if self.machine.state in (MachineState.CREATED, MachineState.STOPPING):
            self._drive_on()

    def start(self) -> None:
        """Head for `running`; during a stop: as soon as that one ends."""
        self._refuse_if_destroying()
        if self._heading is RUNNING and self._is_driving():
            return
        self._heading = RUNNING
        self._asked += 1
        if self.machine.state is RUNNING:
            self.machine.error = None  # it could not be stopped, and now need not be
        elif not self._is_driving():
            self._enter(MachineState.STARTING)
        self._drive_on()

    def stop(self, by: str) -> None:
        """Head for `stopped`; during a start: as soon as that one ends. `by` completes "Machine stopped …"."""
        self._refuse_if_destroying()
        if self._heading is STOPPED and self._is_driving():
            return
        self._heading = STOPPED
        self._asked += 1
        self._asked_by = by
        if not self._is_driving() and self.machine.state is not STOPPED:
            self._stopped_by = by
            self._enter(MachineState.STOPPING)
        self._drive_on()

    async def destroy(self) -> None:
        """Destroy the machine, whatever it is doing; all callers wait for the same end."""
        if self._destroying is None:
            self._destroying = asyncio.create_task(self._destroy(), name=f"destroy {self.machine.id}")
        destroying = self._destroying
        try:
            await asyncio.shield(destroying)
        except asyncio.CancelledError:
            if destroying.cancelled():
                raise ShuttingDown("the server is shutting down; delete the machine again in a moment") from None
            raise

    async def close(self, error: AetherError) -> None:
        """Let go of the machine without touching it: end terminals with `error`, the connection and all tasks."""
        for task in (self._driver, self._destroying):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])
        await self.terminals.end(error)
        await self.activity.close()

    def is_busy(self) -> bool:
        """Say whether a transition of ours is under way: what Fly says now is about to change."""
        return self._is_driving() or self._destroying is not None

    async def observe(self, fly: FlyMachine | None) -> None:
        """Take over what Fly says of a machine that we have left in peace: it may have stopped, or be gone."""
        if self.is_busy():
            return
        self.is_gone = fly is None
        if fly is None:
            self._fail(gone := MachineNotFound("Machine destroyed from outside of aether."))
            await self.terminals.end(gone)
            return
        if not fly.is_reachable:
            self.machine.note_unreachable()
            return
        self.machine.error = None if self.machine.is_unreachable else self.machine.error
        state = state_from_fly(fly.state)
        if state is RUNNING and self.machine.state is not RUNNING:
            self._heading = RUNNING  # somebody else started it, or a start that we gave up came through after all
            self._enter(MachineState.STARTING)
            self._run(fly)
        elif state in AT_REST and self.machine.state is RUNNING:
            self._heading = STOPPED
            await self._note_stopped(fly, state)
        elif state is RUNNING and self.machine.take_place(fly.instance_id, fly.private_ip):
            await self.terminals.end(SshError("the machine has moved to another host; reconnect for a new session"))

    async def _note_stopped(self, fly: FlyMachine, state: MachineState) -> None:
        self._stopped_by = fly.why_stopped()
        log.info("machine %s stopped %s", self.machine.id, self._stopped_by)
        stopped = MachineStopped(f"Machine stopped {self._stopped_by}.")
        self.machine.error = stopped.to_json() if state is MachineState.ERROR else None
        self._enter(state)
        await self.terminals.end(stopped)

    async def check(self) -> None:
        """Ask Fly about this one machine now, and take over what it says."""
        if self.is_busy():
            return
        entered = self._entered
        fly = await self._transitions.get_surely(self.machine.fly_machine_id)
        if self._entered == entered:  # else the answer is about a past that a transition of ours has overtaken
            await self.observe(fly)

    async def _until_running(self) -> None:
        while self.machine.state is not RUNNING:
            if self._heading is not RUNNING or not self._is_driving():
                raise MachineNotRunning(self.machine.why_no_terminal())
            await self.changed()

    async def changed(self) -> None:
        """Wait for the machine's next change of state."""
        await self._changed.wait()

    def ended_error(self) -> AetherError | None:
        """Return what terminals are told of a machine that is gone or does not run, None while it runs."""
        if self.is_gone or self._destroying is not None:
            return MachineNotFound(f"Machine destroyed {'from outside of aether' if self.is_gone else 'by user'}.")
        if self.machine.state in (MachineState.STOPPING, STOPPED):
            return MachineStopped(f"Machine stopped {self._stopped_by or 'by provider'}.")
        return None

    def _is_driving(self) -> bool:
        return self._driver is not None and not self._driver.done()

    def _drive_on(self) -> None:
        if not self._is_driving():
            self._driver = asyncio.create_task(self._drive(), name=f"drive {self.machine.id}")

    async def _drive(self) -> None:
        asked = None
        while asked != self._asked:
            asked, heading = self._asked, self._heading
            try:
                await (self._boot() if heading is RUNNING else self._halt())
            except AetherError as error:
                await self._fail_heading(heading, error)
            except Exception:
                log.exception("machine %s: driving it to %s failed", self.machine.id, heading)
                self._fail(AetherError("the server failed to do this; its log says why"))

    async def _fail_heading(self, heading: MachineState, error: AetherError) -> None:
        """A machine that could not be stopped may still run, and bill: then it stays `running`, to be stopped again."""
        self._fail(error)
        fly = await self._transitions.peek(self.machine.fly_machine_id) if heading is STOPPED else None
        if fly is not None and fly.state == "started":
            self._enter(RUNNING)

    async def _boot(self) -> None:
        self.machine.error = None
        if self.machine.state is RUNNING:
            fly = await self._transitions.halted(self.machine.fly_machine_id)
            if fly is None:
                return
            await self._note_stopped(fly, state_from_fly(fly.state) or STOPPED)
        is_launching = self.machine.state is MachineState.CREATED
        self._enter(MachineState.STARTING)
        self._run(await self._transitions.start(self.machine.fly_machine_id, is_launching))

    def _run(self, fly: FlyMachine) -> None:
        self.machine.error = None
        self.machine.take_place(fly.instance_id, fly.private_ip)
        self.activity.note_input()
        self._enter(RUNNING)

    async def _halt(self) -> None:
        if self.machine.state is STOPPED:
            fly = await self._transitions.peek(self.machine.fly_machine_id)
            if fly is None or state_from_fly(fly.state) in AT_REST:
                return
        self._stopped_by = self._asked_by or self._stopped_by
        self._enter(MachineState.STOPPING)
        await self._transitions.ask_stop(self.machine.fly_machine_id)
        await self.terminals.end(MachineStopped(f"Machine stopped {self._stopped_by or 'by provider'}."), LAST_WORDS_S)
        await self._transitions.await_stopped(self.machine.fly_machine_id, self.machine.instance_id)
        self.machine.error = None
        self._enter(STOPPED)

    async def _destroy(self) -> None:
        try:
            if self._driver is not None:
                self._driver.cancel()
                await asyncio.wait([self._driver])
            self._enter(MachineState.STOPPING)
            await self.terminals.end(MachineNotFound("Machine destroyed by user."))
            await self._transitions.destroy(self.machine.fly_machine_id)
        except Exception as error:
            self._destroying = None
            self._fail(error if isinstance(error, AetherError) else AetherError("deleting failed; delete it again"))
            raise
        await self.activity.close()

    def _fail(self, error: AetherError) -> None:
        log.error("machine %s: %s", self.machine.id, error)
        self.machine.error = error.to_json()
        self._enter(MachineState.ERROR)

    def _enter(self, state: MachineState) -> None:
        if state is not self.machine.state:
            log.info("machine %s: %s → %s", self.machine.id, self.machine.state, state)
        self.machine.to(state)
        self._entered += 1
        self._changed.set()
        self._changed = asyncio.Event()

    def _refuse_if_destroying(self) -> None:
        if self._destroying is not None:
            raise MachineNotFound(f"machine {self.machine.id} is being deleted")
