"""IdleSweeper: stops machines that nobody uses; the rule itself is a pure function."""

import asyncio
import logging
import time
from collections.abc import Callable

from tornado.ioloop import PeriodicCallback

from aether.errors import AetherError
from aether.fleet import Fleet
from aether.machines import Machine, MachineState
from aether.reconcile import Reconciler

log = logging.getLogger(__name__)

DEADLINE_S = 30.0


def idle_stop_at(machine: Machine, idle_timeout_s: float) -> float | None:
    """Return when the machine will be stopped if nothing happens (seconds since the epoch), None unless it runs."""
    return machine.last_activity_at + idle_timeout_s if machine.state is MachineState.RUNNING else None


def is_idle(machine: Machine, idle_timeout_s: float, now: float) -> bool:
    """Say whether the machine's time is up at `now`."""
    deadline = idle_stop_at(machine, idle_timeout_s)
    return deadline is not None and now >= deadline


class IdleSweeper:
    """Every `check_s` seconds compares the fleet with Fly, and stops the machines idle for `timeout_s` seconds."""

    def __init__(
        self,
        fleet: Fleet,
        reconciler: Reconciler,
        timeout_s: float,
        check_s: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._fleet = fleet
        self._reconciler = reconciler
        self._timeout_s = timeout_s
        self._clock = clock
        self._callback = PeriodicCallback(self._tick, check_s * 1000)
        self._sweeping: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to sweep; needs a running event loop."""
        self._callback.start()

    async def stop(self) -> None:
        """Sweep no more."""
        self._callback.stop()
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.wait([self._sweeping])

    async def sweep(self) -> None:
        """Compare with Fly, then stop what is idle; one machine that makes trouble does not end the sweep."""
        try:
            await self._reconciler.reconcile()
        except AetherError as error:
            log.warning("Fly's list could not be read, so nothing was compared: %s", error)
        for entry in self._fleet.entries():
            entry.activity.flush()
        idle = [m for m in self._fleet.list() if is_idle(m, self._timeout_s, self._clock())]
        try:
            async with asyncio.timeout(DEADLINE_S):
                await asyncio.gather(*(self._guarded_stop(machine) for machine in idle))
        except TimeoutError:
            log.warning("Fly was too slow to stop all idle machines within %.0f s; the next sweep goes on", DEADLINE_S)

    async def _guarded_stop(self, machine: Machine) -> None:
        """One machine that makes trouble does not keep others running."""
        try:
            await self._stop(machine)
        except AetherError as error:
            log.warning("machine %s is idle but could not be stopped: %s", machine.id, error)
        except Exception:
            log.exception("machine %s is idle but could not be stopped", machine.id)

    async def _stop(self, machine: Machine) -> None:
        """Stop a machine unless somebody uses it by another server.

        The last look and the order to stop are in one turn of the event loop, so that no key can come between.
        """
        await self._reconciler.look_again(machine)
        now = self._clock()
        if is_idle(machine, self._timeout_s, now):
            log.info("machine %s idle for %.0f s, stopping it", machine.id, now - machine.last_activity_at)
            self._fleet.stop(machine.id, f"after {duration(self._timeout_s)} without activity")

    def _tick(self) -> None:
        """Begin a sweep, unless the last one still waits for Fly."""
        if self._sweeping is None or self._sweeping.done():
            self._sweeping = asyncio.create_task(self.sweep(), name="idle sweep")


def duration(seconds: float) -> str:
    """Say a time-out as a person would: `10 minutes`, `90 seconds`."""
    if seconds >= 120 and seconds % 60 == 0:
        return f"{seconds / 60:.0f} minutes"
    return "1 second" if seconds == 1 else f"{seconds:g} seconds"
