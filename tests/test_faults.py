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
}
CALLS = ["create", "start", "stop", "destroy", "sweep"]


class World:
    """A provider that lives on, and a server over it that may be replaced."""

    def __init__(self, folder, clock):
        self.clock = clock
        self.emulator = Emulator(state_dir=folder, token="T", runtime="fast")
        self.key = asyncssh.generate_private_key("ssh-ed25519")

    async def open(self):
        await self.emulator.start()
        self.serve()

    def serve(self):
        """Begin a server that knows nothing."""
        birth = Birth("here", "image", 8, "coder", public_text(self.key), SshNetwork("public", "127.0.0.1"))
        self.client = FlyClient(self.emulator.url, "app", "T", self.pause, call_timeout_s=0.3)
        self.fleet = Fleet(self.client, birth, self.key, "", 100, 100, self.clock)
        self.fleet._transitions.pause = self.pause
        self.reconciler = Reconciler(self.fleet, self.client, "here", self.clock)

    async def pause(self, seconds):
        """Stand in for asyncio.sleep: no time passes but a turn of the loop."""
        await asyncio.sleep(0)

    async def kill_server(self):
        """End the server as `kill -9` would, as far as the provider can tell, and begin another."""
        await self.fleet.close()
        self.client.close()
        self.serve()

    async def close(self):
        self.emulator.faults.clear()
        await self.fleet.close()
        self.client.close()
        await self.emulator.stop()

    async def call(self, what, machine_id=None):
        """Make one call as a user would; return its error, None if it was accepted."""
        try:
            if what == "create":
                await self.fleet.create(SPEC)
            elif what == "sweep":
                await self.reconciler.reconcile()
            elif what == "destroy":
                await self.fleet.destroy(machine_id)
            else:
                getattr(self.fleet, what)(machine_id, *(["by user"] if what == "stop" else []))
        except AetherError as error:
            assert str(error)
            return error
        await self.settle()
        return None

    async def settle(self):
        """Wait until nothing of ours is under way."""
        for entry in self.fleet.entries():
            while entry.is_busy():
                await asyncio.wait([entry._destroying or entry._driver])

    async def calm_down(self):
        """The faults stop, time passes, sweeps come by."""
        self.emulator.faults.clear()
        for _ in range(4):
            self.clock.now += YOUNG_S
            await self.settle()
            await self.reconciler.reconcile()
        await self.settle()

    async def machines(self):
        """Return what the provider has: Fly's id → state."""
        return {fly.id: fly.state for fly in await self.client.list({}) if fly.state != "destroyed"}

    async def assert_agreed(self):
        """The fleet is what the provider has: nothing lost, nothing doubled, nobody unknown."""
        theirs = await self.machines()
        ours = {machine.fly_machine_id: machine.state.value for machine in self.fleet.list()}
        assert set(ours) == set(theirs)
        for fly_id, state in ours.items():
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


class Walk(stateful.RuleBasedStateMachine):
    """Any sequence of user calls, faults, time steps and restarts ends in agreement once the faults stop."""

    def __init__(self):
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = TemporaryDirectory()
        self.clock = Clock()
        self.promised, self.doubtful = set(), set()  # machines that users were told they have
        self.failed_creates = 0
        self.run(self.begin())

    async def begin(self):
        self.world = World(Path(self.folder.name), self.clock)
        await self.world.open()

    def run(self, work):
        return self.loop.run_until_complete(work)

    def pick(self, number):
        machines = self.world.fleet.list()
        return machines[number % len(machines)] if machines else None

    @stateful.rule()
    def create(self):
        before = {box.id for box in self.world.fleet.list()}
        if len(before) < 4:
            if self.run(self.world.call("create")) is None:
                self.promised |= {box.id for box in self.world.fleet.list()} - before
            else:
                self.failed_creates += 1  # after a restart nobody knows that what it left is an orphan: it is adopted

    @stateful.rule(what=st.sampled_from(["start", "stop"]), number=st.integers(0, 3))
    def user_call(self, what, number):
        if box := self.pick(number):
            self.run(self.world.call(what, box.id))

    @stateful.rule(number=st.integers(0, 3))
    def destroy(self, number):
        if box := self.pick(number):
            error = self.run(self.world.call("destroy", box.id))
            self.promised.discard(box.id)
            if error is not None:
                self.doubtful.add(box.id)  # the user was told that it may be there still

    @stateful.rule(what=st.sampled_from(["start", "stop"]), number=st.integers(0, 3))
    def call_without_waiting(self, what, number):
        """Leave the transition under way."""
        box = self.pick(number)
        if box and not self.world.fleet.find(box.id)._destroying:
            self.run(self.hurry(what, box.id))

    async def hurry(self, what, machine_id):
        getattr(self.world.fleet, what)(machine_id, *(["by user"] if what == "stop" else []))

    @stateful.rule(fault=st.sampled_from([(action, kind) for action in FAULTS for kind in FAULTS[action]]))
    def fault(self, fault):
        if fault[1] != "hang":  # each costs a time-out: the cases above have them
            self.world.emulator.faults.inject(fault[1], action=fault[0], times=1)

    @stateful.rule(seconds=st.sampled_from([1, 60, 200]))
    def time_passes(self, seconds):
        self.clock.now += seconds
        self.run(self.world.call("sweep"))

    @stateful.rule(end=st.sampled_from(["crash", "oom"]), number=st.integers(0, 3))
    def ends_by_itself(self, end, number):
        if box := self.pick(number):
            with contextlib.suppress(ApiError):  # it does not run just now
                self.run(getattr(self.world.emulator, end)(box.fly_machine_id))

    @stateful.rule()
    def restart(self):
        self.run(self.world.kill_server())
        self.run(self.world.call("sweep"))

    def teardown(self):
        try:
            self.run(self.world.calm_down())
            self.run(self.world.assert_agreed())
            left = {box.id for box in self.world.fleet.list()}
            assert self.promised <= left
            assert len(left - self.promised - self.doubtful) <= self.failed_creates
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
