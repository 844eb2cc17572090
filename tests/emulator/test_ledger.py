"""ledger: the record on disk, the history, and whoever waits for a state."""

import asyncio
import json
import logging

import pytest

from aether.emulator.ledger import Ledger
from aether.emulator.record import new_machine
from aether.emulator.requests import ApiError


@pytest.fixture
def ledger(tmp_path, clock):
    """The ledger of a machine that was just asked for."""
    return Ledger("app", new_machine("box", "ams", {"image": "debian"}, clock()), tmp_path / "machine", clock)


async def refusal(awaitable):
    with pytest.raises(ApiError) as caught:
        await awaitable
    return caught.value.status, caught.value.message


async def until_waiting(ledger, count=1):
    while len(ledger.waiting) < count:  # noqa: ASYNC110  (a set has no event)
        await asyncio.sleep(0)


def test_a_change_of_state_is_recorded(ledger, clock):
    """A new state comes with an event and the time of the change."""
    clock.now += 90
    assert ledger.now() == clock.now
    ledger.enter("stopped", "exit", "flyd", {"exit_event": {}})
    event = ledger.record["events"][0]
    assert (ledger.state, ledger.record["updated_at"]) == ("stopped", "2027-01-15T08:01:30Z")
    assert (event["type"], event["status"], event["source"]) == ("exit", "stopped", "flyd")
    assert (event["timestamp"], event["request"]) == (1_800_000_090_000, {"exit_event": {}})


def test_a_change_of_state_is_logged(ledger, caplog):
    """The log tells the life of a machine by its id, and nothing of its config."""
    caplog.set_level(logging.INFO, "aether")
    ledger.config["env"] = {"KEY": "secret"}
    ledger.enter("started", "start", "flyd")
    assert caplog.messages == [f"machine {ledger.record['id']} (box): started"]


def test_events_are_newest_first(ledger):
    """A limit keeps the newest."""
    for state in ("created", "starting", "started"):
        ledger.enter(state, "start", "flyd")
    assert [event["status"] for event in ledger.events(2)] == ["started", "starting"]


def test_old_events_are_forgotten(ledger):
    """Fifty events are kept and twenty of them shown with the machine."""
    for number in range(60):
        ledger.enter("started" if number % 2 else "stopped", "start", f"user {number}")
    assert [event["source"] for event in ledger.events(100)] == [f"user {n}" for n in range(59, 9, -1)]
    assert [event["source"] for event in ledger.view()["events"]] == [f"user {n}" for n in range(59, 39, -1)]


def test_answers_are_copies(ledger):
    """Who changes an answer does not change the machine."""
    ledger.enter("started", "start", "flyd")
    ledger.view()["config"]["image"] = "other"
    ledger.events(1)[0]["status"] = "other"
    assert (ledger.config["image"], ledger.events(1)[0]["status"]) == ("debian", "started")


def test_what_is_saved_is_read_again(ledger, clock):
    """Another process finds the machine as it was."""
    ledger.enter("stopped", "exit", "flyd")
    again = Ledger.read(ledger.directory, clock)
    assert (again.app, again.record, again.directory) == ("app", ledger.record, ledger.directory)


def test_record_is_private_and_alone(ledger):
    """The record is readable by its owner only, and written in one step that leaves nothing beside it."""
    ledger.save()
    ledger.save()
    [path] = ledger.directory.iterdir()
    assert (path.name, oct(path.stat().st_mode)) == ("machine.json", "0o100600")
    assert oct(ledger.directory.stat().st_mode) == "0o40700"


def test_failed_save_leaves_the_record_before(ledger):
    """What cannot be written does not damage what was."""
    ledger.enter("stopped", "exit", "flyd")
    ledger.record["config"]["env"] = {"A": b"no JSON"}
    with pytest.raises(TypeError):
        ledger.save()
    saved = json.loads((ledger.directory / "machine.json").read_text())
    assert saved["machine"]["state"] == "stopped"


def test_destroyed_machine_is_not_written_again(ledger):
    """The end of a machine is not saved: its directory is gone."""
    ledger.enter("destroyed", "destroy", "flyd")
    ledger.set_metadata({"a": "1"})
    assert not ledger.directory.exists()


def test_metadata_is_saved(ledger, clock):
    """A key is set and removed, now and for the next process; one that is not there is no error."""
    ledger.set_metadata({"a": "1"})
    ledger.set_metadata({"b": "2"})
    ledger.set_metadata({"a": None})
    ledger.set_metadata({"a": None})
    assert Ledger.read(ledger.directory, clock).config["metadata"] == {"b": "2"}


@pytest.mark.parametrize("text", ["", "{", '{"app": "app"}', "[]"])
def test_what_is_no_record_is_not_read(ledger, clock, text):
    """A damaged record is an error the emulator expects when it looks for machines."""
    ledger.directory.mkdir()
    (ledger.directory / "machine.json").write_text(text)
    with pytest.raises((ValueError, KeyError, TypeError)):
        Ledger.read(ledger.directory, clock)


@pytest.mark.gen_test
async def test_wait_answers_the_state_that_came(ledger):
    """A wait passes over other states, and each who waits is answered."""
    waits = [asyncio.create_task(ledger.wait(states, 60)) for states in (["started", "failed"], ["starting"])]
    await until_waiting(ledger, 2)
    ledger.enter("starting", "start", "flyd")
    ledger.enter("started", "start", "flyd")
    assert await asyncio.gather(*waits) == ["started", "starting"]
    assert ledger.waiting == set()


@pytest.mark.gen_test
async def test_wait_for_what_is_ends_at_once(ledger):
    """A wait for the present state needs no change."""
    assert await ledger.wait(["created"], 0) == "created"


@pytest.mark.gen_test
async def test_wait_in_vain_forgets_itself(ledger):
    """A wait whose time is over is 408, and a later change finds nobody waiting."""
    text = "deadline_exceeded: machine failed to reach desired state, started, failed, currently created"
    assert await refusal(ledger.wait(["started", "failed"], 0)) == (408, text)
    assert ledger.waiting == set()
    ledger.enter("started", "start", "flyd")


@pytest.mark.gen_test
async def test_wait_for_a_destroyed_machine_is_404(ledger):
    """Whoever waits when a machine is destroyed learns that, as does who asks later."""
    wait = asyncio.create_task(ledger.wait(["started"], 60))
    await until_waiting(ledger)
    ledger.enter("destroyed", "destroy", "flyd")
    assert await refusal(wait) == (404, "not_found: machine not found")
    assert (await refusal(ledger.wait(["started"], 60)))[0] == 404
    assert await ledger.wait(["destroyed"], 60) == "destroyed"


@pytest.mark.gen_test
async def test_release_answers_everybody(ledger):
    """When the emulator stops, every wait is 503 and over before the release is."""
    waits = [asyncio.create_task(ledger.wait(["started"], 60)) for _ in range(2)]
    await until_waiting(ledger, 2)
    await ledger.release()
    assert [wait.done() for wait in waits] == [True, True]
    assert [(await refusal(wait))[0] for wait in waits] == [503, 503]


@pytest.mark.gen_test
async def test_release_leaves_answers_that_are_on_their_way(ledger):
    """Who was answered in the same moment keeps the answer, and without anybody there is nothing to release."""
    wait = asyncio.create_task(ledger.wait(["started"], 60))
    await until_waiting(ledger)
    ledger.enter("started", "start", "flyd")
    await ledger.release()
    assert await wait == "started"
    await ledger.release()
