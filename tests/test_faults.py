"""Whatever Fly does, no machine is lost, doubled or left billing, and the caller is told the truth.

Each fault of the emulator × each call, and a random walk over calls, faults, time and restarts of the server. Machines
are the emulator's fast ones: states without processes.
"""

import asyncio
import contextlib
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import asyncssh
import pytest
from hypothesis import HealthCheck, settings, stateful
from hypothesis import strategies as st

from aether.emulator.api import Emulator
from aether.emulator.requests import ApiError
from aether.errors import AetherError
from aether.fleet import Fleet
from aether.fly.client import FlyClient
from aether.fly.config import Birth, SshNetwork
from aether.machines import Guest, MachineSpec
from aether.reconcile import YOUNG_S, Reconciler
from aether.ssh.keys import public_text

SPEC = MachineSpec(name=None, region=None, guest=Guest("shared", 1, 512))
PASSING = ["unavailable", "rate-limit", "lose-408", "lose-503", "lose-drop", "commit-408", "commit-500", "commit-drop"]
FAULTS = {
    "create": [*PASSING, "hang", "garbage", "no-capacity", "quota"],
    "start": [*PASSING, "hang", "garbage", "no-capacity"],
    "stop": [*PASSING, "hang", "garbage"],
    "destroy": [*PASSING, "hang", "garbage"],
    "get": ["unavailable", "rate-limit", "lose-drop", "hang", "garbage", "not-found", "host-unreachable", "stale-get"],
    "list": ["unavailable", "rate-limit", "lose-drop", "hang", "garbage", "empty-list", "stale-list"],
    "wait": ["unavailable", "rate-limit", "lose-408", "lose-drop", "garbage"],
    "metadata": [*PASSING, "hang", "not-found"],
}
CALLS = ["create", "start", "stop", "destroy", "sweep"]


class Server:
    """A server over a provider, which knows only what that tells."""

    def __init__(self, url, key, clock):
        birth = Birth("here", "image", 8, "coder", public_text(key), SshNetwork("public", "127.0.0.1"))
        self.client = FlyClient(url, "app", "T", pause, call_timeout_s=0.3)
        self.fleet = Fleet(self.client, birth, key, "", 100, 100, clock)
        self.fleet._transitions.pause = pause
        self.reconciler = Reconciler(self.fleet, self.client, "here", clock)
        self.created = []  # ids of the machines whose users were told so

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
        for entry in self.fleet.entries():
            while entry.is_busy():
                await asyncio.wait([entry._destroying or entry._driver])

    async def close(self):
        await self.fleet.close()
        await self.client.close()


async def pause(seconds):
    """Stand in for asyncio.sleep: no time passes but a turn of the loop."""
    await asyncio.sleep(0)


class World:
    """A provider that lives on, and servers over it that may be replaced."""

    def __init__(self, folder, clock, count=1):
        self.clock = clock
        self.emulator = Emulator(state_dir=folder, token="T", runtime="fast", clock=clock)
        self.key = asyncssh.generate_private_key("ssh-ed25519")
        self.count = count

    async def open(self):
        await self.emulator.start()
        self.servers = [self.server() for _ in range(self.count)]

    def server(self):
        return Server(self.emulator.url, self.key, self.clock)

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
        """Each fleet is what the provider has: nothing lost, nothing doubled, nobody unknown."""
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
        machine = emulator.machine("app", box.fly_machine_id)
        if change in ("crash", "oom", "vanish"):
            await getattr(emulator, change)(box.fly_machine_id)
        elif change == "update":
            emulator.update(machine, {"config": machine.view()["config"]})
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


@pytest.mark.logs_warnings
def test_any_sequence_of_calls_faults_time_and_restarts_ends_in_agreement():
    """Once the faults stop, the fleet equals the provider, and there is no machine that nobody knows."""
    checks = settings(
        max_examples=40,
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=os.environ.get("CI") == "true",  # CI walks the same ways each time, developers new ones
    )
    stateful.run_state_machine_as_test(Walk, settings=checks)
