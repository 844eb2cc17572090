"""Fly's rate limits: a token bucket per action and identifier, which is a machine's id or an app's name (pure).

fly.io docs, working with the Machines API: one request a second, three in a burst; reading a machine, five and ten.
Neither the body of a 429 nor its headers are established.
"""

import math
from collections.abc import Callable

from aether.emulator.errors import TooManyRequests

_RATES = {"get": (5.0, 10.0)}
_OTHERS = (1.0, 3.0)


class RateLimits:
    """The buckets of one emulator."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._buckets: dict[tuple[str, str], tuple[float, float]] = {}

    def consume(self, action: str, identifier: str) -> None:
        """Consume a token; raises TooManyRequests if there is none, with the seconds until there is."""
        per_second, burst = _RATES.get(action, _OTHERS)
        now = self._clock()
        tokens, then = self._buckets.get((action, identifier), (burst, now))
        tokens = min(burst, tokens + (now - then) * per_second)
        is_allowed = tokens >= 1
        self._buckets[action, identifier] = (tokens - is_allowed, now)
        if not is_allowed:
            raise TooManyRequests(math.ceil((1 - tokens) / per_second))
