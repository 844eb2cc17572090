"""handlers: who may ask, how queries and bodies are read, and how errors look."""

import asyncio

import pytest

MACHINES = "/apps/app/machines"


@pytest.fixture
def skipped(api):
    """`await skipped(region=…)` → the record of a new machine that is not launched."""

    async def create(image="debian", **request):
        answer = await api("POST", MACHINES, {"config": {"image": image}, "skip_launch": True, **request})
        assert answer.status == 200
        return answer.body

    return create


@pytest.mark.parametrize("value", ["bearer T", "BEARER T", "Bearer  T ", "flyv1 T"])
@pytest.mark.gen_test
async def test_scheme_is_not_case_sensitive(emulator, open_api, value):
    """A scheme counts however it is spelled (RFC 9110 section 11.1)."""
    assert (await open_api(emulator.url, None)("GET", MACHINES, Authorization=value)).status == 200


@pytest.mark.parametrize("value", ["T", "Basic T", "Bearer", "Bearer T T", "Bearer t", "BearerT", "Bearer \xdc"])
@pytest.mark.gen_test
async def test_nothing_but_the_token_counts(emulator, open_api, value):
    """The token without a scheme, with another, or almost the token, is refused."""
    assert (await open_api(emulator.url, None)("GET", MACHINES, Authorization=value)).status == 401


@pytest.mark.parametrize(("host", "status"), [("LOCALHOST:1", 200), ("[::1]:80", 200), ("localhost.", 403), ("", 403)])
@pytest.mark.gen_test
async def test_host_must_be_a_name_of_loopback(api, host, status):
    """The port does not matter and the name does."""
    assert (await api("GET", MACHINES, Host=host)).status == status


@pytest.mark.gen_test
async def test_foreign_host_is_told_before_the_token_is_looked_at(emulator, open_api):
    """A page that rebinds a name learns nothing of tokens."""
    answer = await open_api(emulator.url, "wrong")("GET", MACHINES, Host="evil.example")
    text = "unauthorized: the emulator answers on 127.0.0.1 and localhost only"
    assert (answer.status, answer.body) == (403, {"error": text})


@pytest.mark.parametrize("body", [b"{", b"[1,]", b'{"a": NaN}', b"{} {}", b"\xff", b"image=debian"])
@pytest.mark.gen_test
async def test_bodies_are_strict_json(api, skipped, body):
    """Every call that reads a body refuses one that is no JSON."""
    one = f"{MACHINES}/{(await skipped())['id']}"
    for path in (MACHINES, f"{one}/start", f"{one}/stop", f"{one}/metadata/key"):
        answer = await api("POST", path, body)
        assert (answer.status, answer.body) == (400, {"error": "invalid_argument: the request body is not valid JSON"})


@pytest.mark.parametrize("body", [{}, {"value": 1}, {"value": None}, "text"])
@pytest.mark.gen_test
async def test_metadata_must_be_text(api, skipped, body):
    """A value that is no text is refused and nothing is set."""
    path = f"{MACHINES}/{(await skipped())['id']}/metadata"
    assert (await api("POST", f"{path}/key", body)).status == 400
    assert (await api("GET", path)).body == {}


@pytest.mark.gen_test
async def test_metadata_is_read_and_removed_by_key(api, skipped):
    """A key that is not there is 404 to read and nothing to remove."""
    path = f"{MACHINES}/{(await skipped())['id']}/metadata/key"
    for _ in range(2):
        assert (await api("GET", path)).body == {"error": "not_found: metadata key 'key' not found"}
        assert (await api("DELETE", path)).status == 204
        await api("POST", path, {"value": "1"})
        assert (await api("GET", path)).body == {"value": "1"}
        assert (await api("DELETE", path)).body is None


@pytest.mark.gen_test
async def test_metadata_keys_may_need_escaping(api, skipped):
    """A key is what its escaped form in the path stands for."""
    path = f"{MACHINES}/{(await skipped())['id']}/metadata"
    assert (await api("POST", f"{path}/a%2Fb%20%C3%BC", {"value": "1"})).status == 204
    assert (await api("GET", path)).body == {"a/b ü": "1"}


@pytest.mark.gen_test
async def test_list_is_narrowed_by_every_filter(api, skipped):
    """Filters hold together; each may name several regions or states, and unknown ones narrow nothing."""
    ids = {region: (await skipped(region=region))["id"] for region in ("ams", "fra", "iad")}
    for machine_id in ids.values():
        await api("GET", f"{MACHINES}/{machine_id}/wait?state=stopped")

    async def regions(query):
        return [machine["region"] for machine in (await api("GET", f"{MACHINES}?{query}")).body]

    assert await regions("region=ams,iad&unknown=1") == ["ams", "iad"]
    assert await regions("region=ams,iad&state=stopped,started") == ["ams", "iad"]
    assert await regions("region=ams&state=started") == []
    assert await regions("metadata.key=") == []


