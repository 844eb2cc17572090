"""The Machines API: statuses, bodies and the emulator's life cycle, over real HTTP."""

import asyncio
import re
import socket

import pytest

from aether.emulator.errors import EmulatorError
from aether.emulator.server import Emulator

MACHINES = "/apps/app/machines"


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


@pytest.mark.gen_test
async def test_request_id_on_every_answer(api):
    """Every answer carries `fly-request-id`, a ULID and a region, errors included."""
    for path in (MACHINES, "/nowhere", f"{MACHINES}/12345"):
        answer = await api("GET", path)
        assert re.fullmatch(r"[0-9A-Z]{26}-[a-z]{3}", answer.headers["fly-request-id"])


@pytest.mark.parametrize("token", [None, "wrong", ""])
@pytest.mark.gen_test
async def test_wrong_token_is_401(emulator, open_api, token):
    """Without the token nothing is answered, not even that a path does not exist."""
    for path in (MACHINES, "/nowhere", "/platform/regions"):
        answer = await open_api(emulator.url, token)("GET", path)
        assert answer.status == 401
        assert answer.body == {"error": "Authenticate: token validation error"}


@pytest.mark.gen_test
async def test_macaroon_scheme_is_accepted(emulator, open_api):
    """`Authorization: FlyV1 T` is as good as `Bearer T`."""
    answer = await open_api(emulator.url, None)("GET", MACHINES, Authorization="FlyV1 T")
    assert (answer.status, answer.body) == (200, [])


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "10.0.0.1:80"])
@pytest.mark.gen_test
async def test_foreign_host_is_403(api, host):
    """A page of another site that resolves to loopback (DNS rebinding) is refused."""
    assert (await api("GET", MACHINES, Host=host)).status == 403


@pytest.mark.gen_test
async def test_port_in_use_is_409(api, config):
    """A machine whose external port is taken on this computer is not created."""
    request = {"config": config()}
    port = request["config"]["services"][0]["ports"][0]["port"]
    text = f"aborted: external port {port} is already in use on this computer"
    with socket.create_server(("127.0.0.1", port)):
        answer = await api("POST", MACHINES, request)
    assert (answer.status, answer.body) == (409, {"error": text})
    assert (await api("GET", MACHINES)).body == []


@pytest.mark.gen_test
async def test_port_of_a_stopped_machine_is_409(api, create, config):
    """An external port belongs to its machine while that lives, running or not."""
    box = await create(api)
    await box.stop()
    answer = await api("POST", "/apps/other/machines", {"config": config(services=box.record["config"]["services"])})
    assert answer.status == 409


@pytest.mark.gen_test
async def test_name_violation_is_409(api):
    """A name is unique among the living machines of an app, and free again after a destroy."""
    request = {"name": "x", "config": {"image": "i"}, "skip_launch": True}
    first = (await api("POST", MACHINES, request)).body["id"]
    answer = await api("POST", MACHINES, request)
    text = f'unique machine name violation, machine ID {first} already exists with name "x"'
    assert (answer.status, answer.body) == (409, {"error": f"already_exists: {text}"})
    assert (await api("POST", "/apps/other/machines", request)).status == 200
    await api("DELETE", f"{MACHINES}/{first}?force=true")
    await api("GET", f"{MACHINES}/{first}/wait?state=destroyed")
    assert (await api("POST", MACHINES, request)).status == 200


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
    """What Fly refuses is refused, what we cannot honour is 501, keys nobody knows are kept."""
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
async def test_malformed_and_unknown_id_differ(api):
    """An id that cannot be one is 400, one that does not exist is 404; apps do not see each other's machines."""
    answer = await api("GET", f"{MACHINES}/12345")
    assert (answer.status, answer.body) == (400, {"error": "invalid machine ID, '12345'"})
    answer = await api("GET", f"{MACHINES}/{'0' * 14}")
    assert (answer.status, answer.body) == (404, {"error": "not_found: machine not found"})
    mine = (await api("POST", MACHINES, {"config": {"image": "i"}, "skip_launch": True})).body["id"]
    assert (await api("GET", f"/apps/other/machines/{mine}")).status == 404


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


