"""How long the watchdog waits, where a fixture needs to say so."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

AGAIN_S = 5.0  # where the first failure was swallowed by a task that is never awaited


@contextmanager
def patient(seconds: float) -> Iterator[None]:
    """Give what a fixture does once for many tests so long, and then the test what it had left."""
    left, again = signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, left, again)
