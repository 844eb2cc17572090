"""REST: the life cycle of machines over HTTP, on the real emulator."""

import json
import socket

import pytest


async def read(call, machine_id):
    return json.loads((await call("GET", f"/machines/{machine_id}")).body)


@pytest.mark.gen_test
async def test_a_machine_is_created_and_comes_to_run(call, until_state):
    """POST answers 201 with Location and the machine; soon it is `running`."""
    response = await call("POST", "/machines")
    created = json.loads(response.body)
    assert (response.code, response.headers["Location"]) == (201, f"/machines/{created['id']}")
    assert created["state"] in ("created", "starting")
    await until_state(created["id"], "running")
    assert (await read(call, created["id"]))["state"] == "running"


@pytest.mark.gen_test
async def test_a_machine_s_json_is_the_contract_s(call, machine, until_state, clock):
    """Keys and their forms are what the README says."""
    box = await machine(name="box", cpus=2, memory_mb=1024)
    await until_state(box["id"], "running")
    box = await read(call, box["id"])
    assert set(box) == {
        *("id", "name", "state", "region", "image", "guest", "created_at", "last_activity_at"),
        *("idle_stop_at", "fly_machine_id", "error", "sessions"),
    }
    assert box["sessions"] == {"kept": None, "reason": None}
    assert (box["name"], box["guest"]) == ("box", {"cpu_kind": "shared", "cpus": 2, "memory_mb": 1024})
    assert (box["created_at"], box["idle_stop_at"]) == ("2027-01-15T08:00:00Z", "2027-01-15T08:10:00Z")
    assert box["error"] is None


@pytest.mark.gen_test
async def test_all_machines_are_listed_oldest_first(call, machine, clock):
    """GET /machines is an object with one key."""
    made = []
    for _ in range(3):
        made.append((await machine())["id"])
        clock.now += 1
    listed = json.loads((await call("GET", "/machines")).body)
    assert [box["id"] for box in listed["machines"]] == made


@pytest.mark.gen_test
async def test_stop_and_start_are_accepted_and_repeatable(call, machine, until_state):
    """202 at once, the state follows; asking twice is no error."""
    box = await machine()
    await until_state(box["id"], "running")
    for verb, state in (("stop", "stopped"), ("start", "running")):
        for _ in range(2):
            response = await call("POST", f"/machines/{box['id']}/{verb}")
            assert response.code == 202
        await until_state(box["id"], state)
        assert (await call("POST", f"/machines/{box['id']}/{verb}")).code == 202
    assert (await read(call, box["id"]))["idle_stop_at"] is not None


@pytest.mark.gen_test
async def test_a_start_asked_for_during_a_stop_is_done_after_it(call, machine, until_state):
    """The opposite transition is accepted, and the last word counts."""
    box = await machine()
    await until_state(box["id"], "running")
    assert json.loads((await call("POST", f"/machines/{box['id']}/stop")).body)["state"] == "stopping"
    assert json.loads((await call("POST", f"/machines/{box['id']}/start")).body)["state"] == "stopping"
    await until_state(box["id"], "running")


@pytest.mark.gen_test
async def test_a_deleted_machine_is_gone(call, machine):
    """204 once, 404 ever after, whatever the call."""
    box = await machine()
    assert (await call("DELETE", f"/machines/{box['id']}")).code == 204
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/start"), ("POST", "/stop")):
        response = await call(method, f"/machines/{box['id']}{path}")
        assert (response.code, json.loads(response.body)["error"]["code"]) == (404, "machine_not_found")
    assert json.loads((await call("GET", "/machines")).body) == {"machines": []}


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_a_failed_start_is_an_error_with_a_message_and_can_be_started_again(aether, call, machine, until_state):
    """Another program took the machine's port: the message says so, and later it works again."""
    box = await machine()
    await call("POST", f"/machines/{box['id']}/stop")
    await until_state(box["id"], "stopped")
    with socket.create_server(("127.0.0.1", aether.fleet.get(box["id"]).ssh_port)):
        await call("POST", f"/machines/{box['id']}/start")
        await until_state(box["id"], "error")
    error = (await read(call, box["id"]))["error"]
    assert "already in use" in error["message"]
    await call("POST", f"/machines/{box['id']}/start")
    await until_state(box["id"], "running")
    assert (await read(call, box["id"]))["error"] is None


@pytest.mark.gen_test
async def test_two_deletes_at_once_both_end_well(call, machine, io_loop):
    """A caller that asks during the deletion waits for its end."""
    box = await machine()
    both = [call("DELETE", f"/machines/{box['id']}"), call("DELETE", f"/machines/{box['id']}")]
    assert {(await response).code for response in both} <= {204, 404}


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code", "where"),
    [
        ("POST", "/machines", "{", 400, "invalid_message", None),
        ("POST", "/machines", '{"cpus":"two"}', 400, "invalid_message", "cpus"),
        ("POST", "/machines", '{"colour":"red"}', 400, "invalid_message", None),
        ("GET", "/machines/nobody", None, 404, "machine_not_found", None),
        ("GET", "/nowhere", None, 404, "not_found", None),
        ("POST", "/nowhere", "", 404, "not_found", None),
        ("PUT", "/machines", "", 405, "method_not_allowed", None),
        ("GET", "/machines/x/start", None, 405, "method_not_allowed", None),
        ("GET", "/machines/x/terminal", None, 400, "invalid_message", None),
        ("BREW", "/machines", None, 405, "method_not_allowed", None),
    ],
)
async def test_every_refusal_has_the_one_error_shape(call, method, path, body, status, code, where):
    """Unknown paths and methods included."""
    response = await call(method, path, body)
    error = json.loads(response.body)["error"]
    assert (response.code, error["code"], error.get("path")) == (status, code, where)
    assert error["message"]


class TestLimits:
    """With room for one machine."""

    @pytest.fixture
    def settings(self, server_environ):
        from aether.settings import load

        return load([], {**server_environ, "AETHER_MAX_MACHINES": "1"})

    @pytest.mark.gen_test
    async def test_more_machines_than_the_limit_are_refused(self, call, machine):
        """429, and the message names the setting."""
        await machine()
        response = await call("POST", "/machines")
        assert response.code == 429
        assert "AETHER_MAX_MACHINES" in json.loads(response.body)["error"]["message"]
