"""reconcile: Fly is the record, and the fleet follows it."""

import asyncio
import dataclasses
import functools
import random

import pytest

from aether.app import Aether
from aether.emulator.options import Options
from aether.emulator.server import Emulator
from aether.fleet import reconcile
from aether.fleet.assembly import FleetOptions, assemble
from aether.fleet.housekeeping import Housekeeping
from aether.fleet.reconcile import YOUNG_S
from aether.fleet.tombstones import KEPT_S
from aether.fly.client import FlyClient
from aether.fly.operations import Operations
from aether.fly.template import MachineTemplate, SshNetwork
from aether.machines import FLY_GONE, MachineSize, MachineSpec
from aether.ssh.keys import load_or_make_user_key, public_text
from tests.fly_client import InterceptedFlyClient
from tests.timelapse import Timelapse

SPEC = MachineSpec(name="box", region=None, size=MachineSize("shared", 1, 512))
PROMPT = "coder@aether:~$ "


@pytest.mark.gen_test
async def test_after_a_restart_the_machines_are_there_again_stopped(aether, io_loop, settings, clock, until_state):
    """Ids, names and keys come back from the provider's metadata."""
    before = await aether.fleet.create(SPEC)
    await until_state(before.id, "running")
    await aether.stop()
    again = Aether(settings, clock)
    await again.start()
    (after,) = again.fleet.list()
    assert (after.id, after.name, after.state) == (before.id, "box", "stopped")
    assert (after.ssh_port, after.host_public_key) == (before.ssh_port, before.host_public_key)
    await again.stop()


@pytest.mark.gen_test
@pytest.mark.logs_warnings
@pytest.mark.parametrize("damage", [{}, {"aether_id": "x"}, {"aether_host_key": "x"}, {"aether_ssh_port": "x"}])
async def test_a_machine_with_damaged_metadata_is_left_alone(aether, damage):
    """Root in a machine can forge metadata: it is a hint, and never a crash."""
    metadata = {"aether_deployment": "default", **damage}
    await aether.client.create("stranger", "", {"image": "i", "metadata": metadata})
    await aether.reconciler.reconcile()
    assert aether.fleet.list() == []


@pytest.mark.gen_test
async def test_machines_of_another_deployment_are_not_ours(aether):
    """Two deployments may share one Fly app."""
    await aether.client.create("theirs", "", {"image": "i", "metadata": {"aether_deployment": "theirs"}})
    await aether.reconciler.reconcile()
    assert aether.fleet.list() == []


@pytest.fixture
def running(aether, until_state):
    """`await running()` → a machine that runs."""

    async def create():
        made = await aether.fleet.create(SPEC)
        await until_state(made.id, "running")
        return made

    return create


@pytest.fixture
def stopped(aether, running, until_state):
    """`await stopped()` → a machine that ran until its user stopped it."""

    async def create():
        made = await running()
        aether.fleet.stop(made.id, "by user")
        await until_state(made.id, "stopped")
        return made

    return create


async def from_outside(aether, what, machine, state):
    """Have Fly start or stop a machine, as its dashboard would, and see that done."""
    await getattr(aether.client, what)(machine.fly_machine_id)
    await aether.client.wait(machine.fly_machine_id, state, 30)


async def assert_settled(aether, machine, ours, theirs):
    """The machine comes to rest in the state asked for, here and at Fly."""
    await aether.fleet.find(machine.id).settled()
    assert machine.state == ours
    assert (await aether.client.get(machine.fly_machine_id)).state == theirs


@pytest.mark.gen_test
async def test_a_machine_stopped_from_outside_is_noticed_and_its_terminal_told(aether, running, terminal):
    """By the Fly dashboard, say."""
    made = await running()
    tty = await terminal(made.id)
    await tty.until(PROMPT)
    await from_outside(aether, "stop", made, "stopped")
    await aether.reconciler.reconcile()
    assert made.state == "stopped"
    assert await tty.until_closed() == 4410
    assert tty.errors == ["Machine stopped from outside of aether."]


@pytest.mark.gen_test
async def test_a_machine_started_from_outside_runs_again(aether, stopped):
    """And its idle clock begins anew."""
    made = await stopped()
    await from_outside(aether, "start", made, "started")
    await aether.reconciler.reconcile()
    assert made.state == "running"


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_a_machine_destroyed_from_outside_is_forgotten_after_two_lists_and_a_reading(aether, running, clock):
    """One shorter list proves nothing."""
    made = await running()
    clock.now += YOUNG_S
    await aether.client.destroy(made.fly_machine_id)
    await aether.client.wait(made.fly_machine_id, "destroyed", 30)
    await aether.reconciler.reconcile()
    assert aether.fleet.list() == [made]
    await aether.reconciler.reconcile()
    assert aether.fleet.list() == []


