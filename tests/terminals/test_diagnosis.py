"""diagnosis: why a machine's shells are gone."""

import asyncio

import pytest

from aether.errors import MachineStopped
from aether.terminals.diagnosis import DIAGNOSES, Diagnosis

STOPPED = MachineStopped("Machine stopped because it ran out of memory.")


@pytest.mark.gen_test
async def test_terminals_that_ask_at_the_same_time_make_one_question(machine, pause):
    """Two hundred shells of one machine are lost at once, and Fly allows five questions a second."""
    diagnosis = Diagnosis(machine, pause)
    assert await asyncio.gather(*(diagnosis.ended_error() for _ in range(200))) == [None] * 200
    assert machine.checks == 1


@pytest.mark.gen_test
async def test_the_provider_has_time_to_notice(machine, pause):
    """Fly may know of an end later than we do."""
    machine.diagnosis, machine.checks_needed = STOPPED, DIAGNOSES
    assert await Diagnosis(machine, pause).why_gone() is STOPPED
    assert pause.count == DIAGNOSES - 1


@pytest.mark.gen_test
async def test_a_machine_that_runs_has_lost_only_its_connection(machine, pause):
    """It is asked a few times, then believed."""
    assert await Diagnosis(machine, pause).why_gone() is None
    assert machine.checks == DIAGNOSES
