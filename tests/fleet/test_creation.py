"""creation: one machine for a request that succeeds, none for one that fails, whichever server dies in between."""

import pytest

from aether.app import Timing
from aether.errors import ProviderError, ProviderTimeout
from aether.fleet.creation import PENDING_S
from aether.machines import MachineSize, MachineSpec

SPEC = MachineSpec(name="box", region=None, size=MachineSize("shared", 1, 512))


@pytest.fixture
def at_fly(aether):
    """`await at_fly()` → the machines Fly has."""

    async def machines():
        return await aether.client.list({"aether_deployment": "default"})

    return machines


@pytest.fixture
def orphan(aether, at_fly):
    """`await orphan()` → the id of what a server that was killed in the middle of a create has left."""

    async def make():
        machine = await aether.fleet.create(SPEC)
        await aether.fleet.find(machine.id).close(ProviderError("killed"))
        aether.fleet.forget(machine.id)
        await aether.client.set_metadata(machine.fly_machine_id, "aether_pending", aether.client.seals[machine.id])
        return machine.fly_machine_id

    return make


@pytest.mark.gen_test
async def test_a_machine_is_pending_until_its_caller_is_told_of_it(aether, at_fly):
    """The mark it is created with goes before the answer."""
    machine = await aether.fleet.create(SPEC)
    (fly,) = await at_fly()
    assert len(aether.client.seals[machine.id]) == 64
    assert fly.metadata["aether_pending"] == "no"


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_what_a_killed_server_left_is_destroyed_once_no_create_can_be_under_way(aether, orphan, clock):
    """Until then it may be the machine of another server that is about to answer."""
    fly_id = await orphan()
    await aether.client.wait(fly_id, "started", 30)
    await aether.reconciler.reconcile()
    assert (aether.fleet.list(), (await aether.client.get(fly_id)).state) == ([], "started")
    clock.now += PENDING_S + 60
    await aether.reconciler.reconcile()
    await aether.client.wait(fly_id, "destroyed", 30)
    assert aether.fleet.list() == []


@pytest.mark.gen_test
async def test_a_mark_that_somebody_else_made_destroys_nothing(aether, orphan, clock):
    """Root in one machine can write the metadata of all: such a machine is kept, and listed."""
    fly_id = await orphan()
    await aether.client.set_metadata(fly_id, "aether_pending", "0" * 64)
    clock.now += PENDING_S + 60
    await aether.reconciler.reconcile()
    (machine,) = aether.fleet.list()
    assert machine.fly_machine_id == fly_id


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_a_list_from_before_does_not_destroy_a_machine_that_was_handed_out(aether, orphan, clock):
    """The machine itself is read first."""
    fly_id = await orphan()
    aether.emulator.faults.inject("stale-list", times=1)
    await aether.client.set_metadata(fly_id, "aether_pending", "no")
    clock.now += PENDING_S + 60
    await aether.reconciler.reconcile()
    assert aether.fleet.list() == []
    await aether.reconciler.reconcile()
    assert [machine.fly_machine_id for machine in aether.fleet.list()] == [fly_id]


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_a_mark_that_cannot_be_taken_off_fails_the_create(aether, at_fly):
    """Else the machine might be destroyed later, with a user's work in it."""
    aether.emulator.faults.inject("unavailable", action="metadata", times=4)
    with pytest.raises(ProviderError):
        await aether.fleet.create(SPEC)
    assert await at_fly() == []


@pytest.mark.gen_test
async def test_a_replica_that_does_not_know_the_new_machine_yet_is_asked_again(aether, at_fly):
    """404 after create (superfly/flyctl#4618)."""
    aether.emulator.faults.inject("not-found", action="metadata", times=1)
    machine = await aether.fleet.create(SPEC)
    assert (await aether.client.get(machine.fly_machine_id)).metadata["aether_pending"] == "no"


class TestRefusal:
    """Where no replica lags: what Fly refuses is not asked again."""

    @pytest.fixture
    def timing(self):
        return Timing(replica_lag_s=0.0)

    @pytest.mark.gen_test
    async def test_a_mark_that_fly_refused_to_take_off_is_taken_off_by_a_sweep(self, aether):
        """Whether a machine that is `created` takes metadata is not established."""

        async def refusing(fly_id, key, value):
            raise ProviderError("not in this state", status=412)

        aether.client.instead["set_metadata"] = refusing
        machine = await aether.fleet.create(SPEC)
        aether.client.instead.clear()
        assert len((await aether.client.get(machine.fly_machine_id)).metadata["aether_pending"]) == 64
        await aether.reconciler.reconcile()
        assert (await aether.client.get(machine.fly_machine_id)).metadata["aether_pending"] == "no"


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_a_machine_whose_port_may_be_shared_is_not_handed_out(aether, at_fly):
    """A list that cannot be read fails the create, and nothing of it is left."""
    aether.emulator.faults.inject("unavailable", action="list", times=4)
    with pytest.raises((ProviderError, ProviderTimeout)):
        await aether.fleet.create(SPEC)
    assert await at_fly() == []
