"""session_input: what is typed into a session reaches its host, as fast as the program reads."""

import asyncio

import pytest

from aether.messages import Input
from aether.terminals.frames import OFFSET, TAKEN
from aether.terminals.session_input import MAX_INPUT_BYTES, MAX_ON_ITS_WAY_BYTES, TAKEN_S, SessionInput
from tests.timelapse import Timelapse


class Host:
    """Takes frames of input while there is a channel."""

    def __init__(self):
        self.taken, self.has_channel = [], True

    def send(self, frame):
        if self.has_channel:
            self.taken.append((OFFSET.unpack_from(frame, 5)[0], frame[13:]))
        return self.has_channel

    @property
    def size(self):
        return sum(len(data) for _, data in self.taken)


@pytest.fixture
def host():
    return Host()


@pytest.fixture
def typing(client, host):
    return SessionInput(client, host.send)


@pytest.mark.gen_test
async def test_a_key_is_one_frame_with_its_offset(typing, host):
    """At once."""
    typing.attached(0, 0, is_same=False)
    typing.type(Input(b"l", 0))
    typing.type(Input(b"s", 1))
    assert host.taken == [(0, b"l"), (1, b"s")]


@pytest.mark.gen_test
async def test_what_is_typed_without_a_channel_is_sent_over_the_next_one(typing, host):
    """To the same shell, and once."""
    typing.attached(0, 0, is_same=False)
    typing.type(Input(b"one", 0))
    typing.detached()
    typing.type(Input(b"two", 3))
    typing.attached(2, 0, is_same=True)
    assert host.taken == [(0, b"one"), (2, b"etwo")]


@pytest.mark.gen_test
async def test_a_program_that_does_not_read_is_not_overrun(typing, host):
    """The rest waits here, where it is counted, and follows as the program reads."""
    typing.attached(0, 0, is_same=False)
    typing.type(Input(b"x" * 100_000, 0))
    assert host.size == MAX_ON_ITS_WAY_BYTES
    assert max(len(data) for _, data in host.taken) == MAX_INPUT_BYTES
    typing.confirmed(TAKEN.pack(MAX_ON_ITS_WAY_BYTES, 60_000))
    assert (typing.waiting_bytes, host.size) == (100_000 - MAX_ON_ITS_WAY_BYTES + 60_000, MAX_ON_ITS_WAY_BYTES + 5536)
    typing.confirmed(TAKEN.pack(host.size, 0))
    assert host.size == 100_000


@pytest.mark.gen_test
async def test_a_client_hears_what_was_taken_a_moment_later_and_once(typing, client):
    """Not a message for each key."""
    lapse = Timelapse(asyncio.get_running_loop())
    typing.attached(0, 0, is_same=False)
    for number in range(3):
        typing.type(Input(b"x", number))
        typing.confirmed(TAKEN.pack(number + 1, 0))
    await lapse.elapse(TAKEN_S * 2)
    assert client.said == [{"type": "taken", "offset": 3}]
    typing.confirmed(TAKEN.pack(3, 0))
    typing.close()
    await lapse.elapse(TAKEN_S * 2)
    assert len(client.said) == 1
