"""fly.operations: Fly's passing refusals are outlasted, the lasting ones are told."""

import json

import pytest

from aether.errors import ProviderError, ProviderTimeout
from aether.fly import operations as module
from aether.fly.client import FlyClient
from aether.fly.operations import Operations

OK = (200, '{"ok":true}')
NOT_YET = (408, '{"error":"deadline_exceeded"}')


def box(state, **more):
    return (200, json.dumps({"id": "148e", "state": state, **more}))


@pytest.fixture
def operations(fly, scripted_client, clock):
    async def pause(seconds):
        await fly.pause(seconds)
        clock.now += seconds

    return Operations(scripted_client, clock, pause)


def calls(fly):
    return [f"{method} {uri.partition('/machines/148e')[2].partition('?')[0]}" for method, uri, *_ in fly.seen]


@pytest.mark.gen_test
async def test_a_new_machine_is_not_started_but_waited_for(fly, operations):
    """Starting a machine in `created` is refused with 412."""
    fly.answers += [OK, box("started", private_ip="fdaa::1")]
    assert (await operations.start("148e", is_launching=True)).private_ip == "fdaa::1"
    assert calls(fly) == ["GET /wait", "GET "]


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_a_start_refused_as_still_active_is_asked_again(fly, operations):
    """For some seconds after a stop Fly answers 412."""
    still = (412, '{"error":"failed_precondition: machine still active, refusing to start"}')
    fly.answers += [still, box("stopped"), OK, OK, box("started")]
    await operations.start("148e", is_launching=False)
    assert calls(fly) == ["POST /start", "GET ", "POST /start", "GET /wait", "GET "]


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_a_start_that_fly_keeps_refusing_is_an_error(fly, operations, clock):
    """There is a deadline, and then Fly's own words."""
    fly.answers += [(412, '{"error":"still active"}'), box("stopped")] * 40
    with pytest.raises(ProviderError, match="still active"):
        await operations.start("148e", is_launching=False)
    assert len(fly.pauses) <= module.STILL_ACTIVE_S + 1


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_a_machine_that_falls_over_while_starting_is_told_with_its_exit(fly, operations):
    """No waiting out a deadline for a machine that has stopped."""
    crash = {"request": {"exit_event": {"exit_code": 7}}}
    fly.answers += [NOT_YET, box("stopped", events=[crash])]
    with pytest.raises(ProviderError, match="exit code 7"):
        await operations.start("148e", is_launching=True)


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_an_unknown_state_is_waited_out_until_the_deadline(fly, operations, clock, scripted_client):
    """Unknown means in transition; for ever is too long."""

    async def slow_get(fly_id):
        clock.now += 100
        return await FlyClient.get(scripted_client, fly_id)

    scripted_client.instead["get"] = slow_get
    fly.answers += [NOT_YET, box("migrating")] * 3
    with pytest.raises(ProviderTimeout):
        await operations.start("148e", is_launching=True)


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_a_stop_and_a_destroy_that_do_not_end_are_timeouts(fly, operations, clock, scripted_client):
    """Asking again is up to the caller."""

    async def never(*args):
        clock.now += 60
        return False

    scripted_client.instead["wait"] = never
    fly.answers += [box("stopping")] * 2
    with pytest.raises(ProviderTimeout, match="stop it again"):
        await operations.wait_stopped("148e", "01X")
    fly.answers += [OK, OK]
    with pytest.raises(ProviderTimeout, match="delete it again"):
        await operations.destroy("148e")


MARK = ("aether_id", "me")
MINE = {"config": {"metadata": {"aether_id": "me"}}}
TAKEN = '{"error":"already_exists: unique machine name violation, machine ID 148e already exists with name \\"box\\""}'


@pytest.mark.gen_test
@pytest.mark.logs_warnings
@pytest.mark.parametrize("answer", [(408, "{}"), (500, "oops"), (503, ""), None, (200, "<html>")])
async def test_a_create_with_an_unclear_answer_is_looked_for_and_adopted(fly, operations, answer):
    """The machine was made although the answer was lost: never make a second one."""
    fly.answers += [answer, (200, f"[{box('created', **MINE)[1]}]")]
    made = await operations.create("box", "", {}, MARK)
    assert (made.id, [method for method, *_ in fly.seen]) == ("148e", ["POST", "GET"])


