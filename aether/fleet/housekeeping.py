"""Housekeeping: the sweep that every minute compares the fleet with Fly and stops machines that are not used."""

import asyncio
import logging
import time
from collections.abc import Callable

from tornado.ioloop import PeriodicCallback

from aether.errors import AetherError
from aether.fleet.lifecycle import MachineLifecycle
from aether.fleet.reconcile import Reconciler
from aether.fleet.registry import Fleet

log = logging.getLogger(__name__)

DEADLINE_S = 30.0


class Housekeeping:
    """Sweeps every `check_s` seconds; a machine without activity for `idle_timeout_s` seconds is stopped."""

    def __init__(
        self,
        fleet: Fleet,
        reconciler: Reconciler,
        idle_timeout_s: float,
        check_s: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._fleet = fleet
        self._reconciler = reconciler
        self._idle_timeout_s = idle_timeout_s
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
        """Compare with Fly, publish activity, stop idle machines; none of them ends the sweep."""
        await self._compare()
        self._publish_activity()
        await self._stop_idle()

    async def _compare(self) -> None:
        try:
            await self._reconciler.reconcile()
        except AetherError as error:
            log.warning("Fly's list could not be read, so nothing was compared: %s", error)

    def _publish_activity(self) -> None:
        for lifecycle in self._fleet.lifecycles():
            lifecycle.activity.flush()

    async def _stop_idle(self) -> None:
        now = self._clock()
        idle = [known for known in self._fleet.lifecycles() if known.machine.is_idle(self._idle_timeout_s, now)]
        try:
            async with asyncio.timeout(DEADLINE_S):
                await asyncio.gather(*(self._stop_one(lifecycle) for lifecycle in idle))
        except TimeoutError:
            log.warning("Fly was too slow to stop all idle machines within %.0f s; the next sweep goes on", DEADLINE_S)

    async def _stop_one(self, lifecycle: MachineLifecycle) -> None:
        """Stop a machine unless it is used through another server; an error does not keep others running.

        The last look and the order to stop are in one turn of the event loop, so that no key can come between.
        """
        machine = lifecycle.machine
        try:
            await lifecycle.activity.refresh()
            now = self._clock()
            if machine.is_idle(self._idle_timeout_s, now):
                log.info("machine %s idle for %.0f s, stopping it", machine.id, now - machine.last_activity_at)
                self._fleet.stop(machine.id, f"after {duration(self._idle_timeout_s)} without activity")
        except AetherError as error:
            log.warning("machine %s is idle but could not be stopped: %s", machine.id, error)
        except Exception:
            log.exception("machine %s is idle but could not be stopped", machine.id)

    def _tick(self) -> None:
        """Begin a sweep, unless the last one still waits for Fly."""
        if self._sweeping is None or self._sweeping.done():
            self._sweeping = asyncio.create_task(self.sweep(), name="sweep")


def duration(seconds: float) -> str:
    """Say a time-out as a person would: `10 minutes`, `90 seconds`."""
    if seconds >= 120 and seconds % 60 == 0:
        return f"{seconds / 60:.0f} minutes"
    return "1 second" if seconds == 1 else f"{seconds:g} seconds"