@pytest.mark.gen_test
async def test_metadata(api):
    """Metadata is read as a map or by key, and set and removed with 204."""
    machine = (await api("POST", MACHINES, {"config": {"image": "i"}, "skip_launch": True})).body["id"]
    path = f"{MACHINES}/{machine}/metadata"
    answer = await api("POST", f"{path}/a", {"value": "1"})
    assert (answer.status, answer.body) == (204, None)
    assert (await api("GET", path)).body == {"a": "1"}
    assert (await api("GET", f"{path}/a")).body == {"value": "1"}
    assert (await api("DELETE", f"{path}/a")).status == 204
    assert (await api("GET", f"{path}/a")).status == 404


@pytest.mark.gen_test
async def test_what_fly_has_and_we_lack_is_501(api):
    """An unimplemented call is never a polite success; a path nobody has is 404."""
    machine = (await api("POST", MACHINES, {"config": {"image": "i"}, "skip_launch": True})).body["id"]
    path = f"{MACHINES}/{machine}"
    for lacking in ("suspend", "restart", "cordon"):
        answer = await api("POST", f"{path}/{lacking}", {})
        assert answer.status == 501
        assert answer.body["error"].startswith("unimplemented: the emulator does not")
    assert (await api("POST", "/apps", {})).status == 501
    assert (await api("GET", f"{path}/nonsense")).status == 404


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
async def test_second_emulator_on_a_state_directory_is_refused(emulator, state_dir):
    """Two emulators never share a state directory."""
    with pytest.raises(EmulatorError, match="is in use by another process"):
        await Emulator(state_dir, "T").start()


@pytest.mark.gen_test
async def test_port_in_use_names_another(tmp_path, emulator):
    """A taken port says so and suggests the next."""
    port = int(emulator.url.rpartition(":")[2])
    with pytest.raises(EmulatorError, match=f"port {port} is in use; try --port {port + 1}"):
        await Emulator(tmp_path / "other", "T", port).start()


@pytest.mark.gen_test
async def test_stop_twice(emulator):
    """A second stop does nothing."""
    await emulator.stop()
    await emulator.stop()


@pytest.mark.gen_test
async def test_client_that_hangs_up_ends_its_wait(api, emulator, eventually):
    """A wait nobody listens to any more is forgotten."""
    machine = (await api("POST", MACHINES, {"config": {"image": "i"}, "skip_launch": True})).body["id"]
    _, writer = await asyncio.open_connection("127.0.0.1", int(emulator.url.rpartition(":")[2]))
    path = f"/v1{MACHINES}/{machine}/wait"
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer T\r\n\r\n".encode())
    store = emulator.machines.find("app", machine).store
    await eventually(lambda: store.waiting)
    writer.close()
    await writer.wait_closed()
    await eventually(lambda: not store.waiting)


@pytest.mark.gen_test
async def test_stop_lets_waiters_go(api, emulator, eventually):
    """A long wait does not hold up the end of the emulator."""
    machine = (await api("POST", MACHINES, {"config": {"image": "i"}, "skip_launch": True})).body["id"]
    waiting = asyncio.create_task(api("GET", f"{MACHINES}/{machine}/wait?timeout=60"))
    await eventually(lambda: emulator.machines.find("app", machine).store.waiting)
    await emulator.stop()
    assert (await waiting).status == 503


def test_command_line(spawn_emulator):
    """`python -m aether.emulator` prints its URL, explains why a second cannot start, ends with 0 on SIGTERM."""
    first = spawn_emulator()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+\n", first.stdout.readline())
    second = spawn_emulator()
    second.communicate()
    first.terminate()
    assert first.wait() == 0
    assert second.returncode == 1
