"""activity: other servers learn of use, and Fly is not flooded with it."""

import asyncio

import pytest

from aether.errors import ProviderError
from aether.fly.activity import ActivityPublisher
from aether.machines import Machine, MachineSize


class Fly:
    """Notes what is published, or refuses it."""

    def __init__(self):
        self.published, self.error, self.open = [], None, asyncio.Event()
        self.open.set()

    async def set_metadata(self, fly_id, key, value):
        self.published.append((fly_id, key, value))
        await self.open.wait()
        if self.error is not None:
            raise self.error


@pytest.fixture
def fly():
    return Fly()


@pytest.fixture
def box():
    return Machine(
        "id", "box", "sjc", "image", MachineSize("shared", 1, 512), 0, 0, 0, 20000, "key", fly_machine_id="148e"
    )


@pytest.fixture
def activity(io_loop, box, fly, clock):
    publisher = ActivityPublisher(box, fly, clock)
    yield publisher
    io_loop.run_sync(publisher.close)


@pytest.mark.gen_test
async def test_use_is_published_when_it_begins_and_then_once_a_minute(activity, fly, clock):
    """A key a second is one call a minute."""
    for _ in range(121):
        activity.note_input()
        await activity.published()
        clock.now += 1
    values = [int(value) for _, _, value in fly.published]
    assert [value - values[0] for value in values] == [0, 60, 120]
    assert fly.published[0][:2] == ("148e", "aether_last_activity")


@pytest.mark.gen_test
async def test_output_that_nobody_asked_for_is_not_published(activity, box, fly, clock):
    """It does not count as activity either."""
    activity.note_input()
    await activity.published()
    clock.now += 3601
    activity.note_output()
    assert len(fly.published) == 1
    assert box.last_activity_at == clock.now - 3601


@pytest.mark.gen_test
async def test_what_cannot_be_published_harms_nobody(activity, fly, clock):
    """The machine is used all the same, and the next minute tries again."""
    fly.error = ProviderError("no")
    activity.note_input()
    await activity.published()
    clock.now += 60
    activity.note_input()
    await activity.published()
    assert len(fly.published) == 2


@pytest.mark.gen_test
async def test_use_during_a_slow_publication_is_published_after_it(activity, fly, clock):
    """The last word is never lost."""
    fly.open.clear()
    activity.note_input()
    await asyncio.sleep(0)
    clock.now += 600
    activity.note_input()
    fly.open.set()
    await activity.published()
    assert [int(value) for _, _, value in fly.published] == [clock.now - 600, clock.now]


@pytest.mark.gen_test
async def test_the_last_word_of_a_minute_gets_out_with_the_next_sweep(activity, fly, clock):
    """Or another server would stop the machine up to a minute early."""
    activity.note_input()
    await activity.published()
    clock.now += 50
    activity.note_input()
    activity.flush()
    await activity.published()
    activity.flush()
    assert [int(value) for _, _, value in fly.published] == [clock.now - 50, clock.now]


@pytest.mark.gen_test
async def test_a_server_whose_users_did_nothing_publishes_nothing(activity, fly):
    """What it adopted counts as active for itself only."""
    activity.flush()
    await activity.published()
    assert fly.published == []
