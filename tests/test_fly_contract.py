"""The Machines API as it is documented and was recorded: each fact over HTTP, against the emulator and real Fly.

The emulator is always asked. Real Fly is with `--fly`, FLY_API_TOKEN, FLY_APP_NAME and AETHER_FLY_IMAGE; then the
suite makes machines of its own, finds them by a metadata key of its own, and destroys them. Every request that is
accepted and every answer is held to `tests.fly_openapi`. What needs a fault or an option is for the emulator.
"""

import asyncio
import json
import os
import re
import secrets
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
from jsonschema import Draft202012Validator
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from aether.emulator.options import Options
from aether.emulator.server import Emulator
from tests import fly_openapi
from tests.virtual_clock import VirtualClock

NONCE = "fly-machine-lease-nonce"
DOCUMENT = fly_openapi.document()
FLY_VARIABLES = ("FLY_API_TOKEN", "FLY_APP_NAME", "AETHER_FLY_IMAGE")
FLY_IS_SLOW = pytest.mark.patience(600)  # seconds; its requests are paced, too


def fits(schema, value):
    """Hold a JSON value to a schema of the description."""
    Draft202012Validator({**schema, "components": DOCUMENT["components"]}).validate(value)


def described(method, path):
    """Find what the description says of a call; None for a call aether does not use."""
    if "summary=" in path:
        return None
    for template, item in DOCUMENT["paths"].items():
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), urlsplit(path).path):
            return item.get(method.lower())
    return None


class Provider:
    """An implementation of the API and the machines the suite has there."""

    def __init__(self, url, app, token, image, is_fly):
        self.url, self.app, self.token, self.image, self.is_fly = url, app, token, image, is_fly
        self.run = secrets.token_hex(8)
        self.client = SimpleAsyncHTTPClient(force_instance=True)

    async def __call__(self, method, path, body=None, token=None, **headers):
        """Call, hold the request and the answer to the description, and return status, headers and body."""
        if self.is_fly:
            await asyncio.sleep(0.4)  # three in a burst, one a second for each action
        path = f"/v1/apps/{self.app}/machines{path}"
        response = await self.client.fetch(
            self.url + path,
            method=method,
            body=None if body is None else json.dumps(body),
            headers={"Authorization": token or self.token, **headers},
            allow_nonstandard_methods=True,
            raise_error=False,
            request_timeout=70,
        )
        is_json = "json" in response.headers.get("Content-Type", "") and response.body
        value = json.loads(response.body) if is_json else response.body.decode()
        self._hold(described(method, path), response.code, body, value)
        return SimpleNamespace(status=response.code, headers=response.headers, body=value)

    def _hold(self, operation, status, request, answer):
        if status < 400 and operation is not None:
            assert str(status) in operation["responses"]
            content = operation["responses"][str(status)].get("content")
            assert content or answer == ""
            if content:
                fits(content["application/json"]["schema"], answer)
            if request is not None and "requestBody" in operation:
                fits(operation["requestBody"]["content"]["application/json"]["schema"], request)
        elif isinstance(answer, dict) and status >= 400:
            fits({"$ref": "#/components/schemas/Error"}, answer)

    def config(self, **changes):
        metadata = {"aether_contract": self.run, **changes.pop("metadata", {})}
        guest = {"cpu_kind": "shared", "cpus": 1, "memory_mb": 256}
        return {"image": self.image, "guest": guest, "metadata": metadata, "restart": {"policy": "no"}, **changes}

    async def create(self, changes=None, **request):
        """Create a machine and return its record."""
        answer = await self("POST", "", {"config": self.config(**changes or {}), **request})
        assert answer.status == 200, answer.body
        return answer.body

    async def started(self, **request):
        """Create a machine and return its path once it is started."""
        record = await self.create(**request)
        await self.reach(f"/{record['id']}", "started")
        return f"/{record['id']}"

    async def reach(self, path, state):
        """Wait for a state as the documentation says: again and again, by the machine's instance_id."""
        for _ in range(5):
            record = await self.read(path)
            answer = await self("GET", f"{path}/wait?state={state}&timeout=60&instance_id={record['instance_id']}")
            if answer.status == 200 or (state == "destroyed" and answer.status == 404):
                return
            assert answer.status == 408, answer.body
        raise AssertionError(f"{path} did not become {state}")

    async def stopped(self, **request):
        """Create a machine that is not launched and return its path."""
        record = await self.create(skip_launch=True, **request)
        await self.reach(f"/{record['id']}", "stopped")
        return f"/{record['id']}"

    async def read(self, path):
        answer = await self("GET", path)
        assert answer.status == 200, answer.body
        return answer.body

    async def list(self, query=""):
        """List the machines of this run."""
        return (await self("GET", f"?metadata.aether_contract={self.run}{query}")).body

    async def close(self):
        """Destroy what this run made; a lease a failed test left on it ends within a minute."""
        for _ in range(4):
            statuses = [(await self("DELETE", f"/{m['id']}?force=true")).status for m in await self.list()]
            if set(statuses) <= {200, 404}:
                break
            await asyncio.sleep(30)
        self.client.close()


