"""clock: time-outs, in virtual time."""

import asyncio

import pytest

from aether.emulator.clock import within


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
