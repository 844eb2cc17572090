"""clock: time that passes by hand, and time-outs in it."""

import asyncio

import pytest

from aether.emulator.clock import within


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


@pytest.mark.gen_test
async def test_within_the_time(virtual):
    """What ends in time is answered, its error too, and the timer is gone."""
    done = asyncio.get_running_loop().create_future()
    done.set_result(7)
    assert await within(done, 10, virtual.sleep) == 7
    broken = asyncio.get_running_loop().create_future()
    broken.set_exception(KeyError("k"))
    with pytest.raises(KeyError):
        await within(broken, 10, virtual.sleep)
    assert virtual.sleepers == 0


@pytest.mark.gen_test
async def test_not_within_the_time(virtual):
    """What does not end in time is cancelled."""
    never = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(within(never, 10, virtual.sleep))
    await virtual.advance(10)
    with pytest.raises(TimeoutError):
        await task
    assert never.cancelled()