@pytest.fixture
def clock():
    """The emulator's time."""
    return VirtualClock()


@pytest.fixture
def emulate(io_loop, tmp_path, clock):
    """`await emulate(still_active_s=5)` → an emulator with such options, as a provider."""
    opened = []

    async def start(**options):
        emulator = Emulator(tmp_path, "T", runtime="fast", clock=clock, sleep=clock.sleep, options=Options(**options))
        await emulator.start()
        provider = Provider(emulator.url, "app", "Bearer T", "debian", is_fly=False)
        provider.emulator, provider.faults, provider.clock = emulator, emulator.faults, clock
        opened.append((emulator, provider))
        return provider

    async def stop():
        for emulator, provider in opened:
            emulator.faults.clear()
            provider.client.close()
            await emulator.stop()

    yield start
    io_loop.run_sync(stop)


def pytest_generate_tests(metafunc):
    """Ask real Fly as well only if that was asked for."""
    if "api" in metafunc.fixturenames:
        with_fly = [pytest.param("fly", marks=FLY_IS_SLOW)] if metafunc.config.getoption("--fly") else []
        metafunc.parametrize("api", ["emulator", *with_fly], indirect=True)


@pytest.fixture
def api(request, io_loop, emulate):
    """The emulator with its defaults, or real Fly."""
    if request.param == "emulator":
        yield io_loop.run_sync(emulate)
        return
    missing = [name for name in FLY_VARIABLES if not os.environ.get(name)]
    assert not missing, f"--fly needs {', '.join(missing)}"
    token, app, image = (os.environ[name] for name in FLY_VARIABLES)
    token = re.sub(r"^((Bearer|FlyV1)\s+)+", "", token.strip())
    url = os.environ.get("FLY_FLAPS_BASE_URL", "https://api.machines.dev")
    provider = Provider(url, app, f"{'FlyV1' if token.startswith('fm') else 'Bearer'} {token}", image, is_fly=True)
    yield provider
    io_loop.run_sync(provider.close)


# Create.


@pytest.mark.gen_test
async def test_create_is_200_and_precedes_the_boot(api):
    """The answer is a whole machine that is `created`, with Fly's launch event in milliseconds."""
    record = await api.create(name=f"contract-{api.run}")
    assert (record["state"], record["name"], record["host_status"]) == ("created", f"contract-{api.run}", "ok")
    assert [(event["type"], event["status"]) for event in record["events"]] == [("launch", "created")]
    await api.reach(f"/{record['id']}", "started")


@pytest.mark.gen_test
async def test_create_keeps_the_config_and_fills_in_the_guest(api):
    """What was asked for comes back, and a config without a guest gets the smallest."""
    config = api.config(env={"A": "1"}, rootfs={"persist": "always"})
    del config["guest"]
    record = (await api("POST", "", {"config": config, "skip_launch": True})).body
    assert record["config"]["guest"] == {"cpu_kind": "shared", "cpus": 1, "memory_mb": 256}
    assert {key: record["config"][key] for key in ("env", "metadata", "image")} == {
        key: config[key] for key in ("env", "metadata", "image")
    }


