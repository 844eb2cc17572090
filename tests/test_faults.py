"""Whatever Fly does, no machine is lost, doubled or left billing, and the caller is told the truth.

Each fault of the emulator × each call, and a random walk over calls, faults, time and restarts of the server. Machines
are the emulator's fast ones: states without processes.
"""

import asyncio
import contextlib
import dataclasses
import os
import random
from pathlib import Path
from tempfile import TemporaryDirectory

import asyncssh
import pytest
from hypothesis import HealthCheck, settings, stateful
from hypothesis import strategies as st

from aether.emulator.errors import ApiError
from aether.emulator.server import Emulator
from aether.errors import AetherError, ProviderError, ProviderTimeout
from aether.fleet.assembly import FleetOptions, assemble
from aether.fleet.creation import PENDING_S, SEALED_S
from aether.fleet.housekeeping import Housekeeping
from aether.fleet.reconcile import YOUNG_S
from aether.fly.client import CALL_TIMEOUT_S, FlyClient
from aether.fly.operations import Operations
from aether.fly.template import MachineTemplate, SshNetwork
from aether.machines import MachineSize, MachineSpec
from aether.messages import Resize, TerminalQuery
from aether.ssh.keys import public_text
from tests.fly_client import InterceptedFlyClient
from tests.timelapse import Timelapse

SPEC = MachineSpec(name=None, region=None, size=MachineSize("shared", 1, 512))
PASSING = ["unavailable", "rate-limit", "lose-408", "lose-503", "lose-drop", "commit-408", "commit-500", "commit-drop"]
FAULTS = {
    "create": [*PASSING, "hang", "garbage", "no-capacity", "quota"],
    "start": [*PASSING, "hang", "garbage", "no-capacity"],
    "stop": [*PASSING, "hang", "garbage"],
    "destroy": [*PASSING, "hang", "garbage", "not-found"],
    "get": ["unavailable", "rate-limit", "lose-drop", "hang", "garbage", "not-found", "host-unreachable", "stale-get"],
    "list": ["unavailable", "rate-limit", "lose-drop", "hang", "garbage", "empty-list", "stale-list"],
    "wait": ["unavailable", "rate-limit", "lose-408", "lose-drop", "garbage", "not-found"],
    "metadata": [*PASSING, "hang", "not-found"],
}
CALLS = ["create", "start", "stop", "destroy", "sweep"]


class Server:
    """A server over a provider, which knows only what that tells."""

    def __init__(self, url, key, clock, lapse):
        network = SshNetwork("public", "127.0.0.1")
        template = MachineTemplate("here", "image", 8, "coder", public_text(key), network)
        self.client = InterceptedFlyClient(url, "app", "T", lapse.elapse)
        self.drawn_ports = []
        options = FleetOptions(choose_port=self.choose_port)
        assembly = assemble(Operations(self.client, lapse, lapse.elapse), template, key, options, clock)
        self.fleet, self.reconciler, self.tombstones = assembly.fleet, assembly.reconciler, assembly.tombstones
        self.created = []  # ids of the machines whose users were told so

    def choose_port(self, free):
        return self.drawn_ports.pop(0) if self.drawn_ports else random.choice(free)

    async def call(self, what, machine_id=None):
        """Make one call as a user would; return its error, None if it was accepted."""
        error = await self.ask(what, machine_id)
        if error is None:
            await self.settle()
        return error

    async def ask(self, what, machine_id=None):
        """Make one call, and do not wait for what comes of it."""
        try:
            if what == "create":
                self.created.append((await self.fleet.create(SPEC)).id)
            elif what == "sweep":
                await self.reconciler.reconcile()
            elif what == "destroy":
                await self.fleet.destroy(machine_id)
            else:
                getattr(self.fleet, what)(machine_id, *(["by user"] if what == "stop" else []))
        except AetherError as error:
            assert str(error)
            return error
        return None

    async def settle(self):
        """Wait until nothing of ours is under way."""
        for lifecycle in self.fleet.lifecycles():
            while lifecycle.is_busy():
                await lifecycle.settled()

    async def close(self):
        await self.fleet.close()
        await self.client.close()


