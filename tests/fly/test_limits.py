"""fly.limits: calls queue on our side, so that Fly does not refuse them."""

import pytest

from aether.fly.limits import RateLimit


@pytest.fixture
def limit(clock):
    return RateLimit(clock)


def test_three_calls_go_at_once_and_then_one_a_second(limit):
    """Fly's documented rate and burst."""
    assert [limit.reserve("start", "148e") for _ in range(5)] == [0, 0, 0, 1, 2]


def test_reading_a_machine_has_a_rate_of_its_own(limit):
    """Five a second, bursts of ten."""
    assert [round(limit.reserve("get", "148e"), 1) for _ in range(12)] == [0.0] * 10 + [0.2, 0.4]


def test_actions_and_machines_do_not_share_a_bucket(limit):
    """The limit is per action and machine."""
    for _ in range(3):
        limit.reserve("start", "148e")
    assert limit.reserve("stop", "148e") == 0
    assert limit.reserve("start", "9999") == 0
    assert limit.reserve("start", "148e") > 0


def test_a_bucket_fills_again_with_time(limit, clock):
    """After three quiet seconds three calls go at once."""
    for _ in range(3):
        limit.reserve("start", "148e")
    clock.now += 3
    assert [limit.reserve("start", "148e") for _ in range(4)] == [0, 0, 0, 1]


def test_full_buckets_are_forgotten(clock):
    """A server that runs for a year does not remember every machine there ever was."""
    limit = RateLimit(clock, most=10)
    for number in range(100):
        limit.reserve("start", str(number))
        clock.now += 1
    assert len(limit) <= 11