@pytest.mark.gen_test
async def test_name_is_unique_and_the_refusal_names_the_holder(api):
    """A second machine of a name is 409 with the id of the first; a destroyed one's name is free."""
    name = f"contract-{api.run}"
    path = await api.stopped(name=name)
    answer = await api("POST", "", {"config": api.config(), "name": name})
    text = f'already_exists: unique machine name violation, machine ID {path[1:]} already exists with name "{name}"'
    assert (answer.status, answer.body["error"]) == (409, text)
    await api("DELETE", f"{path}?force=true")
    await api.reach(path, "destroyed")
    await api.create(name=name, skip_launch=True)


@pytest.mark.gen_test
async def test_skip_launch_settles_stopped(api):
    """A machine that is not launched is prepared and then `stopped`."""
    assert (await api.read(await api.stopped()))["state"] == "stopped"


@pytest.mark.parametrize("guest", [{"memory_mb": 300}, {"cpus": 2, "memory_mb": 256}, {"cpus": 1, "memory_mb": 4096}])
@pytest.mark.gen_test
async def test_sizes_fly_does_not_sell_are_refused(api, guest):
    """Memory is a multiple of 256 MB and within the limits of each CPU."""
    request = {"config": api.config(guest={"cpu_kind": "shared", "cpus": 1, **guest}), "skip_launch": True}
    assert (await api("POST", "", request)).status in {400, 422}


# Get and list.


@pytest.mark.gen_test
async def test_list_is_a_bare_array_filtered_by_metadata(api):
    """Several metadata filters hold together."""
    await api.stopped(changes={"metadata": {"n": "1"}})
    path = await api.stopped(changes={"metadata": {"n": "2"}})
    assert len(await api.list()) == 2
    assert [machine["id"] for machine in await api.list("&metadata.n=2")] == [path[1:]]


@pytest.mark.gen_test
async def test_destroyed_machines_are_hidden_from_lists(api):
    """They are shown with `include_deleted`, and a get says `destroyed`, or 404 once Fly forgot them."""
    path = await api.stopped()
    await api("DELETE", f"{path}?force=true")
    await api.reach(path, "destroyed")
    assert await api.list() == []
    assert [machine["id"] for machine in await api.list("&include_deleted=true")] == [path[1:]]
    answer = await api("GET", path)
    assert answer.status == 404 or answer.body["state"] in {"destroyed", "destroying"}


@pytest.mark.gen_test
async def test_summary_has_no_config(api):
    """A summary leaves out what is long."""
    await api.stopped()
    (machine,) = await api.list("&summary=true")
    assert machine["state"] == "stopped"
    assert not {"config", "events", "host_status"} & set(machine)


@pytest.mark.gen_test
async def test_unknown_and_malformed_ids_differ(api):
    """An id that does not exist is 404, one that cannot is 400."""
    assert (await api("GET", "/00000000000000")).status == 404
    answer = await api("GET", "/12345")
    assert (answer.status, answer.body["error"]) == (400, "invalid machine ID, '12345'")


@pytest.mark.gen_test
async def test_every_answer_has_a_request_id(api):
    """Fly's support asks for `fly-request-id`; errors have one, too."""
    for path in ("", "/00000000000000"):
        answer = await api("GET", path)
        assert re.fullmatch(r"[0-9A-Z]{26}-[a-z]{3}", answer.headers["fly-request-id"])
        assert answer.headers["Content-Type"] == "application/json; charset=utf-8"


@pytest.mark.parametrize("scheme", ["Bearer", "FlyV1"])
@pytest.mark.gen_test
async def test_wrong_token_is_401(api, scheme):
    """Both schemes are known; a token that is not is refused."""
    assert (await api("GET", "", token=f"{scheme} nonsense")).status == 401


# Start and stop.


@pytest.mark.gen_test
async def test_start_says_what_was(api):
    """A start of a stopped machine is answered before its effect."""
    path = await api.stopped()
    answer = await api("POST", f"{path}/start")
    assert (answer.status, answer.body["previous_state"]) == (200, "stopped")
    await api.reach(path, "started")


@pytest.mark.gen_test
async def test_stop_is_asynchronous_and_may_be_repeated(api):
    """A stop is ok at once; one of a stopped machine is 200, in other generations 409 or 412."""
    path = await api.started()
    assert (await api("POST", f"{path}/stop", {"signal": "SIGTERM", "timeout": "5s"})).body == {"ok": True}
    await api.reach(path, "stopped")
    assert (await api("POST", f"{path}/stop")).status in {200, 409, 412}
    assert (await api.read(path))["state"] == "stopped"


