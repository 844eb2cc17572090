"""MachineLifecycle: drives one machine to the state last asked for, one step after the other.

Callers only say where the machine shall head; one task per machine does the steps, so that they cannot overlap
and every order of requests has one sane outcome: the last one wins.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable

from aether.errors import AetherError, MachineNotFound, MachineNotRunning, MachineStopped
from aether.fly.transitions import Transitions
from aether.machines import Machine, MachineState
from aether.messages import TerminalQuery
from aether.sessions import Client, TerminalSession
from aether.ssh.client import SshLink

log = logging.getLogger(__name__)

RUNNING, STOPPED = MachineState.RUNNING, MachineState.STOPPED


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
        self.sessions: set[TerminalSession] = set()
        self._transitions = transitions
        self._link = link
        self._clock = clock
        self._heading = STOPPED if machine.state in (STOPPED, MachineState.STOPPING) else RUNNING
        self._stopped_by = ""
        self._driver: asyncio.Task[None] | None = None
        self._destroying: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    # What callers ask for.

    def settle(self) -> None:
        """See a transition through that began elsewhere: at creation, or before this server was started."""
        if self.machine.state in (MachineState.CREATED, MachineState.STOPPING):
            self._drive_on()

    def start(self) -> None:
        """Head for `running`; during a stop: as soon as that one ends."""
        self._refuse_if_destroying()
        if self._heading is RUNNING and self.machine.state not in (STOPPED, MachineState.ERROR):
            return
        self._heading = RUNNING
        if not self._is_driving():
            self._enter(MachineState.STARTING)
            self._drive_on()

    def stop(self, by: str) -> None:
        """Head for `stopped`; during a start: as soon as that one ends. `by` completes "Machine stopped …"."""
        self._refuse_if_destroying()
        if self._heading is STOPPED and self.machine.state in (STOPPED, MachineState.STOPPING):
            return
        self._heading = STOPPED
        self._stopped_by = by
        if not self._is_driving():
            self._enter(MachineState.STOPPING)
            self._drive_on()

    async def destroy(self) -> None:
        """Destroy the machine, whatever it is doing; all callers wait for the same end."""
        if self._destroying is None:
            self._destroying = asyncio.create_task(self._destroy(), name=f"destroy {self.machine.id}")
        await asyncio.shield(self._destroying)

    def open_terminal(self, client: Client, query: TerminalQuery) -> TerminalSession:
        """Return a session whose shell opens once the machine runs."""
        session = TerminalSession(
            self.machine, client, query, self._why_terminals_end, self.sessions.discard, self._clock
        )
        self.sessions.add(session)
        session.open(self._attach)
        return session

    async def close(self, error: AetherError) -> None:
        """Let go of the machine without touching it: end terminals with `error`, the connection and all tasks."""
        tasks = [task for task in (self._driver, self._destroying) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._end_terminals(error)
        await self._link.close()

    # Terminals.

    async def _attach(self, session: TerminalSession) -> None:
        await self._until_running()
        await self._link.open_terminal(lambda: session, session.size.cols, session.size.rows)

    async def _until_running(self) -> None:
        while self.machine.state is not RUNNING:
            if self._heading is not RUNNING or not self._is_driving():
                raise MachineNotRunning(_not_running_text(self.machine))
            await self.changed()

    async def changed(self) -> None:
        """Wait for the machine's next change of state."""
        await self._changed.wait()

    def _why_terminals_end(self) -> AetherError | None:
        if self._destroying is not None:
            return MachineNotFound("Machine destroyed by user.")
        if self.machine.state in (MachineState.STOPPING, STOPPED):
            return self._stopped_error()
        return None

    def _stopped_error(self) -> MachineStopped:
        return MachineStopped(f"Machine stopped {self._stopped_by or 'by provider'}.")

    async def _end_terminals(self, error: AetherError) -> None:
        sessions = list(self.sessions)
        for session in sessions:
            session.end(error)
        await asyncio.gather(*(session.wait_ended() for session in sessions))

    # The driver.

    def _is_driving(self) -> bool:
        return self._driver is not None and not self._driver.done()

    def _drive_on(self) -> None:
        self._driver = asyncio.create_task(self._drive(), name=f"drive {self.machine.id}")

    async def _drive(self) -> None:
        heading = None
        while heading is not self._heading:
            heading = self._heading
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
        if heading is not STOPPED:
            return
        with contextlib.suppress(AetherError):
            if await self._transitions.is_started(self.machine.fly_machine_id):
                self._enter(RUNNING)

    async def _boot(self) -> None:
        is_launching = self.machine.state is MachineState.CREATED
        self.machine.error = None
        self._enter(MachineState.STARTING)
        fly = await self._transitions.start(self.machine.fly_machine_id, is_launching)
        self.machine.instance_id = fly.instance_id
        self.machine.private_ip = fly.private_ip  # may change when a machine starts (Fly docs, "Private networking")
        self.machine.note_input(self._clock())
        self._enter(RUNNING)

    async def _halt(self) -> None:
        self._enter(MachineState.STOPPING)
        await self._transitions.ask_stop(self.machine.fly_machine_id)
        await self._end_terminals(self._stopped_error())
        await self._transitions.await_stopped(self.machine.fly_machine_id, self.machine.instance_id)
        await self._link.close()
        self.machine.error = None
        self._enter(STOPPED)

    async def _destroy(self) -> None:
        try:
            if self._driver is not None:
                self._driver.cancel()
                await asyncio.wait([self._driver])
            self._enter(MachineState.STOPPING)
            await self._end_terminals(MachineNotFound("Machine destroyed by user."))
            await self._transitions.destroy(self.machine.fly_machine_id)
        except AetherError as error:
            self._destroying = None
            self._fail(error)
            raise
        await self._link.close()

    def _fail(self, error: AetherError) -> None:
        log.error("machine %s: %s", self.machine.id, error)
        self.machine.error = {"code": error.code, "message": error.message}
        self._enter(MachineState.ERROR)

    def _enter(self, state: MachineState) -> None:
        if state is not self.machine.state:
            log.info("machine %s: %s → %s", self.machine.id, self.machine.state, state)
        self.machine.to(state)
        self._changed.set()
        self._changed = asyncio.Event()

    def _refuse_if_destroying(self) -> None:
        if self._destroying is not None:
            raise MachineNotFound(f"machine {self.machine.id} is being deleted")


def _not_running_text(machine: Machine) -> str:
    if machine.error is not None:
        return f"The machine is in error: {machine.error['message']}"
    return f"The machine is {machine.state}; start it with POST /machines/{machine.id}/start."
