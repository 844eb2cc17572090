"""faults: what goes wrong on purpose, how often, and for whom."""

import asyncio

import pytest
from tornado.httpclient import HTTPClientError
from tornado.iostream import StreamClosedError

from aether.emulator.faults import KINDS

CREATE = "/apps/app/machines"
REQUEST = {"config": {"image": "i"}, "name": "box"}
DEADLINE = {"error": "deadline_exceeded: context deadline exceeded"}
CAPACITY = "aborted: could not reserve resource for machine: insufficient memory available to fulfill request"


@pytest.mark.parametrize(
    ("kind", "status", "body", "count", "next_status"),
    [
        ("commit-408", 408, DEADLINE, 1, 409),
        ("commit-500", 500, {"error": "internal: server error"}, 1, 409),
        ("lose-408", 408, DEADLINE, 0, 200),
        ("lose-503", 503, {"error": "unavailable: upstream connect error"}, 0, 200),
        ("unavailable", 503, "<html><body><h1>503 Service Unavailable</h1></body></html>\n", 0, 200),
        ("rate-limit", 429, {"error": "rate limit exceeded"}, 0, 200),
        ("no-capacity", 422, {"error": "could not find a candidate host", "status": "insufficient_capacity"}, 0, 200),
    ],
)
@pytest.mark.gen_test
async def test_error_with_or_without_the_effect(fast, kind, status, body, count, next_status):
    """After a commit fault the machine exists and the same create is a conflict; after the others it succeeds."""
    fly = await fast()
    fly.emulator.faults.inject(kind)
    answer = await fly.api("POST", CREATE, REQUEST)
    assert (answer.status, answer.body) == (status, body)
    assert len(await fly.listed()) == count
    assert (await fly.api("POST", CREATE, REQUEST)).status == next_status


@pytest.mark.parametrize(("kind", "count"), [("commit-drop", 1), ("lose-drop", 0)])
@pytest.mark.gen_test
async def test_dropped_connection(fast, kind, count):
    """The connection ends without an answer, after the effect or before."""
    fly = await fast()
    fly.emulator.faults.inject(kind)
    with pytest.raises((HTTPClientError, StreamClosedError)):
        await fly.api("POST", CREATE, REQUEST)
    assert len(await fly.listed()) == count


@pytest.mark.gen_test
async def test_dropped_answer_of_every_kind(fast):
    """An answer without a body, an error and a wait are dropped as well."""
    fly = await fast()
    path = await fly.started()
    fly.emulator.faults.inject("commit-drop", "*", None)
    for method, call, body in (
        ("POST", "/metadata/k", {"value": "v"}),
        ("POST", "/stop", []),
        ("GET", "/wait?state=started", None),
    ):
        with pytest.raises((HTTPClientError, StreamClosedError)):
            await fly.api(method, f"{path}{call}", body)
    fly.emulator.faults.clear()
    assert (await fly.api("GET", f"{path}/metadata")).body == {"k": "v"}


@pytest.mark.gen_test
async def test_garbage(fast):
    """The effect happens, and a 200 has half a body."""
    fly = await fast()
    fly.emulator.faults.inject("garbage")
    with pytest.raises(ValueError, match="Unterminated"):
        await fly.api("POST", CREATE, REQUEST)
    assert len(await fly.listed()) == 1


@pytest.mark.gen_test
async def test_hanging_request_ends_when_all_is_well_again(fast, eventually):
    """No answer comes until `clear`, which drops the connection; nothing happened."""
    fly = await fast()
    fly.emulator.faults.inject("hang")
    asking = asyncio.create_task(fly.api("POST", CREATE, REQUEST))
    await eventually(lambda: not fly.emulator.faults.active)
    fly.emulator.faults.clear()
    with pytest.raises((HTTPClientError, StreamClosedError)):
        await asking
    assert await fly.listed() == []


@pytest.mark.gen_test
async def test_client_gives_up_a_hanging_request(fast, eventually):
    """A client that closes its connection is forgotten."""
    fly = await fast()
    fly.emulator.faults.inject("hang", "list")
    port = int(fly.emulator.url.rpartition(":")[2])
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET /v1{CREATE} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer T\r\n\r\n".encode())
    await eventually(lambda: fly.emulator.faults.hanging == 1)
    writer.close()
    await writer.wait_closed()
    await eventually(lambda: fly.emulator.faults.hanging == 0)


@pytest.mark.gen_test
async def test_stale_list(fast):
    """A list as of earlier lacks what was created since and shows what was destroyed since, as it was."""
    fly = await fast()
    old = await fly.started()
    fly.emulator.faults.inject("stale-list")
    await fly.emulator.vanish(old[-14:])
    new = await fly.started()
    stale = (await fly.api("GET", CREATE)).body
    assert [(machine["id"], machine["state"]) for machine in stale] == [(old[-14:], "started")]
    assert await fly.listed() == [new[-14:]]


@pytest.mark.gen_test
async def test_stale_list_is_filtered(fast):
    """Filters and apps count for what was, too."""
    fly = await fast()
    path = await fly.started(region="ams")
    await fly.started(region="fra")
    fly.emulator.faults.inject("stale-list", times=2)
    assert await fly.listed("?region=ams") == [path[-14:]]
    assert (await fly.api("GET", "/apps/other/machines")).body == []


