"""limits: tokens by action and identifier."""

import pytest

from aether.emulator.errors import TooManyRequests
from aether.emulator.http.limits import RateLimits

CREATE = "/apps/app/machines"


def taken(limits, action, identifier="m", most=20):
    """Count the requests that are let through at this moment."""
    for count in range(most):
        try:
            limits.consume(action, identifier)
        except TooManyRequests:
            return count
    return most


@pytest.mark.parametrize(("action", "burst", "after"), [("stop", 3, 1), ("create", 3, 1), ("get", 10, 5)])
def test_burst_then_rate(virtual, action, burst, after):
    """A burst is let through, then so many a second; reading a machine has more."""
    limits = RateLimits(virtual)
    assert taken(limits, action) == burst
    virtual.now += 1
    assert taken(limits, action) == after
    virtual.now += 1000
    assert taken(limits, action) == burst


def test_actions_and_identifiers_do_not_share(virtual):
    """Each action of each machine or app has its own tokens."""
    limits = RateLimits(virtual)
    assert [taken(limits, a, i) for a, i in (("stop", "m"), ("stop", "n"), ("start", "m"), ("stop", "m"))] == [
        3,
        3,
        3,
        0,
    ]


@pytest.mark.parametrize("retry_after", [True, False])
@pytest.mark.gen_test
async def test_429_over_http(fast, retry_after):
    """Creates of one app share a bucket; the header that says when to come back is optional."""
    fly = await fast(rate_limit=True, retry_after=retry_after)
    for _ in range(3):
        await fly.create()
    answer = await fly.api("POST", CREATE, {"config": {"image": "i"}})
    assert (answer.status, answer.body) == (429, {"error": "rate limit exceeded"})
    assert answer.headers.get("Retry-After") == ("1" if retry_after else None)
    assert (await fly.api("GET", CREATE)).status == 200
    await fly.clock.advance(1)
    await fly.create()
