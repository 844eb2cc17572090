"""RateLimit: how long a call must wait so that Fly does not refuse it (pure).

Source: Fly docs "Working with the Machines API, Rate limits": one request per second for each action and machine,
with bursts of up to three; five per second with bursts of ten for reading a machine. Creating and listing are counted
per app.
"""

from collections.abc import Callable

RATES = {"get": (5.0, 10)}
USUAL_RATE = (1.0, 3)
MOST_BUCKETS = 10_000


class RateLimit:
    """A bucket of calls for each action and identifier (a machine's id, or the app's name).

    Args:
        clock: seconds on a steady clock.
        most: beyond so many buckets, those that have run full again are forgotten.
    """

    def __init__(self, clock: Callable[[], float], most: int = MOST_BUCKETS) -> None:
        self._clock = clock
        self._most = most
        self._full_at: dict[tuple[str, str], float] = {}

    def __len__(self) -> int:
        """Return how many buckets are remembered."""
        return len(self._full_at)

    def reserve(self, action: str, identifier: str) -> float:
        """Take one call out of its bucket; return how many seconds to wait before making it."""
        rate, burst = RATES.get(action, USUAL_RATE)
        now = self._clock()
        if len(self._full_at) > self._most:
            self._full_at = {key: full_at for key, full_at in self._full_at.items() if full_at > now}
        full_at = max(self._full_at.get((action, identifier), now), now) + 1 / rate
        self._full_at[action, identifier] = full_at
        return max(0.0, full_at - now - burst / rate)
