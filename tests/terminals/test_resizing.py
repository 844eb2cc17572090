"""resizing: a shell gets the sizes that matter."""

import asyncio

import pytest

from aether.messages import Resize
from aether.terminals.resizing import REDRAW_S, RESIZE_PAUSE_S, Resizing
from tests.timelapse import Timelapse


@pytest.mark.gen_test
async def test_of_a_storm_of_sizes_the_first_and_the_last_are_sent():
    """A shell draws anew for each."""
    lapse, sent = Timelapse(asyncio.get_running_loop()), []
    resizing = Resizing(Resize(80, 24), lambda size: not sent.append(size))
    for cols in range(81, 100):
        resizing.resize(Resize(cols, 24))
    await lapse.elapse(RESIZE_PAUSE_S * 2)
    assert sent == [Resize(81, 24), Resize(99, 24)]


@pytest.mark.gen_test
async def test_a_size_that_could_not_be_sent_is_sent_later():
    """While there is no channel."""
    sent, can_send = [], False
    resizing = Resizing(Resize(80, 24), lambda size: can_send and not sent.append(size))
    resizing.resize(Resize(90, 24))
    can_send = True
    resizing.flush()
    resizing.flush()
    assert sent == [Resize(90, 24)]
    resizing.close()


@pytest.mark.gen_test
async def test_a_size_that_the_shell_was_attached_with_is_not_sent():
    """No size, no drawing."""
    sent = []
    resizing = Resizing(Resize(80, 24), lambda size: not sent.append(size))
    resizing.note_sent()
    resizing.flush()
    assert (sent, resizing.is_redrawing()) == ([], False)


@pytest.mark.gen_test
async def test_a_shell_has_a_moment_to_draw_another_size():
    """What it draws is no use of the machine."""
    lapse = Timelapse(asyncio.get_running_loop())
    resizing = Resizing(Resize(80, 24), lambda size: True)
    resizing.resize(Resize(90, 24))
    assert resizing.is_redrawing()
    await lapse.elapse(REDRAW_S + 0.1)
    assert not resizing.is_redrawing()
