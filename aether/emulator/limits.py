"""Fly's rate limits: a bucket of tokens per action and identifier, which is a machine's id or an app's name.

fly.io docs, working with the Machines API: one request a second, three in a burst; reading a machine, five and ten.
Neither the body of a 429 nor its headers are established.
"""

import math
from collections.abc import Callable

from aether.emulator.requests import ApiError

_RATES = {"get": (5.0, 10.0)}
_OTHERS = (1.0, 3.0)


class RateLimits:
    """The buckets of one emulator."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._buckets: dict[tuple[str, str], tuple[float, float]] = {}

    def take(self, action: str, identifier: str) -> None:
        """Take a token; 429 if there is none, with the seconds until there is."""
        per_second, burst = _RATES.get(action, _OTHERS)
        now = self._clock()
        tokens, then = self._buckets.get((action, identifier), (burst, now))
        tokens = min(burst, tokens + (now - then) * per_second)
        is_taken = tokens >= 1
        self._buckets[action, identifier] = (tokens - is_taken, now)
        if not is_taken:
            raise TooManyRequests(math.ceil((1 - tokens) / per_second))


class TooManyRequests(ApiError):
    """429, and when to ask again."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(429, "rate limit exceeded")
        self.retry_after_s = retry_after_s