@pytest.mark.gen_test
async def test_stale_get(fast):
    """A replica that lags answers a machine as it was, 404 if it did not exist."""
    fly = await fast()
    path = await fly.started()
    fly.emulator.faults.inject("stale-get", times=2)
    new = await fly.started()
    await fly.emulator.vanish(path[-14:])
    assert (await fly.state(path), (await fly.api("GET", new)).status) == ("started", 404)
    assert await fly.state(path) == "destroyed"


@pytest.mark.gen_test
async def test_empty_list_and_404(fast):
    """A list may be wrongly empty and a machine wrongly unknown, once."""
    fly = await fast()
    path = await fly.started()
    fly.emulator.faults.inject("empty-list")
    fly.emulator.faults.inject("not-found")
    assert (await fly.listed(), (await fly.api("GET", path)).status) == ([], 404)
    assert (await fly.listed(), await fly.state(path)) == ([path[-14:]], "started")


@pytest.mark.gen_test
async def test_no_capacity_at_start_and_no_quota(fast):
    """A stopped machine's host may be full, and a create over the quota is 403."""
    fly = await fast()
    path = await fly.started()
    await fly.api("POST", f"{path}/stop")
    await fly.reach(path, "stopped")
    fly.emulator.faults.inject("no-capacity", "start")
    answer = await fly.api("POST", f"{path}/start")
    assert (answer.status, answer.body, await fly.state(path)) == (409, {"error": CAPACITY}, "stopped")
    fly.emulator.faults.inject("quota")
    answer = await fly.api("POST", CREATE, REQUEST)
    assert answer.status == 403
    assert "is over the allowed quota" in answer.body["error"]


@pytest.mark.gen_test
async def test_unreachable_host(fast):
    """Of a machine whose host is lost only the incomplete config is known; others are whole."""
    fly = await fast()
    paths = [await fly.started(), await fly.started()]
    fly.emulator.faults.inject("host-unreachable", times=None, machine=paths[0][-14:])
    shown = [(await fly.api("GET", path)).body for path in paths]
    assert (await fly.api("GET", CREATE)).body == shown
    assert [machine["host_status"] for machine in shown] == ["unreachable", "ok"]
    assert (shown[0]["config"], shown[0]["incomplete_config"]["image"]) == (None, "i")


@pytest.mark.gen_test
async def test_slow_boot(fast):
    """A slow boot is long in `starting`, that time only."""
    fly = await fast()
    fly.emulator.faults.inject("slow-boot", seconds=90)
    path = await fly.create()
    await fly.clock.advance(89)
    assert await fly.state(path) == "starting"
    await fly.clock.advance(1)
    assert await fly.state(path) == "started"
    await fly.started()


@pytest.mark.gen_test
async def test_how_often_and_for_whom(fast):
    """A fault counts the requests it meets: its action's, its machine's."""
    fly = await fast()
    mine, other = await fly.started(), await fly.started()
    fly.emulator.faults.inject("lose-503", "stop", times=2, machine=mine[-14:])
    calls = [(other, "stop"), (mine, "start"), (mine, "stop"), (mine, "stop"), (mine, "stop")]
    statuses = [(await fly.api("POST", f"{path}/{call}")).status for path, call in calls]
    assert statuses == [200, 200, 503, 503, 200]


@pytest.mark.gen_test
async def test_first_injected_first_met(fast):
    """Several faults queue; `*` meets any action until it is cleared."""
    fly = await fast()
    fly.emulator.faults.inject("lose-408", "list")
    fly.emulator.faults.inject("lose-503", "*", times=None)
    statuses = [(await fly.api("GET", CREATE)).status for _ in range(3)]
    fly.emulator.faults.clear()
    assert [*statuses, (await fly.api("GET", CREATE)).status] == [408, 503, 503, 200]


@pytest.mark.parametrize(
    "wrong", [("earthquake",), ("stale-list", "create"), ("quota", "stop"), ("hang", "dance"), ("hang", "create", 0)]
)
@pytest.mark.gen_test
async def test_nonsense_is_refused(fast, wrong):
    """A fault that could never happen is an error at once."""
    with pytest.raises(ValueError, match=r"fault"):
        (await fast()).emulator.faults.inject(*wrong)


@pytest.mark.gen_test
async def test_faults_as_text(fast):
    """The command line's form says kind, action and how often; every kind has a usual action."""
    faults = (await fast()).emulator.faults
    for text in ("hang", "lose-503:stop:3", "stale-list::*", "host-unreachable:get", *KINDS):
        faults.inject_text(text)
    got = [(fault.kind, sorted(fault.actions), fault.times) for fault in faults.active[:4]]
    assert got == [
        ("hang", ["create"], 1),
        ("lose-503", ["stop"], 3),
        ("stale-list", ["list"], None),
        ("host-unreachable", ["get"], 1),
    ]
    with pytest.raises(ValueError, match="not 'often'"):
        faults.inject_text("hang:create:often")


def test_faults_on_the_command_line(spawn_emulator):
    """An unknown fault ends the program with the list of those there are."""
    process = spawn_emulator("fast", "--fault=earthquake")
    assert process.communicate()[0] == ""
    assert process.returncode == 1


@pytest.mark.gen_test
async def test_a_fault_that_was_removed_keeps_what_it_has_seen(fast):
    """So that a list can be as old as a test wants it."""
    fly = await fast()
    stale = fly.emulator.faults.inject("stale-list")
    fly.emulator.faults.remove(stale)
    path = await fly.create()
    assert await fly.listed() == [path[-14:]]
    fly.emulator.faults.add(stale)
    assert await fly.listed() == []
