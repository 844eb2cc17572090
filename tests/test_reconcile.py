"""reconcile: Fly is the record, and the fleet follows it."""

import asyncio
import dataclasses
import random
from types import SimpleNamespace

import pytest

from aether import reconcile
from aether.app import Aether
from aether.emulator.options import Options
from aether.emulator.server import Emulator
from aether.fleet import Fleet
from aether.fly.client import FlyClient
from aether.fly.config import Birth, SshNetwork
from aether.idle import IdleSweeper
from aether.machines import FLY_GONE, Guest, MachineSpec
from aether.reconcile import REMEMBERED_S, YOUNG_S, Reconciler
from aether.ssh.keys import load_or_make_user_key
from tests.timelapse import Timelapse

SPEC = MachineSpec(name="box", region=None, guest=Guest("shared", 1, 512))
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
    """Anybody in a machine can forge metadata: it is a hint, and never a crash."""
    metadata = {"aether_deployment": "default", **damage}
    await aether._client.create("stranger", "", {"image": "i", "metadata": metadata})
    await aether.reconciler.reconcile()
    assert aether.fleet.list() == []


@pytest.mark.gen_test
async def test_machines_of_another_deployment_are_not_ours(aether):
    """Two deployments may share one Fly app."""
    await aether._client.create("theirs", "", {"image": "i", "metadata": {"aether_deployment": "theirs"}})
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


@pytest.mark.gen_test
async def test_a_machine_stopped_from_outside_is_noticed_and_its_terminal_told(aether, running, terminal):
    """Somebody used the Fly dashboard."""
    made = await running()
    tty = await terminal(made.id)
    await tty.until(PROMPT)
    await aether._client.stop(made.fly_machine_id)
    await aether._client.wait(made.fly_machine_id, "stopped", 30)
    await aether.reconciler.reconcile()
    assert made.state == "stopped"
    assert await tty.until_closed() == 4410
    assert tty.errors == ["Machine stopped from outside of aether."]


@pytest.mark.gen_test
async def test_a_machine_started_from_outside_runs_again(aether, running, until_state):
    """And its idle clock begins anew."""
    made = await running()
    aether.fleet.stop(made.id, "by user")
    await until_state(made.id, "stopped")
    await aether._client.start(made.fly_machine_id)
    await aether._client.wait(made.fly_machine_id, "started", 30)
    await aether.reconciler.reconcile()
    assert made.state == "running"


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_a_machine_destroyed_from_outside_is_forgotten_after_two_lists_and_a_reading(aether, running, clock):
    """One shorter list proves nothing."""
    made = await running()
    clock.now += YOUNG_S
    await aether._client.destroy(made.fly_machine_id)
    await aether._client.wait(made.fly_machine_id, "destroyed", 30)
    await aether.reconciler.reconcile()
    assert aether.fleet.list() == [made]
    await aether.reconciler.reconcile()
    assert aether.fleet.list() == []


@pytest.mark.gen_test
async def test_a_list_that_is_empty_again_and_again_drops_no_machine_that_lives(aether, running, clock, monkeypatch):
    """The machine itself is read before it is believed to be gone."""
    made = await running()
    clock.now += YOUNG_S

    async def empty(metadata):
        return []

    monkeypatch.setattr(aether._client, "list", empty)
    for _ in range(5):
        await aether.reconciler.reconcile()
    assert aether.fleet.list() == [made]
    assert made.state == "running"


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_what_a_failed_create_left_behind_is_destroyed(aether, running, clock):
    """The user was told it failed: nothing may bill."""
    made = await running()
    aether.fleet.forget(made.id)
    aether.fleet.births.failed[made.id] = clock.now
    await aether.reconciler.reconcile()
    await aether._client.wait(made.fly_machine_id, "destroyed", 30)
    assert aether.fleet.list() == []


@pytest.mark.gen_test
async def test_a_stale_list_does_not_bring_back_what_we_destroyed(aether, running, monkeypatch):
    """Or a ghost would appear after each delete."""
    made = await running()
    stale = await aether._client.list({"aether_deployment": "default"})
    await aether.fleet.destroy(made.id)

    async def old(metadata):
        return stale

    monkeypatch.setattr(aether._client, "list", old)
    await aether.reconciler.reconcile()
    assert aether.fleet.list() == []


@pytest.mark.gen_test
async def test_a_machine_in_the_middle_of_its_creation_is_not_adopted(aether, running):
    """Its creator is about to take it in."""
    made = await running()
    aether.fleet.forget(made.id)
    aether.fleet.births.under_way.add(made.id)
    await aether.reconciler.reconcile()
    assert aether.fleet.list() == []
    aether.fleet.births.under_way.discard(made.id)  # which closing would wait for


