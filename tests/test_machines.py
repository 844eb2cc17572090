"""machines: states and their transitions."""

import itertools

import pytest

from aether.machines import (
    OUTPUT_COUNTS_S,
    TRANSITIONS,
    Guest,
    Machine,
    MachineState,
    from_iso,
    iso_utc,
    state_from_fly,
)


@pytest.fixture
def box():
    return Machine("id", "box", "sjc", "image", Guest("shared", 1, 512), 1e9, 1e9, 1e9, 20000, "key")


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
