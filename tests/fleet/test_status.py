"""status: a state changes in one place, which wakes all that wait for it."""

import asyncio

import pytest

from aether.errors import MachineNotFound, MachineStopped, ProviderError
from aether.fleet.status import MachineStatus
from aether.machines import Machine, MachineSize, MachineState


@pytest.fixture
def status():
    return MachineStatus(Machine("id", "box", "sjc", "image", MachineSize("shared", 1, 512), 0, 0, 0, 20000, "key"))


@pytest.mark.gen_test
async def test_a_change_wakes_all_who_wait_for_it(status):
    """Each waits for the next one only."""
    waiting = [asyncio.ensure_future(status.changed()) for _ in range(2)]
    await asyncio.sleep(0)
    status.enter(MachineState.STARTING)
    await asyncio.gather(*waiting)
    later = asyncio.ensure_future(status.changed())
    await asyncio.sleep(0)
    assert not later.done()
    status.enter(MachineState.RUNNING)
    await later
    assert status.changes == 2


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_a_failure_is_the_machine_s_error(status):
    """With its code and text."""
    status.fail(ProviderError("no capacity"))
    assert status.machine.state is MachineState.ERROR
    assert status.machine.error == {"code": "provider_error", "message": "no capacity"}


@pytest.mark.gen_test
async def test_terminals_are_told_why_a_machine_has_ended(status):
    """Stopped by whom, or destroyed by whom; nothing while it runs."""
    for state in (MachineState.STARTING, MachineState.RUNNING):
        status.enter(state)
        assert status.ended_error() is None
    status.stopped_by = "by user"
    status.enter(MachineState.STOPPING)
    assert isinstance(status.ended_error(), MachineStopped)
    assert str(status.ended_error()) == "Machine stopped by user."
    status.is_destroying = True
    assert isinstance(status.ended_error(), MachineNotFound)
    assert str(status.ended_error()) == "Machine destroyed by user."
    status.is_gone = True
    assert str(status.ended_error()) == "Machine destroyed from outside of aether."
