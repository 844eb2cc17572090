"""machines: states and their transitions."""

import itertools

import pytest

from aether.machines import (
    OUTPUT_COUNTS_S,
    TRANSITIONS,
    Machine,
    MachineSize,
    MachineState,
    from_iso,
    iso_utc,
    state_from_fly,
)


@pytest.fixture
def box():
    return Machine("id", "box", "sjc", "image", MachineSize("shared", 1, 512), 1e9, 1e9, 1e9, 20000, "key")


def test_the_prd_s_path_through_the_states_is_allowed(box):
    """created → starting → running → stopping → stopped."""
    for state in ("starting", "running", "stopping", "stopped"):
        box.to(MachineState(state))
    assert box.state is MachineState.STOPPED


def test_every_arrow_that_the_table_lacks_is_refused(box):
    """The table is the whole truth about transitions."""
    for old, new in itertools.permutations(MachineState, 2):
        box.state = old
        if new in TRANSITIONS[old]:
            box.to(new)
            assert box.state is new
        else:
            with pytest.raises(ValueError, match=f"from {old} to {new}"):
                box.to(new)


def test_every_state_can_end_in_error_and_error_can_be_left(box):
    """A failed machine can be started or deleted."""
    assert all(MachineState.ERROR in arrows for state, arrows in TRANSITIONS.items() if state is not MachineState.ERROR)
    assert {MachineState.STARTING, MachineState.STOPPING} <= TRANSITIONS[MachineState.ERROR]


@pytest.mark.parametrize(("fly", "ours"), [("started", "running"), ("stopped", "stopped"), ("suspended", "stopped")])
def test_fly_s_persistent_states_have_a_translation(fly, ours):
    """Fly's words map on to the PRD's."""
    assert state_from_fly(fly) == ours


@pytest.mark.parametrize("fly", ["starting", "replacing", "a-state-of-2031"])
def test_fly_s_other_states_mean_in_transition(fly):
    """An unknown state is never taken for `stopped`."""
    assert state_from_fly(fly) is None


def test_output_counts_as_activity_only_for_an_hour_after_the_last_input(box):
    """Or `top` would bill for ever."""
    box.note_input(1000.0)
    box.note_output(1000.0 + OUTPUT_COUNTS_S)
    assert box.last_activity_at == 1000.0 + OUTPUT_COUNTS_S
    box.note_output(1000.0 + OUTPUT_COUNTS_S + 1)
    assert box.last_activity_at == 1000.0 + OUTPUT_COUNTS_S


def test_times_are_iso_8601_utc(box):
    """Times in JSON end in Z and can be read back."""
    assert iso_utc(1e9) == "2001-09-09T01:46:40Z"
    assert from_iso("2001-09-09T01:46:40Z") == 1e9
    assert box.to_json(None)["idle_stop_at"] is None
    assert box.to_json(1e9 + 600)["idle_stop_at"] == "2001-09-09T01:56:40Z"


def test_whether_it_keeps_sessions_is_asked_anew_after_a_start(box):
    """It may have another image, or a Python by then."""
    box.keeps_sessions, box.sessions_reason = False, "it has no python3"
    for state in ("starting", "running"):
        box.to(MachineState(state))
    assert box.to_json(None)["sessions"] == {"kept": None, "reason": None}
    box.keeps_sessions, box.sessions_reason = False, "it has no python3"
    box.to(MachineState.STOPPED)
    assert box.to_json(None)["sessions"] == {"kept": False, "reason": "it has no python3"}


@pytest.fixture
def running():
    machine = Machine("id", "box", "sjc", "image", MachineSize("shared", 1, 512), 1000.0, 1000.0, 1000.0, 20000, "key")
    machine.state = MachineState.RUNNING
    return machine


def test_a_running_machine_is_idle_once_its_time_is_up(running):
    """Ten minutes after the last activity, not before."""
    assert running.idle_stop_at(600) == 1600
    assert not running.is_idle(600, 1599.9)
    assert running.is_idle(600, 1600)


@pytest.mark.parametrize("state", [state for state in MachineState if state is not MachineState.RUNNING])
def test_only_a_running_machine_can_be_idle(running, state):
    """What does not run is not stopped."""
    running.state = state
    assert running.idle_stop_at(600) is None
    assert not running.is_idle(600, 1e9)
