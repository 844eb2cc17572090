"""IdleSweeper: stops machines that nobody uses; the rule itself is a pure function."""

import logging
import time
from collections.abc import Callable

from tornado.ioloop import PeriodicCallback

from aether.fleet import Fleet
from aether.machines import Machine, MachineState

log = logging.getLogger(__name__)


def idle_stop_at(machine: Machine, idle_timeout_s: float) -> float | None:
    """Return when the machine will be stopped if nothing happens (seconds since the epoch), None unless it runs."""
    return machine.last_activity_at + idle_timeout_s if machine.state is MachineState.RUNNING else None


def is_idle(machine: Machine, idle_timeout_s: float, now: float) -> bool:
    """Say whether the machine's time is up at `now`."""
    deadline = idle_stop_at(machine, idle_timeout_s)
    return deadline is not None and now >= deadline


class IdleSweeper:
    """Every `check_s` seconds stops the machines that have been idle for `timeout_s` seconds."""

    def __init__(self, fleet: Fleet, timeout_s: float, check_s: float, clock: Callable[[], float] = time.time) -> None:
        self._fleet = fleet
        self._timeout_s = timeout_s
        self._clock = clock
        self._callback = PeriodicCallback(self.sweep, check_s * 1000)

    def start(self) -> None:
        """Begin to sweep; needs a running event loop."""
        self._callback.start()

    def stop(self) -> None:
        """Sweep no more."""
        self._callback.stop()

    def sweep(self) -> None:
        """Stop every machine that is idle now; one that cannot be stopped does not end the sweep.

        Looking and asking for the stop happen in one turn of the event loop, so that no key can come between.
        """
        now = self._clock()
        for machine in self._fleet.list():
            if not is_idle(machine, self._timeout_s, now):
                continue
            log.info("machine %s idle for %.0f s, stopping it", machine.id, now - machine.last_activity_at)
            try:
                self._fleet.stop(machine.id, f"after {duration(self._timeout_s)} without activity")
            except Exception:
                log.exception("machine %s could not be stopped", machine.id)


def duration(seconds: float) -> str:
    """Say a time-out as a person would: `10 minutes`, `90 seconds`."""
    if seconds >= 120 and seconds % 60 == 0:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds:g} seconds"