@pytest.mark.gen_test
async def test_exit_event_says_that_a_stop_was_asked_for(api):
    """Events are newest first; that of the exit tells an asked stop from a crash."""
    path = await api.started()
    await api("POST", f"{path}/stop")
    await api.reach(path, "stopped")
    events = (await api.read(path))["events"]
    assert [event["timestamp"] for event in events] == sorted((e["timestamp"] for e in events), reverse=True)
    exit_event = next(event for event in events if event["type"] == "exit")["request"]["exit_event"]
    assert (exit_event["requested_stop"], exit_event["oom_killed"]) == (True, False)


@pytest.mark.gen_test
async def test_wrong_json_type_is_400_in_gos_words(api):
    """A list is no stop request (superfly/docs#2187)."""
    answer = await api("POST", f"{await api.stopped()}/stop", [])
    text = "json: cannot unmarshal array into Go value of type main.stopRequest"
    assert (answer.status, answer.body["error"]) == (400, text)


# Destroy.


@pytest.mark.gen_test
async def test_running_machine_is_destroyed_by_force_only(api):
    """Without force it is 412; with it ok, and a repeat is 200 or 404."""
    path = await api.started()
    answer = await api("DELETE", path)
    text = "unable to destroy machine, not currently stopped, suspended, failed or created"
    assert (answer.status, answer.body["error"]) == (412, f"failed_precondition: {text}")
    assert (await api("DELETE", f"{path}?force=true")).body == {"ok": True}
    await api.reach(path, "destroyed")
    assert (await api("DELETE", f"{path}?force=true")).status in {200, 404}


# Wait.


@pytest.mark.parametrize("seconds", [0, 61])
@pytest.mark.gen_test
async def test_wait_lasts_one_to_sixty_seconds(api, seconds):
    """Another time-out is 400."""
    answer = await api("GET", f"{await api.stopped()}/wait?state=started&timeout={seconds}")
    text = "invalid WaitMachineRequest.Timeout: value must be inside range [1s, 1m0s]"
    assert (answer.status, answer.body["error"]) == (400, f"invalid_argument: {text}")


@pytest.mark.gen_test
async def test_wait_in_vain_is_408(api):
    """The text says what was wanted and what is."""
    path = await api.stopped()
    waiting = asyncio.create_task(api("GET", f"{path}/wait?state=started&timeout=1"))
    while not api.is_fly and not waiting.done():
        await api.clock.advance(0.1)
    answer = await waiting
    text = "deadline_exceeded: machine failed to reach desired state, started, currently stopped"
    assert (answer.status, answer.body["error"]) == (408, text)


@pytest.mark.gen_test
async def test_wait_for_what_is(api):
    """A wait for the present state is answered at once, with it."""
    answer = await api("GET", f"{await api.started()}/wait?state=started&timeout=1")
    assert (answer.status, answer.body["ok"], answer.body["state"]) == (200, True, "started")


# Metadata, update, leases.


@pytest.mark.gen_test
async def test_metadata_key_by_key(api):
    """A key is set and removed with 204 and no body, and read as a value."""
    path = f"{await api.stopped()}/metadata"
    assert (await api("POST", f"{path}/k", {"value": "v"})).status == 204
    assert (await api("GET", f"{path}/k")).body == {"value": "v"}
    assert (await api("GET", path)).body["k"] == "v"
    assert (await api("DELETE", f"{path}/k")).status == 204
    assert (await api("GET", f"{path}/k")).status == 404


@pytest.mark.gen_test
async def test_metadata_filters_lists_after_a_change(api):
    """A list knows a key that was set later."""
    path = await api.stopped()
    await api("POST", f"{path}/metadata/later", {"value": "1"})
    assert [machine["id"] for machine in await api.list("&metadata.later=1")] == [path[1:]]


@pytest.mark.gen_test
async def test_update_replaces_everything_under_a_new_instance_id(api):
    """What the new config does not have is gone; a stopped machine stays stopped."""
    path = await api.stopped(changes={"env": {"A": "1"}})
    before = await api.read(path)
    answer = await api("POST", path, {"config": api.config(), "skip_launch": True})
    assert answer.status == 200
    assert answer.body["instance_id"] != before["instance_id"]
    await api.reach(path, "stopped")
    assert "A" not in (await api.read(path))["config"].get("env", {})


