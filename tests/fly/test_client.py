"""fly.client: calls, retries and errors."""

import json

import pytest

from aether.errors import LimitExceeded, ProviderError, ProviderTimeout, ShuttingDown
from aether.fly import client as module
from aether.fly.client import FlyClient, authorization
from aether.fly.limits import RateLimit

BOX = json.dumps({"id": "148e", "state": "started"})


@pytest.mark.parametrize(
    ("token", "header"),
    [
        ("T", "Bearer T"),
        (" Bearer T\n", "Bearer T"),
        ("fm2_abc,fm2_def", "FlyV1 fm2_abc,fm2_def"),
        ("FlyV1 fm2_abc", "FlyV1 fm2_abc"),
        ("Bearer FlyV1 fm2_abc", "FlyV1 fm2_abc"),
    ],
)
def test_a_token_is_taken_in_every_form_fly_hands_it_out(token, header):
    """Macaroons go with FlyV1, others with Bearer, whatever prefix was copied along."""
    assert authorization(token) == header


@pytest.mark.gen_test
async def test_a_call_goes_to_the_app_with_the_token(fly, scripted_client):
    """Paths are Fly's, the app's name is escaped, the token is a header."""
    fly.answers.append((200, BOX))
    assert (await scripted_client.get("148e")).state == "started"
    method, uri, headers, _ = fly.seen[0]
    assert (method, uri) == ("GET", "/v1/apps/my%20app/machines/148e")
    assert headers["Authorization"] == "Bearer T"


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_what_may_pass_is_tried_again_after_a_pause(fly, scripted_client):
    """503, 429 and dropped connections are retried where repeating is safe."""
    fly.answers += [(503, "upstream"), (429, "{}"), None, (200, BOX)]
    assert (await scripted_client.get("148e")).id == "148e"
    assert len(fly.pauses) == 3
    assert fly.pauses == sorted(fly.pauses)


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_a_refusal_is_not_repeated_and_carries_fly_s_words_and_request_id(fly, scripted_client):
    """The message is enough to ask Fly's support."""
    fly.answers.append((422, '{"error":"no capacity"}', ("fly-request-id", "01ABC-iad")))
    with pytest.raises(ProviderError, match=r"422: no capacity \(fly-request-id 01ABC-iad\)") as caught:
        await scripted_client.start("148e")
    assert (caught.value.status, len(fly.seen)) == (422, 1)


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_create_is_never_repeated(fly, scripted_client):
    """There is no idempotency key: a second create could be a second bill."""
    fly.answers.append((503, "later"))
    with pytest.raises(ProviderError):
        await scripted_client.create("name", "iad", {})
    assert len(fly.seen) == 1


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_a_rate_limit_that_does_not_pass_is_told_as_such(fly, scripted_client):
    """429 after retries is LimitExceeded."""
    fly.answers += [(429, "{}")] * module.ATTEMPTS
    with pytest.raises(LimitExceeded):
        await scripted_client.get("148e")


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_a_fly_that_drops_every_connection_is_unreachable(fly, scripted_client):
    """The error says what to check."""
    fly.answers += [None] * module.ATTEMPTS
    with pytest.raises(ProviderError, match="check the network"):
        await scripted_client.get("148e")


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_a_fly_that_does_not_answer_is_a_timeout():
    """Every call has a time-out. (A port that accepts and never answers cannot be made faster than this.)"""
    client = FlyClient("http://127.0.0.1:9", "app", "T", http=HangingHttp())
    with pytest.raises(ProviderTimeout):
        await client.create("name", "", {})
    await client.close()


class HangingHttp:
    """What Tornado's client raises after the request's own time-out, at once."""

    async def fetch(self, request, raise_error):
        assert request.request_timeout > 0
        raise module.HTTPTimeoutError("Timeout during request")

    def close(self):
        pass


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_a_redirect_is_not_followed(fly, scripted_client):
    """The token goes to Fly only."""
    fly.answers += [(302, "", ("Location", fly.url + "/elsewhere"))]
    with pytest.raises(ProviderError):
        await scripted_client.get("148e")
    assert len(fly.seen) == 1


@pytest.mark.outside
@pytest.mark.gen_test
async def test_calls_wait_for_their_turn(fly, clock):
    """Three at once, then one a second: Fly's limit is kept on our side."""
    client = FlyClient(fly.url, "app", "T", fly.pause, RateLimit(clock))
    fly.answers += [(200, "{}")] * 4
    for _ in range(4):
        await client.start("148e")
    assert fly.pauses == [1.0]
    await client.close()
    with pytest.raises(ShuttingDown):
        await client.start("148e")


@pytest.mark.gen_test
async def test_a_list_asks_for_metadata_and_must_be_a_list(fly, scripted_client):
    """Filters are Fly's `metadata.KEY=VALUE`."""
    fly.answers += [(200, f"[{BOX}]"), (200, '{"machines":[]}')]
    assert [machine.id for machine in await scripted_client.list({"aether_deployment": "a b"})] == ["148e"]
    assert fly.seen[0][1].endswith("/machines?metadata.aether_deployment=a+b")
    with pytest.raises(ProviderError):
        await scripted_client.list({})


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_wait_tells_reached_from_not_reached(fly, scripted_client):
    """408 is an answer, not an error; 404 while waiting for `destroyed` is success; the range is clamped."""
    fly.answers += [(200, '{"ok":true}'), (408, '{"error":"deadline_exceeded"}'), (404, "{}"), (404, "{}")]
    assert await scripted_client.wait("148e", "stopped", 600, instance_id="01X")
    assert fly.seen[0][1].endswith("/wait?state=stopped&timeout=60&instance_id=01X")
    assert not await scripted_client.wait("148e", "started", 0)
    assert await scripted_client.wait("148e", "destroyed", 1)
    with pytest.raises(ProviderError):
        await scripted_client.wait("148e", "started", 1)


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_destroying_what_is_gone_is_done(fly, scripted_client):
    """404 on destroy is success, anything else is not."""
    fly.answers += [(404, "{}"), (412, '{"error":"failed_precondition"}')]
    await scripted_client.destroy("148e")
    assert fly.seen[0][1].endswith("/148e?force=true")
    with pytest.raises(ProviderError):
        await scripted_client.destroy("148e")


@pytest.mark.gen_test
async def test_the_life_of_a_machine_on_the_emulator(client):
    """create, get, list, stop, start, destroy: what Fly documents, the emulator does, the client speaks."""
    made = await client.create("box", "iad", {"image": "i", "metadata": {"k": "v"}})
    assert await client.wait(made.id, "started", 30)
    assert [found.id for found in await client.list({"k": "v"})] == [made.id]
    assert await client.list({"k": "other"}) == []
    await client.stop(made.id)
    assert await client.wait(made.id, "stopped", 30, made.instance_id)
    await client.start(made.id)
    assert await client.wait(made.id, "started", 30)
    await client.destroy(made.id)
    assert await client.wait(made.id, "destroyed", 30)
    assert (await client.get(made.id)).state == "destroyed"


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_a_wrong_token_is_refused_with_what_to_check(emulator):
    """401 names the setting."""
    client = FlyClient(emulator.url, "app", "wrong")
    with pytest.raises(ProviderError, match="check FLY_API_TOKEN"):
        await client.list({})
    await client.close()