class World:
    """A provider that lives on, and servers over it that may be replaced."""

    def __init__(self, folder, clock, count=1):
        self.clock = clock
        self.folder = folder
        self.key = asyncssh.generate_private_key("ssh-ed25519")
        self.count = count

    async def open(self):
        self.lapse = Timelapse(asyncio.get_running_loop())
        options = {"runtime": "fast", "clock": self.clock, "sleep": self.lapse.elapse_last}
        self.emulator = Emulator(state_dir=self.folder, token="T", **options)
        faults = self.emulator.faults
        faults.hang = self.lapse.leaping(2 * CALL_TIMEOUT_S, faults.hang)  # by then the caller has given up
        await self.emulator.start()
        self.servers = [self.server() for _ in range(self.count)]

    def server(self):
        return Server(self.emulator.url, self.key, self.clock, self.lapse)

    @property
    def fleet(self):
        return self.servers[0].fleet

    async def call(self, what, machine_id=None):
        """Make one call to the first server as a user would; return its error, None if it was accepted."""
        return await self.servers[0].call(what, machine_id)

    async def kill_server(self, number=0):
        """End a server as `kill -9` would, as far as the provider can tell, and begin another."""
        await self.servers[number].close()
        self.servers[number] = self.server()

    async def close(self):
        self.emulator.faults.clear()
        for server in self.servers:
            await server.close()
        await self.emulator.stop()

    async def calm_down(self):
        """The faults stop, time passes, sweeps come by."""
        self.emulator.faults.clear()
        for _ in range(7):
            self.clock.now += YOUNG_S
            for server in self.servers:
                await server.settle()
                await server.reconciler.reconcile()
                await server.settle()

    async def machines(self):
        """Return what the provider has: Fly's id → state."""
        return {fly.id: fly.state for fly in await self.servers[0].client.list({}) if fly.state != "destroyed"}

    async def assert_agreed(self):
        """Each fleet is what the provider has: nothing lost, nothing doubled, nothing unknown."""
        theirs = await self.machines()
        for server in self.servers:
            ours = {machine.fly_machine_id: machine.state.value for machine in server.fleet.list()}
            assert set(ours) == set(theirs)
            for fly_id, state in ours.items():
                # `error` is a stopped machine whose user has not answered yet to why it could not be started
                allowed = {"running": {"started"}, "stopped": {"stopped"}, "error": {"stopped", "failed"}}
                assert theirs[fly_id] in allowed[state], (state, theirs[fly_id])


@pytest.fixture
def world(io_loop, tmp_path, clock):
    world = World(tmp_path, clock)
    io_loop.run_sync(world.open)
    yield world
    io_loop.run_sync(world.close)


CASES = [(call, action, kind) for call in CALLS for action, kinds in FAULTS.items() for kind in kinds]


@pytest.mark.gen_test
@pytest.mark.logs_warnings
@pytest.mark.parametrize(("call", "action", "kind"), CASES, ids=["-".join(case) for case in CASES])
async def test_a_fault_leaves_nothing_lost_doubled_or_unknown(world, call, action, kind):
    """One fault, one call: a clear error or success, and in the end the fleet is what the provider has."""
    assert await world.call("create") is None
    (box,) = world.fleet.list()
    if call == "start":
        await world.call("stop", box.id)
    world.emulator.faults.inject(kind, action=action, times=2)
    error = await world.call(call, box.id)
    await world.calm_down()
    await world.assert_agreed()
    count = {"create": 2, "destroy": 0}.get(call, 1) if error is None else 1
    assert len(world.fleet.list()) == count


@pytest.mark.gen_test
@pytest.mark.logs_warnings
@pytest.mark.parametrize("end", ["crash", "oom"])
async def test_a_machine_that_ends_by_itself_is_found_stopped_and_can_be_started(world, end):
    """The sweep notices, with the reason."""
    await world.call("create")
    (box,) = world.fleet.list()
    await getattr(world.emulator, end)(box.fly_machine_id)
    await world.call("sweep")
    assert box.state == "stopped"
    await world.call("start", box.id)
    assert box.state == "running"


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_a_host_that_fly_cannot_reach_is_not_a_machine_that_is_gone(world):
    """The machine says so, keeps its state, and is itself again afterwards."""
    await world.call("create")
    (box,) = world.fleet.list()
    world.emulator.faults.inject("host-unreachable", action="*", times=10)
    for _ in range(4):
        world.clock.now += YOUNG_S
        await world.call("sweep")
    assert (box.state, box.error["code"]) == ("running", "host_unreachable")
    await world.calm_down()
    assert (box.state, box.error) == ("running", None)


