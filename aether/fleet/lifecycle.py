"""MachineLifecycle: drives one machine to the state last asked for, one step after the other.

Callers only set the state to head for; one task per machine takes the steps, so that they cannot overlap and every
order of requests has one sane outcome: the last one wins.
"""

import asyncio
import logging
import time
from collections.abc import Callable

from aether.errors import AetherError, MachineNotFound, MachineNotRunning, ShuttingDown, SshError
from aether.fleet.status import MachineStatus
from aether.fly.activity import ActivityPublisher
from aether.fly.answers import FlyMachine
from aether.fly.operations import Operations
from aether.machines import Machine, MachineState, state_from_fly
from aether.ssh.pool import ConnectionPool
from aether.terminals.keeping import Sessions
from aether.terminals.machine_terminals import MachineTerminals

log = logging.getLogger(__name__)

RUNNING, STOPPED = MachineState.RUNNING, MachineState.STOPPED
AT_REST = (MachineState.STOPPED, MachineState.ERROR)
LAST_OUTPUT_S = 3.5  # for a stopping machine to hang up its shells itself; `infra/images/base/aether-sshd` takes three


class MachineLifecycle:
    """One machine, its SSH connections, its terminals, and the task that drives it.

    Args:
        last_output_s: how long a stopping machine has to close its terminals itself, after their last output.
        sessions: how its shells outlive their connections; None: they do not.
    """

    def __init__(
        self,
        machine: Machine,
        operations: Operations,
        pool: ConnectionPool,
        clock: Callable[[], float] = time.time,
        last_output_s: float = LAST_OUTPUT_S,
        sessions: Sessions | None = None,
    ) -> None:
        self.machine = machine
        self.status = MachineStatus(machine)
        self._operations = operations
        self._last_output_s = last_output_s
        self._heading = STOPPED if machine.state in (STOPPED, MachineState.STOPPING) else RUNNING
        self._asked_by = ""
        self._asked = 0  # how often a heading was asked for
        self.activity = ActivityPublisher(machine, operations, clock)
        self.terminals = MachineTerminals(self, pool, sessions)
        self._driver: asyncio.Task[None] | None = None
        self._destroying: asyncio.Task[None] | None = None

    # What is asked for.

    def settle(self) -> None:
        """See a transition through that began elsewhere: at creation, or before this server was started."""
        if self.machine.state in (MachineState.CREATED, MachineState.STOPPING):
            self._drive_on()

    def start(self) -> None:
        """Head for `running`; during a stop: as soon as that one ends."""
        self.status.refuse_if_destroying()
        if self._heading is RUNNING and self._is_driving():
            return
        self._heading = RUNNING
        self._asked += 1
        if self.machine.state is RUNNING:
            self.machine.error = None  # it could not be stopped, and now need not be
        elif not self._is_driving():
            self.status.enter(MachineState.STARTING)
        self._drive_on()

    def stop(self, by: str) -> None:
        """Head for `stopped`; during a start: as soon as that one ends. `by` completes "Machine stopped …"."""
        self.status.refuse_if_destroying()
        if self._heading is STOPPED and self._is_driving():
            return
        self._heading = STOPPED
        self._asked += 1
        self._asked_by = by
        if not self._is_driving() and self.machine.state is not STOPPED:
            self.status.stopped_by = by
            self.status.enter(MachineState.STOPPING)
        self._drive_on()

    async def destroy(self) -> None:
        """Destroy the machine, whatever it is doing; all callers wait for the same end."""
        if self._destroying is None:
            self.status.is_destroying = True
            self._destroying = asyncio.create_task(self._destroy(), name=f"destroy {self.machine.id}")
        destroying = self._destroying
        try:
            await asyncio.shield(destroying)
        except asyncio.CancelledError:
            if destroying.cancelled():
                raise ShuttingDown("the server is shutting down; delete the machine again in a moment") from None
            raise

    async def close(self, error: AetherError) -> None:
        """Stop managing the machine, which goes on at Fly: end terminals with `error`, connections and tasks."""
        for task in (self._driver, self._destroying):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])
        await self.terminals.end(error)
        await self.activity.close()

    async def settled(self) -> None:
        """Wait until no transition of ours is under way."""
        tasks = [task for task in (self._driver, self._destroying) if task is not None]
        if tasks:
            await asyncio.wait(tasks)

    def is_busy(self) -> bool:
        """Return whether a transition of ours is under way: what Fly says now is about to change."""
        return self._is_driving() or self.status.is_destroying

    # What Fly says.

    async def check(self) -> None:
        """Read this one machine at Fly now, and adopt what it says."""
        if self.is_busy():
            return
        entered = self.status.changes
        fly = await self._operations.get_confirmed(self.machine.fly_machine_id)
        if self.status.changes == entered:  # else the answer is about a past that a transition of ours has overtaken
            await self.observe(fly)

    async def observe(self, fly: FlyMachine | None) -> None:
        """Adopt what Fly says of a machine with no transition of ours: it may have stopped, or be gone (None)."""
        if self.is_busy():
            return
        self.status.is_gone = fly is None
        if fly is None:
            self.status.fail(gone := MachineNotFound("Machine destroyed from outside of aether."))
            await self.terminals.end(gone)
            return
        if not fly.is_reachable:
            self.machine.note_unreachable()
            return
        self.machine.error = None if self.machine.is_unreachable else self.machine.error
        state = state_from_fly(fly.state)
        if state is RUNNING and self.machine.state is not RUNNING:
            self._heading = RUNNING  # it was started from outside, or a start that we gave up came through after all
            self.status.enter(MachineState.STARTING)
            self._run(fly)
        elif state in AT_REST and self.machine.state is RUNNING:
            self._heading = STOPPED
            await self._note_stopped(fly, state)
        elif state is RUNNING and self.machine.set_address(fly.instance_id, fly.private_ip):
            await self.terminals.end(SshError("the machine has moved to another host; reconnect for a new shell"))

    async def _note_stopped(self, fly: FlyMachine, state: MachineState) -> None:
        await self.terminals.end(self.status.note_stopped(state, fly.why_stopped()))

    async def until_running(self) -> None:
        """Return once the machine runs; raise MachineNotRunning if it does not head for that."""
        while self.machine.state is not RUNNING:
            if self._heading is not RUNNING or not self._is_driving():
                raise MachineNotRunning(self.machine.why_no_terminal())
            await self.status.changed()

    def ended_error(self) -> AetherError | None:
        """Return why the machine has no terminals any more, None while it runs."""
        return self.status.ended_error()

    def note_sessions(self, are_kept: bool, reason: str | None) -> None:
        """Note whether the machine keeps sessions, and why not; the log says the latter once."""
        if reason is not None and reason != self.machine.sessions_reason:
            log.warning("machine %s keeps no sessions: %s", self.machine.id, reason)
        self.machine.note_sessions(are_kept, reason)

    # The steps.

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
                self.status.fail(AetherError("the server failed to do this; its log says why"))

    async def _fail_heading(self, heading: MachineState, error: AetherError) -> None:
        """Fail; a machine that could not be stopped and still runs, and bills, stays `running`, to be stopped again."""
        self.status.fail(error)
        fly = await self._operations.try_get(self.machine.fly_machine_id) if heading is STOPPED else None
        if fly is not None and fly.state == "started":
            self.status.enter(RUNNING)

    async def _boot(self) -> None:
        self.machine.error = None
        if self.machine.state is RUNNING:
            fly = await self._operations.get_halted(self.machine.fly_machine_id)
            if fly is None:
                return
            await self._note_stopped(fly, state_from_fly(fly.state) or STOPPED)
        is_launching = self.machine.state is MachineState.CREATED
        self.status.enter(MachineState.STARTING)
        self._run(await self._operations.start(self.machine.fly_machine_id, is_launching))

    def _run(self, fly: FlyMachine) -> None:
        self.machine.error = None
        self.machine.set_address(fly.instance_id, fly.private_ip)
        self.activity.note_input()
        self.status.enter(RUNNING)

    async def _halt(self) -> None:
        if self.machine.state is STOPPED:
            fly = await self._operations.try_get(self.machine.fly_machine_id)
            if fly is None or state_from_fly(fly.state) in AT_REST:
                return
        self.status.stopped_by = self._asked_by or self.status.stopped_by
        self.status.enter(MachineState.STOPPING)
        await self._operations.request_stop(self.machine.fly_machine_id)
        await self.terminals.end(self.status.stopped_error(), self._last_output_s)
        await self._operations.wait_stopped(self.machine.fly_machine_id, self.machine.instance_id)
        self.machine.error = None
        self.status.enter(STOPPED)

    async def _destroy(self) -> None:
        try:
            if self._driver is not None:
                self._driver.cancel()
                await asyncio.wait([self._driver])
            self.status.enter(MachineState.STOPPING)
            await self.terminals.end(MachineNotFound("Machine destroyed by user."))
            await self._operations.destroy(self.machine.fly_machine_id)
        except Exception as error:
            self._destroying, self.status.is_destroying = None, False
            unexpected = AetherError("deleting failed; delete it again")
            self.status.fail(error if isinstance(error, AetherError) else unexpected)
            raise
        await self.activity.close()
