"""later: one call for many requests."""

import asyncio

import pytest

from aether.terminals.later import Later
from tests.timelapse import Timelapse


@pytest.mark.gen_test
async def test_several_requests_are_one_call():
    """After the delay of the first one."""
    lapse, calls = Timelapse(asyncio.get_running_loop()), []
    later = Later(1.0, lambda: calls.append("called"))
    later.ask()
    await lapse.elapse(0.5)
    later.ask()
    await lapse.elapse(0.6)
    assert calls == ["called"]
    later.ask()
    await lapse.elapse(1.1)
    assert calls == ["called", "called"]


@pytest.mark.gen_test
async def test_what_is_closed_calls_no_more():
    """Neither what was asked for nor what is asked for now."""
    lapse, calls = Timelapse(asyncio.get_running_loop()), []
    later = Later(1.0, lambda: calls.append("called"))
    later.ask()
    later.close()
    later.ask()
    await lapse.elapse(2)
    assert calls == []


@pytest.mark.gen_test
async def test_what_is_planned_can_be_done_now():
    """And is not done again; nothing is done that was not asked for."""
    lapse, calls = Timelapse(asyncio.get_running_loop()), []
    later = Later(1.0, lambda: calls.append("called"))
    later.hurry()
    later.ask()
    later.hurry()
    await lapse.elapse(2)
    assert calls == ["called"]