async def until(world, is_true):
    """Let the world go on until its machines are as wanted."""
    while not is_true(await world.machines()):  # noqa: ASYNC110  (the provider has no event for this)
        await asyncio.sleep(0)


@pytest.fixture
def two(io_loop, world):
    """A second server over the same provider, which has seen what there is."""
    server = world.server()
    world.servers.append(server)
    return server


@pytest.fixture
def box(io_loop, world):
    """A machine that runs."""
    assert io_loop.run_sync(lambda: world.call("create")) is None
    (machine,) = world.fleet.list()
    return machine


@pytest.fixture
def client(world):
    """A client beside the servers'."""
    return world.servers[0].client


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_a_mark_taken_from_another_machine_destroys_nothing(world, box, client):
    """Root in a machine can copy its own id and seal, seen at its creation, onto any machine of the app."""
    await world.call("create")
    attacker = world.fleet.list()[1]
    seal = client.seals[attacker.id]
    world.clock.now += PENDING_S + 60
    await client.set_metadata(box.fly_machine_id, "aether_id", attacker.id)
    await client.set_metadata(box.fly_machine_id, "aether_pending", seal)
    await world.kill_server()
    await world.call("sweep")
    assert (await world.machines())[box.fly_machine_id] == "started"


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_the_id_of_a_failed_create_on_another_machine_destroys_nothing(world, box, client):
    """Also while that machine is known."""
    await world.fleet.find(box.id).activity.published()
    world.emulator.faults.inject("unavailable", action="metadata", times=4)
    assert await world.call("create") is not None
    (failed,) = client.seals.keys() - {box.id}
    assert world.servers[0].tombstones.has_failed(failed)
    await client.set_metadata(box.fly_machine_id, "aether_id", failed)
    await world.call("sweep")
    assert (await world.machines())[box.fly_machine_id] == "started"


@pytest.mark.gen_test
@pytest.mark.logs_warnings
@pytest.mark.parametrize(
    ("age_s", "activity", "is_kept"),
    [(PENDING_S + 60, None, False), (PENDING_S - 60, None, True), (PENDING_S + 60, "1", True), (SEALED_S, None, True)],
)
async def test_only_a_machine_that_can_be_an_orphan_is_destroyed(world, box, client, age_s, activity, is_kept):
    """Sealed, old enough that no server is about to tell of it, never used, and not for ever."""
    await world.fleet.find(box.id).activity.published()
    seal = client.seals[box.id]
    await world.kill_server()
    machine = world.emulator.machines.find("app", box.fly_machine_id)
    machine.store.set_metadata({"aether_pending": seal, "aether_last_activity": activity})
    world.clock.now += age_s
    await world.call("sweep")
    if not is_kept:
        await machine.store.wait({"destroyed"}, 5)
    assert machine.state == ("started" if is_kept else "destroyed")


@pytest.mark.gen_test
async def test_the_sweep_leaves_a_create_alone_that_is_still_under_way(world, client):
    """However long it takes; it fails in the end, rather than race with another server."""
    gate = asyncio.Event()

    async def slow(metadata):
        if "aether_ssh_port" in metadata:
            await gate.wait()
        return await FlyClient.list(client, metadata)

    client.instead["list"] = slow
    creating = asyncio.create_task(world.fleet.create(SPEC))
    await until(world, lambda machines: machines)
    world.clock.now += PENDING_S + 60
    await world.call("sweep")
    assert len(await world.machines()) == 1
    gate.set()
    with pytest.raises(ProviderTimeout):
        await creating
    await world.calm_down()
    await world.assert_agreed()


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_a_machine_that_was_handed_out_is_kept_although_its_mark_could_not_be_taken_off(world, client):
    """Fly refused that while the machine was `created`; then the server was restarted, and another was there."""

    async def refusing(fly_id, key, value):
        if key == "aether_pending":
            world.lapse.leap(5)
            raise ProviderError("not in this state", status=412)
        await FlyClient.set_metadata(client, fly_id, key, value)

    client.instead["set_metadata"] = refusing
    assert await world.call("create") is None
    (machine,) = world.fleet.list()
    await world.fleet.find(machine.id).activity.published()
    await world.kill_server()
    world.clock.now += PENDING_S + 60
    await world.call("sweep")
    assert [one.fly_machine_id for one in world.fleet.list()] == [machine.fly_machine_id]


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_a_deletion_that_a_lagging_replica_answered_is_done_again(world, box):
    """404 means "gone" to the caller; the next list shows that it is not, and its user was told that it is."""
    world.emulator.faults.inject("not-found", action="destroy")
    world.emulator.faults.inject("not-found", action="wait")
    assert await world.call("destroy", box.id) is None
    await world.calm_down()
    assert (world.fleet.list(), await world.machines()) == ([], {})


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_a_machine_whose_users_cannot_be_seen_is_not_stopped_as_idle(world, two, box):
    """Its host is out of reach, and with it what other servers published; config may be null then."""
    await two.call("sweep")
    world.clock.now += 700
    world.fleet.find(box.id).activity.note_input()
    await world.fleet.find(box.id).activity.published()
    hide(two.client)
    await Housekeeping(two.fleet, two.reconciler, 600, 60, world.clock).sweep()
    await two.settle()
    assert (await world.machines())[box.fly_machine_id] == "started"
    assert two.fleet.get(box.id).error["code"] == "host_unreachable"