@pytest.mark.parametrize(("query", "count"), [("", 2), ("?limit=1", 1), ("?limit=0", 1), ("?limit=-9", 1)])
@pytest.mark.gen_test
async def test_events_are_at_least_one(api, skipped, query, count):
    """A limit below one is one."""
    path = f"{MACHINES}/{(await skipped())['id']}"
    await api("GET", f"{path}/wait?state=stopped")
    events = (await api("GET", f"{path}/events{query}")).body
    assert [event["status"] for event in events] == ["stopped", "created"][:count]


@pytest.mark.parametrize(
    "path", ["events?limit=many", "events?limit=", "events?limit=1e3", "wait?timeout=1s", "wait?timeout=9999999999"]
)
@pytest.mark.gen_test
async def test_numbers_in_the_query_are_checked(api, skipped, path):
    """What is no whole number is 400 with the argument's name."""
    answer = await api("GET", f"{MACHINES}/{(await skipped())['id']}/{path}")
    assert answer.status == 400
    assert answer.body["error"].startswith(f"invalid_argument: {path.partition('?')[2].partition('=')[0]} must be")


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("state=stopped", 200),
        ("state=started,stopped", 200),
        ("state=started&state=stopped", 200),
        ("state=settled", 200),
        ("state=starting", 400),
        ("state=stopped,nonsense", 400),
        ("state=stopped&version=01ARYZ6S41TSV4RRFFQ69G5FAV", 404),
    ],
)
@pytest.mark.gen_test
async def test_wait_knows_the_states(api, skipped, query, status):
    """A wait names one or more states that a machine can rest in, and may name the machine's version."""
    machine = await skipped()
    assert (await api("GET", f"{MACHINES}/{machine['id']}/wait?{query}")).status == status


@pytest.mark.gen_test
async def test_machine_is_read_as_it_was_created(api, skipped):
    """Apart from what has happened since, a create and a read answer the same."""
    machine = await skipped(name="box")
    path = f"{MACHINES}/{machine['id']}"
    await api("GET", f"{path}/wait?state=stopped")
    now = (await api("GET", path)).body
    assert now | {"state": "created", "events": machine["events"]} == machine
    assert (now["state"], now["events"][1:]) == ("stopped", machine["events"])


@pytest.mark.parametrize(("body", "status"), [(None, 200), ({"timeout": "9s"}, 200), ({"timeout": "1h"}, 422)])
@pytest.mark.gen_test
async def test_stop_may_name_a_timeout(api, skipped, body, status):
    """A stop needs no body; a timeout in it is checked even if the machine is stopped already."""
    path = f"{MACHINES}/{(await skipped())['id']}"
    await api("GET", f"{path}/wait?state=stopped")
    answer = await api("POST", f"{path}/stop", body)
    assert (answer.status, answer.body.get("ok")) == (status, True if status == 200 else None)


@pytest.mark.gen_test
async def test_what_is_destroyed_neither_starts_nor_stops(api, skipped):
    """A call that does not fit the machine's state is 412 and says which state that is."""
    path = f"{MACHINES}/{(await skipped())['id']}"
    await api("DELETE", f"{path}?force=true")
    await api("GET", f"{path}/wait?state=destroyed")
    for verb in ("start", "stop"):
        answer = await api("POST", f"{path}/{verb}")
        text = f"failed_precondition: unable to {verb} machine from current state: 'destroyed'"
        assert (answer.status, answer.body) == (412, {"error": text})


@pytest.mark.gen_test
async def test_destroy_is_forced_by_either_name(api, skipped):
    """`force` and `kill` mean the same, and `include_deleted` shows what is gone."""
    machines = [await skipped(), await skipped()]
    for machine, query in zip(machines, ("force=true", "kill=1"), strict=True):
        path = f"{MACHINES}/{machine['id']}"
        assert (await api("DELETE", f"{path}?{query}")).body == {"ok": True}
        await api("GET", f"{path}/wait?state=destroyed")
    assert (await api("GET", MACHINES)).body == []
    listed = (await api("GET", f"{MACHINES}?include_deleted=1")).body
    assert [machine["id"] for machine in listed] == [machine["id"] for machine in machines]


@pytest.mark.logs_warnings
@pytest.mark.gen_test
async def test_tornados_own_errors_look_like_flys(api):
    """An error the framework finds has the same shape and headers as ours."""
    answer = await api("GET", f"{MACHINES}?include_deleted=%ff")
    assert (answer.status, answer.body) == (400, {"error": "Bad Request"})
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"


@pytest.mark.gen_test
async def test_waits_do_not_hold_up_other_calls(api, skipped):
    """A client may wait for a machine and meanwhile do what the wait is for."""
    path = f"{MACHINES}/{(await skipped())['id']}"
    waiting = asyncio.create_task(api("GET", f"{path}/wait?state=destroyed"))
    await api("DELETE", f"{path}?force=true")
    assert (await waiting).body == {"ok": True, "state": "destroyed"}
