"""virtual_clock: time that passes only when a test says so."""

import asyncio

import pytest

from tests.virtual_clock import VirtualClock


@pytest.fixture
def virtual():
    """A clock that stands still."""
    return VirtualClock()


@pytest.mark.gen_test
async def test_sleepers_wake_in_their_own_moment(virtual):
    """Each sleeper sees the time it asked for, in order, and may sleep on within the same stretch."""
    start, seen = virtual.now, []

    async def sleep(*naps):
        for nap in naps:
            await virtual.sleep(nap)
            seen.append(virtual() - start)

    tasks = [asyncio.create_task(sleep(3)), asyncio.create_task(sleep(1, 1, 5))]
    await virtual.advance(4)
    assert (seen, virtual.now, virtual.sleepers) == ([1, 2, 3], start + 4, 1)
    await virtual.advance(3)
    await asyncio.gather(*tasks)


@pytest.mark.gen_test
async def test_cancelled_sleepers_are_forgotten(virtual):
    """Time passes over who does not sleep any more."""
    task = asyncio.create_task(virtual.sleep(1))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    assert virtual.sleepers == 0
    await virtual.advance(2)


@pytest.mark.gen_test
async def test_no_sleep_takes_no_time(virtual):
    """A sleep of nothing needs no turn of the clock."""
    await virtual.sleep(0)