def hide(client):
    """Let Fly show machines without their config, as it may while their host is out of reach."""

    async def get(fly_id):
        return dataclasses.replace(await FlyClient.get(client, fly_id), config={}, host_status="unreachable")

    async def list_(metadata):
        listed = await FlyClient.list(client, metadata)
        return [dataclasses.replace(fly, config={}, host_status="unreachable") for fly in listed]

    client.instead.update(get=get, list=list_)


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_a_machine_on_a_lost_host_that_cannot_be_stopped_is_not_said_to_have_failed(world, box):
    """It was running when it was last read."""
    sweeper = Housekeeping(world.fleet, world.servers[0].reconciler, 600, 60, world.clock)
    world.emulator.faults.inject("host-unreachable", action="*", times=None)
    world.emulator.faults.inject("unavailable", action="stop", times=None)
    world.clock.now += 700
    for _ in range(3):
        world.clock.now += 60
        await sweeper.sweep()
        await world.servers[0].settle()
    assert (box.state, box.error["code"]) == ("running", "host_unreachable")


@pytest.mark.gen_test
async def test_a_start_while_another_server_stops_the_machine_starts_it_again(world, two, box):
    """The last request counts, whichever server got it."""
    await two.call("sweep")
    world.emulator.options.stop_delay_s = 1.0
    world.lapse.is_going.clear()
    world.fleet.stop(box.id, "by user")
    await until(world, lambda machines: machines[box.fly_machine_id] == "stopping")
    was_refused = asyncio.Event()

    async def start(fly_id):
        try:
            await FlyClient.start(two.client, fly_id)
        except ProviderError:
            was_refused.set()
            raise

    two.client.instead["start"] = start
    two.fleet.start(box.id)
    await was_refused.wait()
    world.lapse.is_going.set()
    await two.settle()
    await world.calm_down()
    assert (await world.machines())[box.fly_machine_id] == "started"
    assert two.fleet.get(box.id).state == box.state == "running"


@pytest.mark.gen_test
async def test_a_machine_that_moved_between_two_sweeps_is_reached_at_its_new_address(world, box, client):
    """Stopped, migrated and started: it runs as before, elsewhere."""
    before = box.private_ip
    await client.stop(box.fly_machine_id)
    await client.wait(box.fly_machine_id, "stopped", 5)
    world.emulator.migrate(box.fly_machine_id)
    await client.start(box.fly_machine_id)
    await client.wait(box.fly_machine_id, "started", 5)
    await world.call("sweep")
    assert box.private_ip == (await client.get(box.fly_machine_id)).private_ip != before


@pytest.mark.gen_test
async def test_one_old_reading_does_not_end_the_terminals_of_a_machine_that_runs(world, box):
    """A second press on "start", answered by a replica that lags."""
    await world.call("stop", box.id)
    stale = world.emulator.faults.inject("stale-get", action="get", times=1)
    world.emulator.faults.remove(stale)
    await world.call("start", box.id)
    world.emulator.faults.add(stale)
    client = Client()
    terminal = world.fleet.open_terminal(box.id, client, TerminalQuery(Resize(80, 24), is_reconnect=False))
    await world.call("start", box.id)
    assert (client.code, world.emulator.faults.active) == (None, [])
    terminal.end(None)
    await terminal.wait_ended()