@pytest.mark.gen_test
async def test_a_list_that_is_empty_again_and_again_drops_no_machine_that_lives(aether, running, clock):
    """The machine itself is read before it is believed to be gone."""
    made = await running()
    clock.now += YOUNG_S

    aether.client.instead["list"] = empty
    for _ in range(5):
        await aether.reconciler.reconcile()
    assert aether.fleet.list() == [made]
    assert made.state == "running"


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_what_a_failed_create_left_behind_is_destroyed(aether, running):
    """The user was told it failed: nothing may bill."""
    made = await running()
    aether.fleet.forget(made.id)
    aether.assembly.tombstones.add_failed(made.id)
    await aether.reconciler.reconcile()
    await aether.client.wait(made.fly_machine_id, "destroyed", 30)
    assert aether.fleet.list() == []


@pytest.mark.gen_test
async def test_a_stale_list_does_not_bring_back_what_we_destroyed(aether, running):
    """Or a ghost would appear after each delete."""
    made = await running()
    stale = await aether.client.list({"aether_deployment": "default"})
    await aether.fleet.destroy(made.id)

    async def old(metadata):
        return stale

    aether.client.instead["list"] = old
    await aether.reconciler.reconcile()
    assert aether.fleet.list() == []


@pytest.mark.gen_test
async def test_a_machine_in_the_middle_of_its_creation_is_not_adopted(aether):
    """It is adopted by the very call that creates it, also when its mark is off already."""
    is_off, may_answer = asyncio.Event(), asyncio.Event()

    async def set_metadata(fly_id, key, value):
        await FlyClient.set_metadata(aether.client, fly_id, key, value)
        is_off.set()
        await may_answer.wait()

    aether.client.instead["set_metadata"] = set_metadata
    creating = asyncio.ensure_future(aether.fleet.create(SPEC))
    await is_off.wait()
    await aether.reconciler.reconcile()
    assert aether.fleet.list() == []
    may_answer.set()
    assert [await creating] == aether.fleet.list()


@pytest.mark.gen_test
async def test_activity_on_another_server_counts(aether, running, clock):
    """The other server publishes it; the future is not believed."""
    made = await running()
    await aether.fleet.find(made.id).activity.published()
    for published, believed in ((clock.now + 300, clock.now + 300), (clock.now + 9e9, clock.now + 600)):
        clock.now += 300
        await aether.client.set_metadata(made.fly_machine_id, "aether_last_activity", f"{published:.0f}")
        await aether.reconciler.reconcile()
        assert made.last_activity_at == believed


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_a_copy_that_somebody_made_of_a_machine_is_left_alone(aether, running):
    """`fly machine clone` copies the metadata; the copy is not ours to destroy."""
    made = await running()
    metadata = {"aether_deployment": "default", "aether_id": made.id}
    copy = await aether.client.create("copy", "", {"image": "i", "metadata": metadata})
    await aether.reconciler.reconcile()
    assert aether.fleet.list() == [made]
    assert (await aether.client.get(copy.id)).state != "destroyed"


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("end", "reason"),
    [
        ("crash", "Machine stopped by itself, with exit code 7."),
        ("oom", "Machine stopped because it ran out of memory."),
    ],
)
async def test_a_terminal_learns_at_once_why_its_machine_died(aether, running, terminal, end, reason):
    """4410 with the reason, without waiting for a sweep."""
    made = await running()
    tty = await terminal(made.id)
    await tty.until(PROMPT)
    await getattr(aether.emulator, end)(made.fly_machine_id, *([7] if end == "crash" else []))
    assert await tty.until_closed() == 4410
    assert tty.errors == [reason]
    assert made.state == "stopped"


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_a_terminal_learns_that_its_machine_was_destroyed_from_outside(aether, running, terminal):
    """4404: nothing to come back to."""
    made = await running()
    tty = await terminal(made.id)
    await tty.until(PROMPT)
    await aether.emulator.vanish(made.fly_machine_id)
    assert await tty.until_closed() == 4404


