"""handlers: how queries and bodies are read, and what each call answers."""

import asyncio
import re

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
    before = {key: machine[key] for key in ("state", "events", "updated_at")}
    assert now | before == machine
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


@pytest.mark.gen_test
async def test_waits_do_not_hold_up_other_calls(api, skipped):
    """A client may wait for a machine and meanwhile do what the wait is for."""
    path = f"{MACHINES}/{(await skipped())['id']}"
    waiting = asyncio.create_task(api("GET", f"{path}/wait?state=destroyed"))
    await api("DELETE", f"{path}?force=true")
    assert (await waiting).body == {"ok": True, "state": "destroyed"}


@pytest.mark.gen_test
async def test_create_answers_before_the_boot(api, config):
    """A create is answered 200 with the state `created` and every field of Fly's recorded answer."""
    answer = await api("POST", MACHINES, {"config": config(), "name": "one", "region": "ams,fra"})
    assert answer.status == 200
    body = answer.body
    assert (body["state"], body["name"], body["region"]) == ("created", "one", "ams")
    assert re.fullmatch(r"[0-9a-f]{14}", body["id"])
    assert re.fullmatch(r"[0-9A-HJKMNP-TV-Z]{26}", body["instance_id"])
    assert body["private_ip"].startswith("fdaa:")
    assert body["config"]["guest"] == {"cpu_kind": "shared", "cpus": 1, "memory_mb": 256}
    assert body["image_ref"] | {"digest": ""} == {
        "registry": "registry.fly.io",
        "repository": "app/base",
        "tag": "latest",
        "digest": "",
        "labels": None,
    }
    assert body["events"][0]["type"] == "launch"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ([], 400),
        ({}, 400),
        (b"{", 400),
        ({"config": {}}, 400),
        ({"config": {"image": 7}}, 400),
        ({"config": {"image": "i", "env": {"A": 1}}}, 400),
        ({"config": {"image": "i", "files": [{"guest_path": "/a", "raw_value": "%"}]}}, 400),
        ({"config": {"image": "i", "files": [{"guest_path": "a", "raw_value": ""}]}}, 400),
        ({"config": {"image": "i", "files": [{"guest_path": "/../a", "raw_value": ""}]}}, 400),
        ({"config": {"image": "i", "stop_config": {"timeout": "soon"}}}, 400),
        ({"config": {"image": "i", "guest": {"memory_mb": 300}}}, 422),
        ({"config": {"image": "i", "guest": {"cpus": 2, "memory_mb": 256}}}, 422),
        ({"config": {"image": "i", "guest": {"cpu_kind": "performance", "memory_mb": 1024}}}, 422),
        ({"config": {"image": "i", "guest": {"cpu_kind": "gpu"}}}, 422),
        ({"config": {"image": "i", "mounts": [{"volume": "vol_1", "path": "/data"}]}}, 501),
        ({"config": {"image": "i", "files": [{"guest_path": "/a", "secret_name": "S"}]}}, 501),
        ({"config": {"image": "i", "new_key": {"of": "fly"}}, "skip_launch": True}, 200),
    ],
)
@pytest.mark.gen_test
async def test_create_is_strict(api, request_, status):
    """What Fly refuses is refused, what the emulator does not support is 501, unknown keys are kept."""
    answer = await api("POST", MACHINES, request_)
    assert answer.status == status, answer.body
    assert (status == 200) or set(answer.body) == {"error"}


@pytest.mark.gen_test
async def test_wrong_body_type_speaks_go(api):
    """A body of the wrong type gets the text of Go's decoder (superfly/docs#2187)."""
    box = (await api("POST", MACHINES, {"config": {"image": "i"}, "skip_launch": True})).body
    answer = await api("POST", f"{MACHINES}/{box['id']}/stop", [])
    text = "json: cannot unmarshal array into Go value of type main.stopRequest"
    assert (answer.status, answer.body) == (400, {"error": text})


@pytest.mark.gen_test
async def test_list_filters(api):
    """A list is a bare array; metadata, region and state narrow it, destroyed machines are left out."""
    for color in ("red", "blue"):
        config = {"image": "i", "metadata": {"color": color}}
        await api("POST", MACHINES, {"config": config, "region": "ams", "skip_launch": True})
    red = (await api("GET", f"{MACHINES}?metadata.color=red&region=ams")).body
    assert [m["config"]["metadata"] for m in red] == [{"color": "red"}]
    path = f"{MACHINES}/{red[0]['id']}"
    await api("DELETE", f"{path}?force=true")
    await api("GET", f"{path}/wait?state=destroyed")
    assert len((await api("GET", MACHINES)).body) == 1
    assert len((await api("GET", f"{MACHINES}?include_deleted=true&state=destroyed,started")).body) == 1
    assert (await api("GET", f"{MACHINES}?metadata.color=green")).body == []


@pytest.mark.parametrize("seconds", ["0", "61", "-1"])
@pytest.mark.gen_test
async def test_wait_timeout_out_of_range_is_400(api, seconds):
    """A wait lasts 1 to 60 seconds."""
    machine = (await api("POST", MACHINES, {"config": {"image": "i"}, "skip_launch": True})).body["id"]
    answer = await api("GET", f"{MACHINES}/{machine}/wait?timeout={seconds}")
    text = "invalid WaitMachineRequest.Timeout: value must be inside range [1s, 1m0s]"
    assert (answer.status, answer.body) == (400, {"error": f"invalid_argument: {text}"})


@pytest.mark.gen_test
async def test_wait_in_vain_is_408(api):
    """A wait that is over says what was wanted and what is."""
    machine = (await api("POST", MACHINES, {"config": {"image": "i"}, "skip_launch": True})).body
    path = f"{MACHINES}/{machine['id']}/wait"
    assert (await api("GET", f"{path}?state=stopped&instance_id={machine['instance_id']}")).status == 200
    answer = await api("GET", f"{path}?timeout=1")
    text = "deadline_exceeded: machine failed to reach desired state, started, currently stopped"
    assert (answer.status, answer.body) == (408, {"error": text})


@pytest.mark.gen_test
async def test_client_that_hangs_up_ends_its_wait(api, emulator, eventually):
    """A wait whose client has disconnected is forgotten."""
    machine = (await api("POST", MACHINES, {"config": {"image": "i"}, "skip_launch": True})).body["id"]
    _, writer = await asyncio.open_connection("127.0.0.1", int(emulator.url.rpartition(":")[2]))
    path = f"/v1{MACHINES}/{machine}/wait"
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer T\r\n\r\n".encode())
    store = emulator.machines.find("app", machine).store
    await eventually(lambda: store.waiting)
    writer.close()
    await writer.wait_closed()
    await eventually(lambda: not store.waiting)
