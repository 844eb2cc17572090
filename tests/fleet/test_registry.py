"""registry: the machines in memory, and Fly as their record."""

import json

import pytest

from aether.errors import LimitExceeded, ProviderError, ShuttingDown
from aether.fleet.creation import PORT_ATTEMPTS
from aether.machines import MachineSize, MachineSpec
from aether.messages import Resize, TerminalQuery

SPEC = MachineSpec(name="box", region=None, size=MachineSize("shared", 1, 512))


@pytest.mark.gen_test
async def test_a_machine_is_created_with_what_the_config_says(aether):
    """Name, metadata and a file system that survives a stop are at the provider."""
    machine = await aether.fleet.create(SPEC)
    fly = await aether.client.get(machine.fly_machine_id)
    assert fly.name == f"box-{machine.id[:8]}"
    assert fly.metadata["aether_id"] == machine.id
    assert fly.config["rootfs"]["persist"] == "always"
    assert machine.region == fly.region


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_a_port_that_is_taken_is_replaced_by_another(aether, ports, drawn_ports):
    """Another program may hold the port that was drawn."""
    first = await aether.fleet.create(SPEC)
    drawn_ports += [first.ssh_port, first.ssh_port, next(ports)]
    second = await aether.fleet.create(SPEC)
    assert second.ssh_port != first.ssh_port


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_a_create_that_fails_leaves_no_machine_behind(aether, drawn_ports):
    """The caller gets the error, the list stays as it was."""
    first = await aether.fleet.create(SPEC)
    drawn_ports += [first.ssh_port] * PORT_ATTEMPTS
    with pytest.raises(ProviderError):
        await aether.fleet.create(SPEC)
    assert aether.fleet.list() == [first]


@pytest.mark.gen_test
async def test_a_closing_fleet_takes_no_more_work(aether, app):
    """Callers are told to come back."""
    machine = await aether.fleet.create(SPEC)
    await aether.fleet.close()
    with pytest.raises(ShuttingDown):
        await aether.fleet.create(SPEC)
    with pytest.raises(ShuttingDown):
        aether.fleet.start(machine.id)


class Client:
    """A client that notes what it is told."""

    def send(self, message):
        self.said = json.loads(message)

    def end(self, code, reason):
        self.code = code


class TestTerminals:
    """With room for one terminal."""

    @pytest.fixture
    def settings(self, server_environ):
        from aether.settings import load

        return load(["--max-sessions", "1"], server_environ)

    @pytest.mark.gen_test
    async def test_more_terminals_than_the_limit_are_refused(self, aether):
        """429, or 4429 over the WebSocket."""
        machine = await aether.fleet.create(SPEC)
        query = TerminalQuery(Resize(80, 24), is_reconnect=False)
        terminal = aether.fleet.open_terminal(machine.id, Client(), query)
        with pytest.raises(LimitExceeded, match="AETHER_MAX_SESSIONS"):
            aether.fleet.open_terminal(machine.id, Client(), query)
        terminal.end(None)
        await terminal.wait_ended()
        aether.fleet.open_terminal(machine.id, Client(), query)


class TestPorts:
    """With one external port for all machines."""

    @pytest.fixture
    def settings(self, server_environ, ports):
        from aether.settings import load

        return load([], {**server_environ, "AETHER_SSH_PORTS": f"{(port := next(ports))}-{port}"})

    @pytest.mark.gen_test
    async def test_machines_get_one_of_the_allowed_ports_and_none_else(self, aether, settings):
        """Where none is left, the message says which setting has more."""
        assert (await aether.fleet.create(SPEC)).ssh_port in settings.ssh_ports
        with pytest.raises(LimitExceeded, match=r"all 1 SSH ports are taken.*AETHER_SSH_PORTS"):
            await aether.fleet.create(SPEC)
