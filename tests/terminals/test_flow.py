"""flow: how much output may be on its way."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aether.terminals.flow import (
    CALM_BYTES_S,
    MAX_WINDOW_BYTES,
    MIN_WINDOW_BYTES,
    SAMPLE_BYTES,
    START_WINDOW_BYTES,
    TYPING_S,
    WORTH_S,
    Credit,
    TypingPriority,
)

KIB = 1024


def flood(credit, rate, seconds, step_s=0.1):
    """Let a client draw `rate` bytes a second while the shell sends all it may; return what was on its way at last."""
    now, may_send, most = 0.0, credit.window, 0
    while now < seconds:
        credit.received(may_send)
        credit.sent(may_send, now)
        most = credit.undrawn
        now += step_s
        credit.drawn(min(int(rate * step_s), credit.undrawn), now)
        may_send = credit.take_grant()
    return most


@pytest.mark.parametrize("rate", [1, 20_000, 200_000, 1_000_000, 50_000_000])
def test_what_is_on_its_way_follows_what_the_client_draws(rate):
    """Worth a quarter of a second, whatever the client: never more than the most, never less than two can work with."""
    credit = Credit(0.0)
    credit.acknowledge()
    most = flood(credit, rate, 5)
    expected = min(max(rate * WORTH_S, MIN_WINDOW_BYTES), MAX_WINDOW_BYTES)
    if rate < SAMPLE_BYTES / 5:  # it never drew enough to say how fast it is
        expected = START_WINDOW_BYTES
    assert credit.window == pytest.approx(expected, rel=0.05)
    assert most <= credit.window


def test_a_client_that_never_draws_gets_the_first_window_and_no_more():
    """Its shell waits, and nothing grows."""
    credit = Credit(0.0)
    credit.received(START_WINDOW_BYTES)
    credit.sent(START_WINDOW_BYTES, 0.0)
    assert [credit.take_grant() for _ in range(3)] == [0, 0, 0]


def test_a_client_that_claims_to_have_drawn_more_than_it_got_gains_nothing():
    """An acknowledgement is untrusted input."""
    credit = Credit(0.0)
    credit.received(1000)
    credit.sent(1000, 0.0)
    credit.drawn(1 << 31, 0.0)
    assert credit.undrawn == 0
    assert credit.take_grant() == 0


def test_grants_are_few():
    """A window adjustment for every key would double the packets."""
    credit, now = Credit(0.0), 0.0
    grants = []
    for _ in range(START_WINDOW_BYTES):
        credit.received(1)
        credit.sent(1, now)
        now += WORTH_S / START_WINDOW_BYTES
        credit.drawn(1, now)
        grants += filter(None, [credit.take_grant()])
    assert grants == [START_WINDOW_BYTES // 4] * 4


def test_no_more_may_come_unasked_than_there_is_room_for():
    """A large window does not let the shell fill our memory while the client takes nothing."""
    credit = Credit(0.0)
    credit.received(START_WINDOW_BYTES)
    credit.acknowledge()
    assert credit.take_grant(most=1000) == 0  # too little for a message
    assert credit.take_grant(most=START_WINDOW_BYTES // 2) == START_WINDOW_BYTES // 2
    assert credit.take_grant(most=START_WINDOW_BYTES // 2) == 0


def test_typing_says_nothing_about_how_fast_a_client_is():
    """A few bytes a second are the user's pace, not the terminal's."""
    credit = Credit(0.0)
    for second in range(1000):
        credit.received(10)
        credit.sent(10, second)
        credit.drawn(10, second + 0.001)
    assert credit.window == START_WINDOW_BYTES


def test_a_client_that_has_drawn_all_is_not_slow_for_as_long_as_the_shell_is():
    """Only the time counts in which there is something to draw: a fast client draws each window in a moment."""
    credit = Credit(0.0)
    credit.acknowledge()
    credit.window = MIN_WINDOW_BYTES
    for round_trip in range(5):
        size = credit.window
        credit.sent(size, round_trip)
        credit.drawn(size, round_trip + 0.001)
    assert credit.window == MAX_WINDOW_BYTES


def test_a_kernel_that_takes_output_in_bursts_is_not_taken_for_a_fast_client():
    """A client at 200 KB/s that does not acknowledge: its kernel takes a lot at once, and then nothing for a while."""
    credit, now, may_send = Credit(0.0), 0.0, START_WINDOW_BYTES
    for _ in range(50):
        credit.received(may_send)
        credit.sent(may_send, now)
        now += 0.32
        for _ in range(16):
            credit.drawn(4 * KIB, now)
        may_send = credit.take_grant()
    assert credit.window <= 2 * MIN_WINDOW_BYTES


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 200 * KIB), st.integers(0, 600 * KIB), st.floats(0, 2)), max_size=60))
def test_whatever_the_client_does_its_shell_is_never_held_for_good_nor_let_loose(steps):
    """Never more than a window on its way, and once all is drawn the shell may go on."""
    credit, now, may_send = Credit(0.0), 0.0, START_WINDOW_BYTES
    for wrote, drew, seconds in steps:
        now += seconds
        size = min(wrote, may_send)
        may_send -= size
        credit.received(size)
        credit.sent(size, now)
        credit.drawn(drew, now)
        may_send += credit.take_grant()
        assert may_send + credit.undrawn <= MAX_WINDOW_BYTES
    credit.drawn(credit.undrawn, now)
    assert may_send + credit.take_grant() >= MIN_WINDOW_BYTES * 3 // 4


def test_who_types_holds_back_what_others_on_the_machine_write():
    """To what eyes can follow, and while a user types; a terminal is not slowed by its own keys."""
    typing, mine, other = TypingPriority(), object(), object()
    assert typing.pause_s(mine, CALM_BYTES_S, 0.0) == 0.0
    typing.note(other, 10.0)
    assert typing.pause_s(mine, CALM_BYTES_S, 10.0) == 1.0
    assert typing.pause_s(mine, CALM_BYTES_S // 4, 10.0) == 0.25
    assert typing.pause_s(other, CALM_BYTES_S, 10.0) == 0.0
    assert typing.pause_s(mine, CALM_BYTES_S, 10.0 + TYPING_S) == 0.0