@pytest.mark.gen_test
async def test_lease_keeps_others_out(api):
    """While a client has a lease, changes without the nonce are 409 with `message`."""
    path = await api.stopped()
    taken = await api("POST", f"{path}/lease", {"ttl": 60})
    assert taken.status in {200, 201}
    nonce = taken.body.get("data", taken.body)["nonce"]
    refused = await api("DELETE", f"{path}?force=true")
    assert (refused.status, refused.body["status"]) == (409, "error")
    assert f"machine ID {path[1:]} lease currently held by" in refused.body["message"]
    assert (await api("DELETE", f"{path}/lease", **{NONCE: nonce})).status == 200
    assert (await api("DELETE", f"{path}?force=true")).status == 200


# What needs an option or a fault: the emulator only.


@pytest.mark.gen_test
async def test_states_take_their_time(emulate):
    """created, starting and started come one after another; a start too early is 412."""
    api = await emulate(pull_delay_s=6, boot_delay_s=1)
    path = f"/{(await api.create())['id']}"
    answer = await api("POST", f"{path}/start")
    text = "failed_precondition: unable to start machine from current state: 'created'"
    assert (answer.status, answer.body) == (412, {"error": text})
    seen = []
    for seconds in (6, 1):
        await api.clock.advance(seconds)
        seen.append((await api.read(path))["state"])
    assert seen == ["starting", "started"]


@pytest.mark.gen_test
async def test_just_stopped_is_still_active(emulate):
    """For some seconds after a stop a start is 412."""
    api = await emulate(still_active_s=8)
    path = await api.started()
    await api("POST", f"{path}/stop")
    await api.reach(path, "stopped")
    answer = await api("POST", f"{path}/start")
    text = "failed_precondition: machine still active, refusing to start"
    assert (answer.status, answer.body) == (412, {"error": text})
    await api.clock.advance(8)
    assert (await api("POST", f"{path}/start")).status == 200


@pytest.mark.gen_test
async def test_start_while_stopping_or_replacing_is_412(emulate):
    """Each says which."""
    api = await emulate(stop_delay_s=5, replace_delay_s=5)
    stopping, replacing = await api.started(), await api.started()
    await api("POST", f"{stopping}/stop")
    await api("POST", replacing, {"config": api.config()})
    answers = [await api("POST", f"{path}/start") for path in (stopping, replacing)]
    assert [answer.status for answer in answers] == [412, 412]
    assert "current state: 'stopping'" in answers[0].body["error"]
    assert "machine getting replaced, refusing to start" in answers[1].body["error"]
    again = await api("POST", replacing, {"config": api.config()})
    assert (again.status, again.body["error"][:32]) == (409, "aborted: machine is replacing: c")


@pytest.mark.gen_test
async def test_update_of_another_version_is_409(emulate):
    """`current_version` is the instance_id the caller saw; name and region are not for change."""
    api = await emulate()
    path = await api.stopped(name="box")
    wrong = {"config": api.config(), "current_version": "01HQ73A7BFFDF1B6WMGHFZZ4E7"}
    assert (await api("POST", path, wrong)).status == 409
    assert (await api("POST", path, {"config": api.config(), "name": "other"})).status == 400
    assert (await api("POST", path, {"config": api.config(), "region": "syd"})).status == 400


@pytest.mark.parametrize("status", [200, 409])
@pytest.mark.gen_test
async def test_stop_of_a_stopped_machine_by_generation(emulate, status):
    """200 today, 409 in the documentation of 2022."""
    api = await emulate(stop_on_stopped=status)
    assert (await api("POST", f"{await api.stopped()}/stop")).status == status


@pytest.mark.gen_test
async def test_wait_for_stopped_once_needed_an_instance_id(emulate):
    """Until early 2026 it was 400 without; with it both generations agree."""
    api = await emulate(wait_needs_instance_id=True)
    path = await api.stopped()
    answer = await api("GET", f"{path}/wait?state=stopped")
    assert (answer.status, answer.body) == (400, {"error": "instance_id required when waiting for stopped machine"})


