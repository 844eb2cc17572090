"""tombstones: what is gone is remembered for as long as a list may still show it."""

import pytest

from aether.fleet.tombstones import KEPT_S, Tombstones


@pytest.fixture
def tombstones(clock):
    return Tombstones(clock)


def test_a_machine_is_remembered_for_a_day(tombstones, clock):
    """No list lags for longer."""
    tombstones.add("148e")
    clock.now += KEPT_S
    assert "148e" in tombstones
    clock.now += 1
    assert "148e" not in tombstones


def test_what_is_long_past_takes_no_memory(tombstones, clock):
    """A server that runs for a year keeps no list of all that ever was."""
    for number in range(100):
        tombstones.add(str(number))
        clock.now += KEPT_S / 10
    assert len(tombstones) == 10


def test_a_machine_that_is_added_again_is_remembered_from_then_on(tombstones, clock):
    """And does not hide the age of others."""
    tombstones.add("a")
    clock.now += KEPT_S
    tombstones.add("b")
    tombstones.add("a")
    clock.now += KEPT_S
    assert {"a", "b"} == {name for name in ("a", "b") if name in tombstones}