class Second:
    """Another server over the same provider."""

    def __init__(self, emulator, key, clock):
        network = SshNetwork("public", "127.0.0.1")
        template = MachineTemplate("default", "image", 8, "coder", public_text(key), network)
        self.client = InterceptedFlyClient(emulator.url, "local", emulator.token)
        self.drawn_ports = []
        options = FleetOptions(choose_port=self.choose_port)
        assembly = assemble(Operations(self.client), template, key, options, clock)
        self.fleet, self.reconciler = assembly.fleet, assembly.reconciler
        self.housekeeping = Housekeeping(self.fleet, self.reconciler, 600, 60, clock)

    def choose_port(self, free):
        return self.drawn_ports.pop(0) if self.drawn_ports else random.choice(free)

    async def close(self):
        await self.fleet.close()
        await self.client.close()


@pytest.fixture
def second(io_loop, aether, settings, clock):
    key = load_or_make_user_key(settings.state_dir / "ssh_key")
    server = Second(aether.emulator, key, clock)
    yield server
    io_loop.run_sync(server.close)


@pytest.mark.gen_test
async def test_a_machine_in_use_on_one_server_is_not_stopped_by_another(aether, second, running, terminal, clock):
    """Activity travels in the machine's metadata."""
    made = await running()
    await second.housekeeping.sweep()
    tty = await terminal(made.id)
    await tty.until(PROMPT)
    clock.now += 599
    await tty.run("echo busy")
    await aether.fleet.find(made.id).activity.published()
    clock.now += 2
    await second.housekeeping.sweep()
    assert second.fleet.get(made.id).last_activity_at == clock.now - 2
    assert made.state == second.fleet.get(made.id).state == "running"


@pytest.mark.gen_test
async def test_a_machine_that_nobody_uses_is_stopped_by_whoever_comes_first(aether, second, running, clock):
    """And the other server notices."""
    made = await running()
    await second.reconciler.reconcile()
    clock.now += 600
    await second.housekeeping.sweep()
    await second.fleet.find(made.id).settled()
    await aether.reconciler.reconcile()
    assert made.state == second.fleet.get(made.id).state == "stopped"


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_of_two_machines_with_one_port_the_older_keeps_it(aether, running, ports, drawn_ports):
    """Fly would share the port between them; the younger is made again with another."""
    older = await running()
    shared, free = next(ports), next(ports)
    real = functools.partial(FlyClient.list, aether.client)

    async def sharing(metadata):
        if metadata == {"aether_ssh_port": str(shared)}:
            fly = await aether.client.get(older.fly_machine_id)
            return [dataclasses.replace(fly, created_at="2020-01-01T00:00:00Z")]
        return await real(metadata)

    aether.client.instead["list"] = sharing
    drawn_ports += [shared, free]
    assert (await aether.fleet.create(SPEC)).ssh_port == free
    assert len(await real({"aether_deployment": "default"})) == 2


@pytest.mark.gen_test
async def test_what_is_long_past_is_not_remembered(aether, running, clock):
    """A server that runs for a year keeps no list of all that ever was."""
    made = await running()
    await aether.fleet.destroy(made.id)
    assert len(aether.assembly.tombstones) == 1
    clock.now += KEPT_S + 1
    await aether.reconciler.reconcile()
    assert len(aether.assembly.tombstones) == 0


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_after_a_restart_the_original_is_adopted_and_not_its_copy(aether, running):
    """Whatever order the list has: a delete must hit the user's machine."""
    made = await running()
    metadata = (await aether.client.get(made.fly_machine_id)).metadata
    await aether.client.create("copy", "", {"image": "i", "metadata": metadata})
    aether.fleet.forget(made.id)
    real = functools.partial(FlyClient.list, aether.client)

    async def reversed_list(metadata):
        return (await real(metadata))[::-1]

    aether.client.instead["list"] = reversed_list
    await aether.reconciler.reconcile()
    assert [machine.fly_machine_id for machine in aether.fleet.list()] == [made.fly_machine_id]


@pytest.mark.gen_test
async def test_a_young_machine_that_lists_lack_is_left_alone(aether, running):
    """Lists lag behind creations."""
    made = await running()
    await aether.emulator.vanish(made.fly_machine_id)
    for _ in range(3):
        await aether.reconciler.reconcile()
    assert aether.fleet.list() == [made]