class Client:
    """A terminal's client that notes with which code it was closed."""

    code = None

    def send(self, message):
        return None

    def end(self, code, reason):
        self.code = code


@pytest.mark.gen_test
async def test_activity_that_could_not_be_published_is_published_by_a_later_sweep(world, box, client):
    """Or another server would stop the machine on time."""
    activity = world.fleet.find(box.id).activity
    await activity.published()
    world.clock.now += 500
    world.emulator.faults.inject("unavailable", action="metadata", times=4)
    activity.note_input()
    await activity.published()
    activity.flush()
    await activity.published()
    assert (await client.get(box.fly_machine_id)).metadata["aether_last_activity"] == f"{world.clock.now:.0f}"


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_a_port_that_is_shared_no_longer_is_not_complained_of(world, box, client):
    """Its user was told to delete a machine, which need not be any more."""
    world.emulator.options.shared_ports = True
    world.clock.now += 1
    world.servers[0].drawn_ports.append(box.ssh_port)
    client.instead["list"] = empty
    await world.call("create")
    client.instead.clear()
    younger = world.fleet.list()[1]
    await world.call("sweep")
    assert (box.error, younger.error["code"]) == (None, "port_shared")
    await world.call("destroy", box.id)
    await world.call("sweep")
    assert younger.error is None


async def empty(metadata):
    return []


@pytest.mark.gen_test
async def test_a_machine_of_an_old_list_is_read_before_it_is_adopted(world, two, box):
    """A ghost would be shown as running, and could not be used."""
    await two.call("sweep")
    stale = world.emulator.faults.inject("stale-list", times=1)
    world.emulator.faults.remove(stale)
    await world.call("destroy", box.id)
    two.fleet.forget(box.id)
    world.emulator.faults.add(stale)
    await two.call("sweep")
    assert two.fleet.list() == []


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_a_bug_in_comparing_one_machine_does_not_keep_others_running(world, box, client):
    """Idle machines are stopped all the same."""
    await world.call("create")
    other = world.fleet.list()[1]
    world.clock.now += 700
    await world.emulator.crash(box.fly_machine_id)

    async def get(fly_id):
        if fly_id == box.fly_machine_id:
            raise ValueError("bug")
        return await FlyClient.get(client, fly_id)

    client.instead["get"] = get
    await Housekeeping(world.fleet, world.servers[0].reconciler, 600, 60, world.clock).sweep()
    await world.servers[0].settle()
    assert other.state == "stopped"


SERVERS = st.integers(0, 1)
NUMBERS = st.integers(0, 3)


