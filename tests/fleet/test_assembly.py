"""assembly: the parts of one fleet share what they must."""

import asyncssh
import pytest

from aether.emulator.server import Emulator
from aether.errors import LimitExceeded
from aether.fleet.assembly import FleetOptions, assemble
from aether.fly.operations import Operations
from aether.fly.template import MachineTemplate, SshNetwork
from aether.machines import MachineSize, MachineSpec
from tests.fly_client import InterceptedFlyClient

SPEC = MachineSpec(name="box", region=None, size=MachineSize("shared", 1, 512))


@pytest.fixture
def emulator(io_loop, tmp_path, clock):
    emulator = Emulator(tmp_path, "T", runtime="fast", clock=clock)
    io_loop.run_sync(emulator.start)
    yield emulator
    io_loop.run_sync(emulator.stop)


@pytest.fixture
def assembly(io_loop, emulator, clock):
    key = asyncssh.generate_private_key("ssh-ed25519")
    client = InterceptedFlyClient(emulator.url, "app", "T")
    template = MachineTemplate("here", "image", 8, "coder", "ssh-ed25519 USER", SshNetwork("public", "127.0.0.1"))
    options = FleetOptions(max_machines=1, choose_port=lambda free: free[7])
    assembly = assemble(Operations(client), template, key, options, clock)
    yield assembly
    io_loop.run_sync(assembly.fleet.close)
    io_loop.run_sync(client.close)


@pytest.mark.gen_test
async def test_a_fleet_has_the_options_it_was_given(assembly):
    """Its port is the one that was chosen, and there is room for one machine."""
    machine = await assembly.fleet.create(SPEC)
    assert machine.ssh_port == 20007
    with pytest.raises(LimitExceeded, match="AETHER_MAX_MACHINES"):
        await assembly.fleet.create(SPEC)


@pytest.mark.gen_test
async def test_what_the_fleet_destroyed_is_known_to_what_compares_it_with_fly(assembly, emulator):
    """Else a list that lags would bring it back."""
    machine = await assembly.fleet.create(SPEC)
    stale = emulator.faults.inject("stale-list")
    await assembly.fleet.destroy(machine.id)
    assert assembly.tombstones.has_destroyed(machine.fly_machine_id)
    await assembly.reconciler.reconcile()
    assert assembly.fleet.list() == []
    assert stale not in emulator.faults.active