@pytest.mark.gen_test
async def test_a_machine_started_just_now_on_one_server_is_not_stopped_by_another(
    aether, second, running, until_state, clock
):
    """A start is activity, and published as such."""
    made = await running()
    await second.reconciler.reconcile()
    clock.now += 600
    aether.fleet.stop(made.id, "by user")
    await until_state(made.id, "stopped")
    aether.fleet.start(made.id)
    await until_state(made.id, "running")
    await aether.fleet.find(made.id).activity.published()
    await second.housekeeping.sweep()
    assert made.state == second.fleet.get(made.id).state == "running"


@pytest.mark.gen_test
async def test_a_start_is_right_even_if_the_machine_was_stopped_from_outside_a_moment_ago(aether, running):
    """No sweep has come by: what we believe is checked before nothing is done."""
    made = await running()
    await from_outside(aether, "stop", made, "stopped")
    aether.fleet.start(made.id)
    await assert_settled(aether, made, "running", "started")


@pytest.mark.gen_test
async def test_a_stop_is_right_even_if_the_machine_was_started_from_outside_a_moment_ago(aether, stopped):
    """Else it would go on billing although its user was told that it is stopped."""
    made = await stopped()
    await from_outside(aether, "start", made, "started")
    aether.fleet.stop(made.id, "by user")
    await assert_settled(aether, made, "stopped", "stopped")


@pytest.mark.gen_test
async def test_a_start_of_a_running_machine_leaves_its_terminal_alone(aether, running, terminal):
    """Nothing is to do, also where Fly cannot be read just now."""
    made = await running()
    tty = await terminal(made.id)
    await tty.until(PROMPT)
    aether.emulator.faults.inject("unavailable", action="get", times=4)
    for _ in range(2):
        aether.fleet.start(made.id)
        await aether.fleet.find(made.id).settled()
    assert made.state == "running"
    assert "still here" in await tty.run("echo still here")


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_a_reading_that_never_ends_does_not_keep_idle_machines_running(aether, running, clock):
    """The sweep compares all machines at once, and not for ever."""
    first, other = await running(), await running()
    clock.now += 600
    await from_outside(aether, "stop", first, "stopped")
    asked = asyncio.Event()

    async def get(fly_id):
        if fly_id == first.fly_machine_id and not asked.is_set():
            asked.set()
            await asyncio.Event().wait()
        return await FlyClient.get(aether.client, fly_id)

    aether.client.instead["get"] = get
    lapse = Timelapse(asyncio.get_running_loop())
    sweeping = asyncio.ensure_future(aether.housekeeping.sweep())
    await asked.wait()
    lapse.leap(reconcile.DEADLINE_S)
    await sweeping
    await aether.fleet.find(other.id).settled()
    assert other.state == "stopped"


@pytest.fixture
def sharing(io_loop, tmp_path, settings, clock):
    """Two servers over an emulator where machines may share a port, as on Fly."""
    emulator = Emulator(tmp_path / "fly", runtime="fast", options=Options(shared_ports=True), clock=clock)
    io_loop.run_sync(emulator.start)
    key = load_or_make_user_key(settings.state_dir / "ssh_key")
    servers = [Second(emulator, key, clock) for _ in range(2)]
    yield servers
    for server in servers:
        io_loop.run_sync(server.close)
    io_loop.run_sync(emulator.stop)


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_two_servers_that_draw_one_port_at_the_same_time_end_up_with_two(sharing):
    """The older machine keeps it; the other is made again elsewhere, and nothing is left over."""
    for server in sharing:
        server.drawn_ports += [29999, *random.sample(range(20000, 29999), 4)]
    made = await asyncio.gather(*(server.fleet.create(SPEC) for server in sharing))
    assert len({machine.ssh_port for machine in made}) == 2
    assert 29999 in {machine.ssh_port for machine in made}
    listed = [fly for fly in await sharing[0].client.list({}) if fly.state not in FLY_GONE]
    assert {fly.id for fly in listed} == {machine.fly_machine_id for machine in made}


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_a_port_that_is_shared_after_all_is_noticed_and_the_younger_machine_says_so(sharing, clock):
    """Lists lagged when it was created: its user is told what to do."""
    one, other = sharing
    first = await one.fleet.create(SPEC)
    clock.now += 1
    other.drawn_ports.append(first.ssh_port)
    other.client.instead["list"] = empty
    second = await other.fleet.create(SPEC)
    await one.reconciler.reconcile()
    assert first.error is None
    assert f"has port {first.ssh_port}, too" in one.fleet.get(second.id).error["message"]


async def empty(metadata):
    return []
