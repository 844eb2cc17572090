"""store: the record on disk, the history, and requests that wait for a state."""

import asyncio
import json
import logging

import pytest

from aether.emulator.errors import ApiError
from aether.emulator.machine.record import new_machine
from aether.emulator.machine.store import MachineStore


@pytest.fixture
def store(tmp_path, clock):
    """The store of a machine that was just asked for."""
    return MachineStore("app", new_machine("box", "ams", {"image": "debian"}, clock()), tmp_path / "machine", clock)


async def refusal(awaitable):
    with pytest.raises(ApiError) as caught:
        await awaitable
    return caught.value.status, caught.value.message


async def until_waiting(store, count=1):
    while len(store.waiting) < count:  # noqa: ASYNC110  (a set has no event)
        await asyncio.sleep(0)


def test_a_change_of_state_is_recorded(store, clock):
    """A new state comes with an event and the time of the change."""
    clock.now += 90
    assert store.now() == clock.now
    store.change_state("stopped", "exit", "flyd", {"exit_event": {}})
    event = store.record["events"][0]
    assert (store.state, store.record["updated_at"]) == ("stopped", "2027-01-15T08:01:30Z")
    assert (event["type"], event["status"], event["source"]) == ("exit", "stopped", "flyd")
    assert (event["timestamp"], event["request"]) == (1_800_000_090_000, {"exit_event": {}})


def test_a_change_of_state_is_logged(store, caplog):
    """The log tells the life of a machine by its id, and nothing of its config."""
    caplog.set_level(logging.INFO, "aether")
    store.config["env"] = {"KEY": "secret"}
    store.change_state("started", "start", "flyd")
    assert caplog.messages == [f"machine {store.record['id']} (box): started"]


def test_events_are_newest_first(store):
    """A limit keeps the newest."""
    for state in ("created", "starting", "started"):
        store.change_state(state, "start", "flyd")
    assert [event["status"] for event in store.events(2)] == ["started", "starting"]


def test_old_events_are_forgotten(store):
    """Fifty events are kept and twenty of them shown with the machine."""
    for number in range(60):
        store.change_state("started" if number % 2 else "stopped", "start", f"user {number}")
    assert [event["source"] for event in store.events(100)] == [f"user {n}" for n in range(59, 9, -1)]
    assert [event["source"] for event in store.view()["events"]] == [f"user {n}" for n in range(59, 39, -1)]


def test_answers_are_copies(store):
    """Who changes an answer does not change the machine."""
    store.change_state("started", "start", "flyd")
    store.view()["config"]["image"] = "other"
    store.events(1)[0]["status"] = "other"
    assert (store.config["image"], store.events(1)[0]["status"]) == ("debian", "started")


def test_what_is_saved_is_read_again(store, clock):
    """Another process finds the machine as it was."""
    store.change_state("stopped", "exit", "flyd")
    again = MachineStore.read(store.directory, clock)
    assert (again.app, again.record, again.directory) == ("app", store.record, store.directory)


def test_record_is_private_and_alone(store):
    """The record is readable by its owner only, and written in one step that leaves nothing beside it."""
    store.save()
    store.save()
    [path] = store.directory.iterdir()
    assert (path.name, oct(path.stat().st_mode)) == ("machine.json", "0o100600")
    assert oct(store.directory.stat().st_mode) == "0o40700"


def test_failed_save_leaves_the_record_before(store):
    """What cannot be written does not damage what was."""
    store.change_state("stopped", "exit", "flyd")
    store.record["config"]["env"] = {"A": b"no JSON"}
    with pytest.raises(TypeError):
        store.save()
    saved = json.loads((store.directory / "machine.json").read_text())
    assert saved["machine"]["state"] == "stopped"


def test_destroyed_machine_is_not_written_again(store):
    """The end of a machine is not saved: its directory is gone."""
    store.change_state("destroyed", "destroy", "flyd")
    store.set_metadata({"a": "1"})
    assert not store.directory.exists()


def test_metadata_is_saved(store, clock):
    """A key is set and removed, now and for the next process; one that is not there is no error."""
    store.set_metadata({"a": "1"})
    store.set_metadata({"b": "2"})
    store.set_metadata({"a": None})
    store.set_metadata({"a": None})
    assert MachineStore.read(store.directory, clock).config["metadata"] == {"b": "2"}


@pytest.mark.parametrize("text", ["", "{", '{"app": "app"}', "[]"])
def test_what_is_no_record_is_not_read(store, clock, text):
    """A damaged record is an error the emulator expects when it looks for machines."""
    store.directory.mkdir()
    (store.directory / "machine.json").write_text(text)
    with pytest.raises((ValueError, KeyError, TypeError)):
        MachineStore.read(store.directory, clock)


@pytest.mark.gen_test
async def test_wait_answers_the_state_that_came(store):
    """A wait passes over other states, and each who waits is answered."""
    waits = [asyncio.create_task(store.wait(states, 60)) for states in (["started", "failed"], ["starting"])]
    await until_waiting(store, 2)
    store.change_state("starting", "start", "flyd")
    store.change_state("started", "start", "flyd")
    assert await asyncio.gather(*waits) == ["started", "starting"]
    assert store.waiting == set()


@pytest.mark.gen_test
async def test_wait_for_what_is_ends_at_once(store):
    """A wait for the present state needs no change."""
    assert await store.wait(["created"], 0) == "created"


@pytest.mark.gen_test
async def test_wait_in_vain_forgets_itself(store):
    """A wait whose time is over is 408, and a later change has no waiter."""
    text = "deadline_exceeded: machine failed to reach desired state, started, failed, currently created"
    assert await refusal(store.wait(["started", "failed"], 0)) == (408, text)
    assert store.waiting == set()
    store.change_state("started", "start", "flyd")


@pytest.mark.gen_test
async def test_wait_for_a_destroyed_machine_is_404(store):
    """A wait for a machine that is destroyed ends with 404, as does a later one."""
    wait = asyncio.create_task(store.wait(["started"], 60))
    await until_waiting(store)
    store.change_state("destroyed", "destroy", "flyd")
    assert await refusal(wait) == (404, "not_found: machine not found")
    assert (await refusal(store.wait(["started"], 60)))[0] == 404
    assert await store.wait(["destroyed"], 60) == "destroyed"


@pytest.mark.gen_test
async def test_release_answers_everybody(store):
    """When the emulator stops, every wait is 503 and over before the release is."""
    waits = [asyncio.create_task(store.wait(["started"], 60)) for _ in range(2)]
    await until_waiting(store, 2)
    await store.release_waiters()
    assert [wait.done() for wait in waits] == [True, True]
    assert [(await refusal(wait))[0] for wait in waits] == [503, 503]


@pytest.mark.gen_test
async def test_release_leaves_answers_that_are_on_their_way(store):
    """Who was answered in the same moment keeps the answer, and without waiters there is nothing to release."""
    wait = asyncio.create_task(store.wait(["started"], 60))
    await until_waiting(store)
    store.change_state("started", "start", "flyd")
    await store.release_waiters()
    assert await wait == "started"
    await store.release_waiters()
