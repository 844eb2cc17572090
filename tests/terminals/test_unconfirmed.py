"""unconfirmed: input is sent until the host has it, and no byte of it twice."""

from hypothesis import given
from hypothesis import strategies as st

from aether.terminals.unconfirmed import Unconfirmed


def test_what_a_client_sends_twice_is_kept_once():
    """It sends again what it does not know to have arrived; a part of it may be new."""
    unconfirmed = Unconfirmed()
    unconfirmed.add(b"abc", 0)
    unconfirmed.add(b"abcde", 0)
    unconfirmed.add(b"cd", 2)
    assert unconfirmed.take(99) == (0, b"abcde")


def test_what_leaves_a_gap_is_left_out():
    """Its client sends it again, behind what is missing."""
    unconfirmed = Unconfirmed()
    unconfirmed.add(b"later", 3)
    assert unconfirmed.size == 0


def test_input_without_an_offset_follows_what_came_before():
    """From a client that does not count."""
    unconfirmed = Unconfirmed()
    unconfirmed.add(b"ab", None)
    unconfirmed.add(b"cd", None)
    assert unconfirmed.take(3) == (0, b"abc")
    assert unconfirmed.take(3) == (3, b"d")


def test_what_was_not_confirmed_is_sent_again_to_the_same_shell():
    """Over the next channel."""
    unconfirmed = Unconfirmed()
    unconfirmed.add(b"abcdef", 0)
    unconfirmed.take(4)
    unconfirmed.restart(2, is_same=True)
    assert unconfirmed.take(99) == (2, b"cdef")


def test_nothing_is_sent_to_another_shell():
    """What was meant for the one that is gone could be another command in a new one."""
    unconfirmed = Unconfirmed()
    unconfirmed.add(b"rm -rf build", 0)
    unconfirmed.restart(0, is_same=False)
    assert (unconfirmed.take(99), unconfirmed.size) == ((0, b""), 0)


def test_a_host_that_has_more_than_this_server_knows_of_is_right():
    """An earlier server sent it; the client goes on from there."""
    unconfirmed = Unconfirmed()
    unconfirmed.restart(10, is_same=True)
    unconfirmed.add(b"89ab", 8)
    assert unconfirmed.take(99) == (10, b"ab")


@given(st.data())
def test_a_host_takes_each_byte_once_whatever_is_cut(data):
    """Channels swallow any part of what was sent, and confirmations come late or never."""
    typed, unconfirmed, taken = bytes(range(24)), Unconfirmed(), bytearray()
    unconfirmed.add(typed, 0)
    for is_last in [*data.draw(st.lists(st.just(False), max_size=8)), True]:
        for _ in range(data.draw(st.integers(0, 3))):
            offset, sent = unconfirmed.take(data.draw(st.integers(1, 10)))
            arrived = sent[: data.draw(st.integers(0, len(sent)))]
            if offset <= len(taken):
                taken += arrived[len(taken) - offset :]
            if data.draw(st.booleans()):
                unconfirmed.confirm(len(taken))
            if arrived != sent:
                break
        unconfirmed.restart(len(taken), is_same=True)
        if is_last:
            taken += unconfirmed.take(99)[1]
    assert bytes(taken) == typed