@pytest.mark.gen_test
async def test_activity_on_another_server_counts(aether, running, clock):
    """The other server publishes it; the future is not believed."""
    made = await running()
    await aether.fleet.find(made.id).activity._publishing
    for published, believed in ((clock.now + 300, clock.now + 300), (clock.now + 9e9, clock.now + 600)):
        clock.now += 300
        await aether._client.set_metadata(made.fly_machine_id, "aether_last_activity", f"{published:.0f}")
        await aether.reconciler.reconcile()
        assert made.last_activity_at == believed


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_a_copy_that_somebody_made_of_a_machine_is_left_alone(aether, running):
    """`fly machine clone` copies the metadata; the copy is not ours to destroy."""
    made = await running()
    metadata = {"aether_deployment": "default", "aether_id": made.id}
    copy = await aether._client.create("copy", "", {"image": "i", "metadata": metadata})
    await aether.reconciler.reconcile()
    assert aether.fleet.list() == [made]
    assert (await aether._client.get(copy.id)).state != "destroyed"


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
    await getattr(aether._emulator, end)(made.fly_machine_id, *([7] if end == "crash" else []))
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
    await aether._emulator.vanish(made.fly_machine_id)
    assert await tty.until_closed() == 4404


class Second:
    """Another server over the same provider."""

    def __init__(self, aether, settings, clock, birth=None):
        key = load_or_make_user_key(settings.state_dir / "ssh_key")
        self.client = FlyClient(aether._emulator.url, "local", aether._emulator.token)
        self.fleet = Fleet(self.client, birth or aether.fleet._birth, key, "", 10, 10, clock)
        self.reconciler = Reconciler(self.fleet, self.client, "default", clock)
        self.sweeper = IdleSweeper(self.fleet, self.reconciler, 600, 60, clock)

    async def close(self):
        await self.fleet.close()
        await self.client.close()


@pytest.fixture
def second(io_loop, aether, settings, clock):
    server = Second(aether, settings, clock)
    yield server
    io_loop.run_sync(server.close)


@pytest.mark.gen_test
async def test_a_machine_in_use_on_one_server_is_not_stopped_by_another(aether, second, running, terminal, clock):
    """Activity travels in the machine's metadata."""
    made = await running()
    await second.sweeper.sweep()
    tty = await terminal(made.id)
    await tty.until(PROMPT)
    clock.now += 599
    await tty.run("echo busy")
    await aether.fleet.find(made.id).activity._publishing
    clock.now += 2
    await second.sweeper.sweep()
    assert second.fleet.get(made.id).last_activity_at == clock.now - 2
    assert made.state == second.fleet.get(made.id).state == "running"


@pytest.mark.gen_test
async def test_a_machine_that_nobody_uses_is_stopped_by_whoever_comes_first(aether, second, running, clock):
    """And the other server notices."""
    made = await running()
    await second.reconciler.reconcile()
    clock.now += 600
    await second.sweeper.sweep()
    await second.fleet.find(made.id)._driver
    await aether.reconciler.reconcile()
    assert made.state == second.fleet.get(made.id).state == "stopped"


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_of_two_machines_with_one_port_the_older_keeps_it(aether, running, ports, monkeypatch):
    """Fly would share the port between them; the younger is made again with another."""
    older = await running()
    shared, free = next(ports), next(ports)
    real = aether._client.list

    async def sharing(metadata):
        if metadata == {"aether_ssh_port": str(shared)}:
            fly = await aether._client.get(older.fly_machine_id)
            return [dataclasses.replace(fly, created_at="2020-01-01T00:00:00Z")]
        return await real(metadata)

    monkeypatch.setattr(aether._client, "list", sharing)
    drawn = iter([shared, free])
    monkeypatch.setattr(aether.fleet.births, "_free_port", lambda taken: next(drawn))
    assert (await aether.fleet.create(SPEC)).ssh_port == free
    assert len(await real({"aether_deployment": "default"})) == 2


@pytest.mark.gen_test
async def test_what_is_long_past_is_not_remembered(aether, running, clock):
    """A server that runs for a year keeps no list of all that ever was."""
    made = await running()
    await aether.fleet.destroy(made.id)
    assert len(aether.fleet.destroyed) == 1
    clock.now += REMEMBERED_S + 1
    await aether.reconciler.reconcile()
    assert len(aether.fleet.destroyed) == 0


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_after_a_restart_the_original_is_adopted_and_not_its_copy(aether, running, monkeypatch):
    """Whatever order the list has: a delete must hit the user's machine."""
    made = await running()
    metadata = (await aether._client.get(made.fly_machine_id)).metadata
    await aether._client.create("copy", "", {"image": "i", "metadata": metadata})
    aether.fleet.forget(made.id)
    real = aether._client.list

    async def reversed_list(metadata):
        return (await real(metadata))[::-1]

    monkeypatch.setattr(aether._client, "list", reversed_list)
    await aether.reconciler.reconcile()
    assert [machine.fly_machine_id for machine in aether.fleet.list()] == [made.fly_machine_id]


@pytest.mark.gen_test
async def test_a_young_machine_that_lists_lack_is_left_alone(aether, running, monkeypatch):
    """Lists lag behind creations."""
    made = await running()
    await aether._emulator.vanish(made.fly_machine_id)
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
    await aether.fleet.find(made.id).activity._publishing
    await second.sweeper.sweep()
    assert made.state == second.fleet.get(made.id).state == "running"


