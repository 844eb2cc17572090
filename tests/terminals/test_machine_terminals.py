"""machine_terminals: how the end of a machine reaches its terminals."""

import asyncio

import pytest

from aether.errors import MachineNotRunning, MachineStopped, SshError
from aether.host_file import PtyHostFile
from aether.messages import Resize, TerminalQuery
from aether.terminals.keeping import SessionPolicy, Sessions
from aether.terminals.machine_terminals import MachineTerminals
from tests.terminals.conftest import Client
from tests.timelapse import Timelapse

QUERY = TerminalQuery(Resize(80, 24), is_reconnect=False)


@pytest.fixture
def terminals(machine, pool, pause):
    return MachineTerminals(machine, pool, pause=pause)


@pytest.mark.gen_test
async def test_a_terminal_on_a_machine_that_will_not_run_is_refused_and_forgotten(terminals, machine, client):
    """4409, and nothing is left."""
    machine.refusal = MachineNotRunning("no")
    terminal = terminals.open(client, QUERY)
    assert len(terminals) == 1
    await terminal.wait_ended()
    assert (client.ended[0], len(terminals)) == (4409, 0)


@pytest.mark.gen_test
async def test_ending_the_terminals_tells_all_of_them(terminals, pool):
    """Also those that still wait; then the connections are closed."""
    clients = [Client(), Client()]
    for client in clients:
        terminals.open(client, QUERY)
    await terminals.end(MachineStopped("Machine stopped by user."))
    assert [client.ended[0] for client in clients] == [4410, 4410]
    assert len(terminals) == 0
    assert pool.is_closed


@pytest.mark.gen_test
async def test_a_machine_that_does_not_close_its_terminals_is_not_waited_for_longer_than_said(terminals, client):
    """It may be frozen."""
    lapse = Timelapse(asyncio.get_running_loop())
    terminal = terminals.open(client, QUERY)
    await terminal.wait_ended()  # its opening
    ending = asyncio.ensure_future(terminals.end(MachineStopped("Machine stopped by user."), 3))
    await lapse.elapse(2)
    assert client.ended is None
    await lapse.elapse(2)
    await ending
    assert client.ended[0] == 4410


@pytest.mark.gen_test
async def test_a_page_that_comes_back_ends_the_terminal_it_has_let_go_of(machine, pool, host_pool, pause):
    """Else the two would take the session from each other; another page's is left alone."""
    session, page, other = (f"00000000-0000-4000-8000-00000000000{number}" for number in (1, 2, 3))
    terminals = MachineTerminals(machine, pool, Sessions(PtyHostFile(b""), SessionPolicy()), pause)
    clients = [Client() for _ in range(3)]
    for client, name in zip(clients, (page, other, page), strict=True):
        terminals.open(client, TerminalQuery(Resize(80, 24), False, session, None, name))
    assert [client.ended is not None for client in clients] == [True, False, False]
    await terminals.end(MachineStopped("Machine stopped by user."))


@pytest.mark.gen_test
async def test_a_machine_that_ends_while_its_sessions_are_listed_has_none(machine, pool, host_pool, pause):
    """That is no failure."""
    terminals = MachineTerminals(machine, host_pool, Sessions(PtyHostFile(b""), SessionPolicy()), pause)

    async def fail(command, data=b""):
        machine.error = MachineStopped("Machine stopped by user.")
        raise SshError("the connections to the machine were ended; try again")

    host_pool.run = fail
    assert await terminals.sessions() == []
