"""fly.answers: shapes that Fly sends, and shapes that it should not."""

import pytest

from aether.errors import LimitExceeded, ProviderError
from aether.fly import answers


def test_a_machine_is_read_with_what_it_lacks_left_empty():
    """Only id and state are certain."""
    machine = answers.machine({"id": "148e", "state": "created", "config": None, "events": None, "new_key": 1})
    assert (machine.id, machine.state, machine.metadata, machine.events) == ("148e", "created", {}, ())


def test_metadata_comes_from_an_incomplete_config_too():
    """`config` is null while the host is unreachable."""
    machine = answers.machine({"id": "1", "state": "s", "config": None, "incomplete_config": {"metadata": {"k": "v"}}})
    assert machine.metadata == {"k": "v"}


@pytest.mark.parametrize("answer", [None, [], "x", {}, {"id": 5, "state": "x"}, {"id": "5"}])
def test_an_answer_that_is_no_machine_is_an_error(answer):
    """Untrusted input meets a schema first."""
    with pytest.raises(ProviderError):
        answers.machine(answer)


def test_a_body_that_is_not_json_is_an_error():
    """Non-JSON bodies occur."""
    assert answers.decode("GET /", b"") is None
    with pytest.raises(ProviderError):
        answers.decode("GET /", b"<html>")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"error":"a"}', "a"),
        (b'{"message":"lease held","status":"error"}', "lease held"),
        (b"upstream connect error", "upstream connect error"),
        (b"", "nothing"),
        (b"[]", "nothing"),
        (b"\xff", "\ufffd"),
    ],
)
def test_a_refusal_s_text_is_found_in_every_form(body, said):
    """Bodies have `error`, `message`, or are no JSON at all."""
    assert answers.said(body) == said


def test_rate_limits_are_an_error_of_their_own():
    """429 may pass; other refusals do not by themselves."""
    assert isinstance(answers.refusal("GET /", 429, b"", "none"), LimitExceeded)
    assert answers.refusal("GET /", 412, b"", "none").status == 412


@pytest.mark.parametrize(
    ("exit_event", "why"),
    [
        ({"oom_killed": True, "exit_code": 137}, "because it ran out of memory"),
        ({"requested_stop": True, "exit_code": 0}, "from outside of aether"),
        ({"exit_code": 1, "error": "no port"}, "by provider (no port)"),
        ({"exit_code": 7, "error": ""}, "by itself, with exit code 7"),
    ],
)
def test_the_newest_exit_tells_why_a_machine_does_not_run(exit_event, why):
    """Events come newest first; launch events have no request."""
    events = [{"request": None}, {"request": {"exit_event": exit_event}}, {"request": {"exit_event": {}}}]
    machine = answers.machine({"id": "1", "state": "stopped", "events": events})
    assert machine.why_stopped() == why


def test_a_machine_that_never_ended_has_only_its_state_to_tell():
    """`failed` without an exit."""
    assert answers.machine({"id": "1", "state": "failed"}).why_stopped() == "by provider (failed)"


def test_an_unreachable_host_is_told_from_a_machine_that_is_gone():
    """`host_status` says so, and config is null then."""
    assert answers.machine({"id": "1", "state": "started"}).is_reachable
    assert not answers.machine({"id": "1", "state": "started", "host_status": "unreachable"}).is_reachable


@pytest.mark.logs_warnings
def test_one_odd_item_does_not_hide_the_others_in_a_list():
    """A sweep, and the start of the server, must not fail over one machine."""
    odd = [
        {"id": "1", "state": "s", "private_ip": None},
        {"id": "2", "state": "s", "incomplete_config": {"metadata": 5}},
    ]
    assert [machine.id for machine in answers.machines([*odd, {"id": "3", "state": "s"}])] == ["3"]
