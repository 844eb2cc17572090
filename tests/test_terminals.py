"""terminals: how the end of a machine reaches its terminals."""

import asyncssh
import pytest

from aether.errors import MachineNotRunning, MachineStopped
from aether.messages import Resize, TerminalQuery
from aether.ssh.client import SshLink
from aether.ssh.keys import make_host_key
from aether.terminals import DIAGNOSES, Terminals

QUERY = TerminalQuery(Resize(80, 24), is_reconnect=False)


class Client:
    """Notes with which code it was closed."""

    code = None

    def send(self, message):
        pass

    def end(self, code, reason):
        self.code = code


class Owner:
    """A machine whose fate the test decides."""

    def __init__(self):
        self.error, self.checks, self.pauses, self.stops_at = None, 0, 0, None

    async def until_running(self):
        raise MachineNotRunning("no")

    async def check(self):
        self.checks += 1
        if self.checks == self.stops_at:
            self.error = MachineStopped("Machine stopped because it ran out of memory.")

    async def pause(self, seconds):
        self.pauses += 1


@pytest.fixture
def owner():
    return Owner()


@pytest.fixture
def terminals(owner):
    key = asyncssh.generate_private_key("ssh-ed25519")
    link = SshLink(lambda: ("127.0.0.1", 9), "coder", key, make_host_key().public)
    return Terminals(link, None, owner.until_running, lambda: owner.error, owner.check, owner.pause)


@pytest.mark.gen_test
async def test_a_terminal_on_a_machine_that_will_not_run_is_refused_and_forgotten(terminals):
    """4409, and nothing is left."""
    client = Client()
    session = terminals.open(client, QUERY)
    assert len(terminals) == 1
    await session.wait_ended()
    assert (client.code, len(terminals)) == (4409, 0)


@pytest.mark.gen_test
async def test_fly_is_asked_until_it_has_noticed_too(terminals, owner):
    """We may see the end of a machine before Fly does."""
    owner.stops_at = 2
    assert isinstance(await terminals._diagnose(), MachineStopped)
    assert (owner.checks, owner.pauses) == (2, 1)


@pytest.mark.gen_test
async def test_a_machine_that_runs_on_has_only_lost_a_connection(terminals, owner):
    """Then the client may reconnect."""
    assert await terminals._diagnose() is None
    assert owner.checks == DIAGNOSES


@pytest.mark.gen_test
async def test_ending_the_terminals_tells_all_of_them(terminals):
    """Also those that still wait."""
    clients = [Client(), Client()]
    for client in clients:
        terminals.open(client, QUERY)
    await terminals.end(MachineStopped("Machine stopped by user."))
    assert [client.code for client in clients] == [4410, 4410]
    assert len(terminals) == 0
