"""tombstones: what is gone is remembered for as long as a list may still show it."""

import pytest

from aether.fleet.tombstones import KEPT_S, Tombstones


@pytest.fixture
def tombstones(clock):
    return Tombstones(clock)


def test_a_machine_is_remembered_for_a_day(tombstones, clock):
    """No list lags for longer."""
    tombstones.add_destroyed("148e")
    clock.now += KEPT_S
    assert tombstones.has_destroyed("148e")
    clock.now += 1
    assert not tombstones.has_destroyed("148e")


def test_the_ids_of_fly_and_ours_are_not_mixed_up(tombstones):
    """Ours are in metadata, which can be forged."""
    tombstones.add_destroyed("148e")
    tombstones.add_failed("an-id-of-ours")
    assert (tombstones.has_failed("148e"), tombstones.has_destroyed("an-id-of-ours")) == (False, False)
    assert (tombstones.has_failed("an-id-of-ours"), len(tombstones)) == (True, 2)


def test_what_is_long_past_takes_no_memory(tombstones, clock):
    """A server that runs for a year keeps no list of all that ever was."""
    for number in range(100):
        tombstones.add_failed(str(number))
        clock.now += KEPT_S / 10
    assert len(tombstones) == 10


def test_a_machine_that_is_added_again_is_remembered_from_then_on(tombstones, clock):
    """And does not hide the age of others."""
    tombstones.add_failed("a")
    clock.now += KEPT_S
    tombstones.add_failed("b")
    tombstones.add_failed("a")
    clock.now += KEPT_S
    assert tombstones.has_failed("a")
    assert tombstones.has_failed("b")