@pytest.mark.gen_test
async def test_destroyed_machines_are_forgotten_in_the_end(emulate):
    """After a while get, wait and destroy are 404, which is success."""
    api = await emulate(purge_destroyed=True)
    path = await api.stopped()
    await api.emulator.vanish(path[1:])
    calls = (("GET", path), ("GET", f"{path}/wait?state=destroyed"), ("DELETE", f"{path}?force=true"))
    assert [(await api(*call)).status for call in calls] == [404, 404, 404]


@pytest.mark.gen_test
async def test_rate_limit_is_by_action_and_machine(emulate):
    """Three in a burst, then one a second; a get ten and five; creates of an app share."""
    api = await emulate(rate_limit=True)
    path = await api.stopped()
    statuses = [(await api("POST", f"{path}/stop")).status for _ in range(4)]
    assert statuses == [200, 200, 200, 429]
    assert [(await api("GET", path)).status for _ in range(10)].count(429) == 1  # one get was made before
    assert [(await api("POST", "", {"config": {"image": "i"}})).status for _ in range(3)] == [200, 200, 429]


@pytest.mark.parametrize(("kind", "count"), [("commit-408", 1), ("lose-408", 0), ("commit-500", 1), ("lose-503", 0)])
@pytest.mark.gen_test
async def test_failed_create_may_have_happened(emulate, kind, count):
    """A 408 is ambiguous (flyctl): the same answer with the effect and without."""
    api = await emulate()
    api.faults.inject(kind)
    assert (await api("POST", "", {"config": api.config()})).status == int(kind[-3:])
    assert len(await api.list()) == count


@pytest.mark.gen_test
async def test_no_capacity(emulate):
    """A full region refuses a create with 422, a full host a start with 409."""
    api = await emulate()
    path = await api.stopped()
    api.faults.inject("no-capacity")
    api.faults.inject("no-capacity", "start")
    answer = await api("POST", "", {"config": api.config()})
    assert (answer.status, answer.body["status"]) == (422, "insufficient_capacity")
    answer = await api("POST", f"{path}/start")
    assert (answer.status, answer.body["error"][:45]) == (409, "aborted: could not reserve resource for machi")


@pytest.mark.gen_test
async def test_crash_and_oom_are_told_by_the_exit_event(emulate):
    """Neither was asked for, and one was for memory."""
    api = await emulate()
    crashed, starved = await api.started(), await api.started()
    await api.emulator.crash(crashed[1:], exit_code=3)
    await api.emulator.oom(starved[1:])
    seen = []
    for path in (crashed, starved):
        exit_event = (await api.read(path))["events"][0]["request"]["exit_event"]
        seen.append((exit_event["requested_stop"], exit_event["oom_killed"], exit_event["exit_code"]))
    assert seen == [(False, False, 3), (False, True, 137)]


@pytest.mark.gen_test
async def test_unreachable_host_hides_the_config(emulate):
    """The machine is there, its host does not answer: `config` is null."""
    api = await emulate()
    path = await api.stopped()
    api.faults.inject("host-unreachable")
    machine = await api.read(path)
    assert (machine["host_status"], machine["config"]) == ("unreachable", None)
    assert machine["incomplete_config"]["image"] == api.image


@pytest.mark.gen_test
async def test_error_that_is_not_json(emulate):
    """A proxy's page may come instead of Fly's answer."""
    api = await emulate()
    api.faults.inject("unavailable", "list")
    answer = await api("GET", "")
    assert answer.status == 503
    assert answer.body.startswith("<html>")


@pytest.mark.gen_test
async def test_replicas_lag(emulate):
    """A machine may be 404 right after its creation, missing from a list, or still shown when it is gone."""
    api = await emulate()
    old = await api.stopped()
    for fault in ("stale-list", "stale-get", "empty-list"):
        api.faults.inject(fault)
    new = await api.create()
    await api.emulator.vanish(old[1:])
    assert [machine["id"] for machine in await api.list()] == [old[1:]]
    assert (await api("GET", f"/{new['id']}")).status == 404
    assert await api.list() == []
    assert [machine["id"] for machine in await api.list()] == [new["id"]]


@pytest.mark.parametrize("call", ["suspend", "restart", "cordon"])
@pytest.mark.gen_test
async def test_what_the_emulator_lacks_is_501(emulate, call):
    """Never a polite success."""
    api = await emulate()
    assert (await api("POST", f"{await api.stopped()}/{call}")).status == 501