class Walk(stateful.RuleBasedStateMachine):
    """Two servers over one provider: any sequence of calls, faults, outside changes, time and restarts ends well.

    `promised` are the machines that users were told they have and have not deleted. There may be others only where a
    delete failed, or a server was killed before it could answer.
    """

    def __init__(self):
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = TemporaryDirectory()
        self.clock = Clock()
        self.promised, self.doubtful, self.unanswered = set(), set(), 0
        self.run(self.begin())

    async def begin(self):
        self.world = World(Path(self.folder.name), self.clock, count=2)
        await self.world.open()

    def run(self, work):
        return self.loop.run_until_complete(work)

    def pick(self, server, number):
        machines = self.world.servers[server].fleet.list()
        return machines[number % len(machines)] if machines else None

    @stateful.rule(server=SERVERS)
    def create(self, server):
        if len(self.pick_all(server)) < 4:
            self.run(self.note("create", server, None))

    @stateful.rule(what=st.sampled_from(["start", "stop", "destroy"]), server=SERVERS, number=NUMBERS)
    def user_call(self, what, server, number):
        if box := self.pick(server, number):
            self.run(self.note(what, server, box.id))
            self.run(self.world.servers[server].settle())

    @stateful.rule(
        calls=st.lists(
            st.tuples(st.sampled_from(["create", "start", "stop", "destroy", "sweep"]), SERVERS, NUMBERS), max_size=6
        )
    )
    def several_calls_at_once(self, calls):
        self.run(self.overlap(calls))

    @stateful.rule(what=st.sampled_from(["start", "stop"]), server=SERVERS, number=NUMBERS)
    def call_without_waiting(self, what, server, number):
        """Leave the transition under way."""
        if box := self.pick(server, number):
            self.run(self.note(what, server, box.id))

    @stateful.rule(fault=st.sampled_from([(action, kind) for action in FAULTS for kind in FAULTS[action]]))
    def fault(self, fault):
        # a hang costs a time-out, and the cases above have them; four commits of one mark with no answer, and then a
        # kill, are beyond what can be promised
        if fault[1] != "hang" and not (fault[0] == "metadata" and fault[1].startswith("commit")):
            self.world.emulator.faults.inject(fault[1], action=fault[0], times=1)

    @stateful.rule(seconds=st.sampled_from([1, 60, 200]), server=SERVERS)
    def time_passes(self, seconds, server):
        self.clock.now += seconds
        self.run(self.world.servers[server].call("sweep"))

    @stateful.rule(
        change=st.sampled_from(["crash", "oom", "vanish", "start", "stop", "update", "migrate"]), number=NUMBERS
    )
    def changes_from_outside(self, change, number):
        if box := self.pick(0, number):
            with contextlib.suppress(ApiError):  # it is not in the state for that
                self.run(self.outside(change, box))
            if change == "vanish":
                self.promised.discard(box.id)

    @stateful.rule(server=SERVERS)
    def restart(self, server):
        self.run(self.world.kill_server(server))
        self.run(self.world.servers[server].call("sweep"))

    @stateful.rule(server=SERVERS, turns=st.integers(0, 40))
    def killed_in_the_middle_of_a_create(self, server, turns):
        self.run(self.die_creating(server, turns))

    def pick_all(self, server):
        return self.world.servers[server].fleet.list()

    async def note(self, what, server, machine_id):
        """Make a call, and keep in mind what its user was told."""
        error = await self.world.servers[server].ask(what, machine_id)
        if what == "create" and error is None:
            self.promised.add(self.world.servers[server].created[-1])
        if what == "destroy":
            self.promised.discard(machine_id)
            if error is not None:
                self.doubtful.add(machine_id)  # the user was told that it may be there still

    async def overlap(self, calls):
        calls = [(what, server, self.pick(server, number)) for what, server, number in calls]
        await asyncio.gather(
            *(
                self.note(what, server, box and box.id)
                for what, server, box in calls
                if box is not None or what in ("create", "sweep")
            )
        )

    async def outside(self, change, box):
        emulator = self.world.emulator
        machine = emulator.machines.find("app", box.fly_machine_id)
        if change in ("crash", "oom", "vanish"):
            await getattr(emulator, change)(box.fly_machine_id)
        elif change == "update":
            emulator.machines.update(machine, {"config": machine.view()["config"]})
        elif change == "migrate":
            emulator.migrate(box.fly_machine_id)
        else:
            machine.start() if change == "start" else machine.stop(None)

    async def die_creating(self, server, turns):
        creating = asyncio.create_task(self.note("create", server, None))
        for _ in range(turns):
            await asyncio.sleep(0)
        self.unanswered += not creating.done()
        creating.cancel()
        await asyncio.wait([creating])
        await self.world.kill_server(server)

    def teardown(self):
        try:
            self.run(self.world.calm_down())
            self.run(self.world.assert_agreed())
            left = {box.id for box in self.world.fleet.list()}
            assert self.promised <= left
            assert len(left - self.promised - self.doubtful) <= self.unanswered
        finally:
            self.run(self.world.close())
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            self.loop.close()
            self.folder.cleanup()


class Clock:
    """Seconds since the epoch, turned by hand."""

    now = 1_800_000_000.0

    def __call__(self):
        return self.now


@pytest.mark.outside
@pytest.mark.logs_warnings
@pytest.mark.patience(300)  # forty walks
def test_any_sequence_of_calls_faults_time_and_restarts_ends_in_agreement():
    """Once the faults stop, the fleet equals the provider, and there is no machine unknown to it."""
    checks = settings(
        max_examples=40,
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=os.environ.get("CI") == "true",  # CI walks the same ways each time, developers new ones
    )
    stateful.run_state_machine_as_test(Walk, settings=checks)