@pytest.mark.gen_test
async def test_a_start_is_right_even_if_the_machine_was_stopped_from_outside_a_moment_ago(aether, running, until_state):
    """No sweep has come by: what we believe is checked before nothing is done."""
    made = await running()
    await aether._client.stop(made.fly_machine_id)
    await aether._client.wait(made.fly_machine_id, "stopped", 30)
    aether.fleet.start(made.id)
    await aether.fleet.find(made.id)._driver
    assert made.state == "running"
    assert (await aether._client.get(made.fly_machine_id)).state == "started"


@pytest.mark.gen_test
async def test_a_stop_is_right_even_if_the_machine_was_started_from_outside_a_moment_ago(aether, running, until_state):
    """Else it would go on billing although its user was told that it is stopped."""
    made = await running()
    aether.fleet.stop(made.id, "by user")
    await until_state(made.id, "stopped")
    await aether._client.start(made.fly_machine_id)
    await aether._client.wait(made.fly_machine_id, "started", 30)
    aether.fleet.stop(made.id, "by user")
    await aether.fleet.find(made.id)._driver
    assert made.state == "stopped"
    assert (await aether._client.get(made.fly_machine_id)).state == "stopped"


@pytest.mark.gen_test
async def test_a_start_of_a_running_machine_leaves_its_terminal_alone(aether, running, terminal):
    """Nothing is to do, also where Fly cannot be read just now."""
    made = await running()
    tty = await terminal(made.id)
    await tty.until(PROMPT)
    aether._emulator.faults.inject("unavailable", action="get", times=4)
    for _ in range(2):
        aether.fleet.start(made.id)
        await aether.fleet.find(made.id)._driver
    assert made.state == "running"
    assert "still here" in await tty.run("echo still here")


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_a_reading_that_never_ends_does_not_keep_idle_machines_running(
    aether, running, clock, monkeypatch, eventually
):
    """The sweep compares all machines at once, and not for ever."""
    first, other = await running(), await running()
    clock.now += 600
    await aether._client.stop(first.fly_machine_id)
    await aether._client.wait(first.fly_machine_id, "stopped", 30)
    aether._emulator.faults.inject("hang", action="get", times=1, machine=first.fly_machine_id)
    monkeypatch.setattr(aether._client, "_call_timeout_s", 3600)
    lapse = Timelapse(asyncio.get_running_loop())
    sweeping = asyncio.ensure_future(aether.sweeper.sweep())
    await eventually(lambda: aether._emulator.faults.hanging == 1)
    lapse.leap(reconcile.DEADLINE_S)
    await sweeping
    await aether.fleet.find(other.id)._driver
    assert other.state == "stopped"


@pytest.fixture
def sharing(io_loop, tmp_path, settings, clock):
    """Two servers over an emulator where machines may share a port, as on Fly."""
    emulator = Emulator(tmp_path / "fly", runtime="fast", options=Options(shared_ports=True), clock=clock)
    io_loop.run_sync(emulator.start)
    provider = SimpleNamespace(_emulator=emulator, fleet=None)
    birth = Birth("default", "image", 8, "coder", "ssh-ed25519 USER", SshNetwork("public", "127.0.0.1"))
    servers = [Second(provider, settings, clock, birth) for _ in range(2)]
    yield servers
    for server in servers:
        io_loop.run_sync(server.close)
    io_loop.run_sync(emulator.stop)


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_two_servers_that_draw_one_port_at_the_same_time_end_up_with_two(sharing, monkeypatch):
    """The older machine keeps it; the other is made again elsewhere, and nothing is left over."""
    for server in sharing:
        drawn = iter([29999, *random.sample(range(20000, 29999), 4)])
        monkeypatch.setattr(server.fleet.births, "_free_port", lambda taken, drawn=drawn: next(drawn))
    made = await asyncio.gather(*(server.fleet.create(SPEC) for server in sharing))
    assert len({machine.ssh_port for machine in made}) == 2
    assert 29999 in {machine.ssh_port for machine in made}
    listed = [fly for fly in await sharing[0].client.list({}) if fly.state not in FLY_GONE]
    assert {fly.id for fly in listed} == {machine.fly_machine_id for machine in made}


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_a_port_that_is_shared_after_all_is_noticed_and_the_younger_machine_says_so(sharing, monkeypatch, clock):
    """Lists lagged when it was created: its user is told what to do."""
    one, other = sharing
    first = await one.fleet.create(SPEC)
    clock.now += 1
    monkeypatch.setattr(other.fleet.births, "_free_port", lambda taken: first.ssh_port)
    monkeypatch.setattr(other.fleet.births, "_check_port", nothing)
    second = await other.fleet.create(SPEC)
    await one.reconciler.reconcile()
    assert first.error is None
    assert f"has port {first.ssh_port}, too" in one.fleet.get(second.id).error["message"]


async def nothing(*arguments):
    pass