@pytest.mark.gen_test
@pytest.mark.logs_warnings
@pytest.mark.parametrize("answer", [(408, "{}"), (429, "{}"), None])
async def test_a_create_that_made_nothing_is_made_again(fly, operations, answer):
    """The list does not have it: the first call had no effect."""
    fly.answers += [answer, (200, "[]"), box("created", **MINE)]
    assert (await operations.create("box", "", {}, MARK)).id == "148e"


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_a_name_that_is_taken_by_our_own_earlier_try_is_adopted(fly, operations):
    """A stale list hid the machine; its unique name tells."""
    fly.answers += [None, (200, "[]"), (409, TAKEN), box("created", **MINE)]
    assert (await operations.create("box", "", {}, MARK)).id == "148e"
    assert fly.seen[-1][1].endswith("/machines/148e")


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_a_name_that_is_taken_by_a_stranger_is_an_error(fly, operations):
    """Metadata decide whose machine it is."""
    fly.answers += [(409, TAKEN), box("created", config={"metadata": {"aether_id": "other"}})]
    with pytest.raises(ProviderError, match="already_exists"):
        await operations.create("box", "", {}, MARK)


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_a_clear_refusal_is_not_tried_again(fly, operations):
    """422 no capacity: asking again at once changes nothing."""
    fly.answers += [(422, '{"error":"could not find a candidate host"}')]
    with pytest.raises(ProviderError, match="candidate host"):
        await operations.create("box", "", {}, MARK)
    assert len(fly.seen) == 1


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_a_new_machine_that_a_replica_does_not_know_yet_is_waited_for(fly, operations):
    """404 straight after create is lag, not loss."""
    fly.answers += [(404, "{}"), OK, (404, "{}"), OK, box("started")]
    assert (await operations.start("148e", is_launching=True)).state == "started"


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_a_machine_is_gone_when_fly_says_404_or_destroyed(fly, operations):
    """Both mean the same."""
    fly.answers += [(404, "{}"), box("destroyed"), box("stopped"), (500, "")] + [(500, "")] * 3
    assert await operations.get("148e") is None
    assert await operations.get("148e") is None
    assert (await operations.get("148e")).state == "stopped"
    with pytest.raises(ProviderError):
        await operations.get("148e")


@pytest.mark.gen_test
@pytest.mark.parametrize("status", [409, 412])
async def test_stopping_what_has_stopped_already_is_done(fly, operations, status):
    """Fly's answers differ; the machine's state decides."""
    refused = (status, '{"error":"unable to stop machine, not currently started"}')
    fly.answers += [refused, box("stopped"), refused, box("started")]
    await operations.request_stop("148e")
    with pytest.raises(ProviderError):
        await operations.request_stop("148e")


@pytest.mark.gen_test
async def test_a_stop_is_seen_through_an_update_from_outside(fly, operations):
    """Another version than ours is waited for: 404 for the old one, then the machine itself tells."""
    fly.answers += [(404, "{}"), box("stopping", instance_id="02X"), OK]
    await operations.wait_stopped("148e", "01X")
    assert "instance_id=02X" in fly.seen[-1][1]


@pytest.mark.gen_test
async def test_a_reading_that_lags_behind_a_start_is_no_failure(fly, operations):
    """wait said `started`; a replica that still says `stopped` is asked again."""
    fly.answers += [OK, box("stopped"), OK, box("started")]
    assert (await operations.start("148e", is_launching=True)).state == "started"


@pytest.mark.gen_test
async def test_a_machine_is_believed_to_be_gone_when_it_is_said_twice(fly, operations):
    """One 404 may be a replica."""
    fly.answers += [(404, "{}"), box("started"), (404, "{}"), (404, "{}")]
    assert (await operations.get_confirmed("148e")).state == "started"
    assert await operations.get_confirmed("148e") is None
