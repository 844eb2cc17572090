"""terminal: a shell and its client, from the opening to whichever end closes first."""

import pytest

from aether.errors import MachineNotRunning, MachineStopped, SshError
from aether.host_file import PtyHostFile
from aether.messages import Ack, Input, Resize, TerminalQuery
from aether.terminals.diagnosis import DIAGNOSES, Diagnosis
from aether.terminals.flow import TypingPriority
from aether.terminals.frames import json_frame
from aether.terminals.keeping import SessionPolicy, Sessions
from aether.terminals.shell import ShellSession
from aether.terminals.terminal import ATTEMPTS, MAX_PENDING_INPUT_BYTES, Terminal
from tests.terminals.conftest import failing

SESSION = {
    "id": "00000000-0000-4000-8000-000000000001", "is_new": False, "offset": 0, "until": 0, "end": 0, "lost": 0,
    "taken": 0, "modes": None, "waiting": 0,
}  # fmt: skip
OUT_OF_MEMORY = MachineStopped("Machine stopped because it ran out of memory.")


@pytest.mark.gen_test
async def test_a_client_that_lost_its_shell_is_told_so_before_anything_else(open_terminal, client, pool):
    """The new shell's output comes after it."""
    await open_terminal(is_reconnect=True)
    pool.shell.data_received(b"$ ", None)
    assert [message["type"] for message in client.said] == ["reconnected", "output"]


@pytest.mark.gen_test
async def test_a_shell_that_writes_nothing_is_announced(open_terminal, client):
    """From now on keys reach it."""
    await open_terminal()
    assert client.said == [{"type": "output", "data": ""}]


@pytest.mark.gen_test
async def test_a_client_s_messages_reach_the_shell_and_its_credit(open_terminal, channel, machine):
    """Keys and sizes go down the channel, and keys count as use."""
    terminal = await open_terminal()
    terminal.feed(Resize(100, 30))
    terminal.feed(Input(b"x"))
    terminal.feed(Ack(0))
    assert (channel.done, channel.written) == ([(100, 30)], b"x")
    assert machine.activity.heard == ["input"]
    terminal.end(None)


@pytest.mark.gen_test
async def test_input_that_is_not_read_is_bounded(open_terminal, client, channel):
    """A program that does not read cannot fill the server's memory."""
    terminal = await open_terminal()
    channel.unread = MAX_PENDING_INPUT_BYTES + 1
    terminal.feed(Input(b"x"))
    assert client.ended[0] == 4429
    terminal.feed(Input(b"y"))
    assert channel.written == b"x"


@pytest.mark.gen_test
async def test_keys_that_come_while_the_shell_s_channel_closes_are_dropped(open_terminal, channel):
    """There is no shell any more to read them; writing would raise."""
    terminal = await open_terminal()
    channel.is_closed = True
    terminal.feed(Input(b"late"))
    terminal.feed(Resize(100, 30))
    assert (channel.done, channel.written) == ([], b"")


@pytest.mark.gen_test
async def test_an_exit_is_told_with_its_status(open_terminal, client, pool):
    """1000, a normal end."""
    await open_terminal()
    pool.shell.exit_status_received(3)
    pool.shell.connection_lost(None)
    assert client.ended == (1000, "shell exited with status 3")


@pytest.mark.gen_test
async def test_the_end_of_a_stopped_machine_s_shell_is_told_as_a_stop(open_terminal, client, machine, pool):
    """However the shell dies first, the user hears of the stop."""
    await open_terminal()
    machine.error = MachineStopped("Machine stopped by user.")
    pool.shell.exit_signal_received("HUP", False, "", "")
    pool.shell.connection_lost(None)
    assert client.ended == (4410, "Machine stopped by user.")


@pytest.mark.gen_test
async def test_a_lost_connection_is_told_from_an_exit(open_terminal, client, machine, pool, pause):
    """Without an exit status it was the connection: 4502, so that the page reconnects; Fly was asked what happened."""
    terminal = await open_terminal()
    pool.shell.connection_lost(None)
    await terminal.wait_ended()
    assert client.ended[0] == 4502
    assert client.said[-1]["type"] == "error"
    assert (machine.checks, pause.count) == (DIAGNOSES, DIAGNOSES - 1)


@pytest.mark.gen_test
async def test_a_connection_that_broke_because_the_machine_stopped_is_told_as_that(
    open_terminal, client, machine, pool, pause
):
    """The provider is asked what became of the machine, until it has noticed, too."""
    terminal = await open_terminal()
    machine.diagnosis, machine.checks_needed = OUT_OF_MEMORY, 2
    pool.shell.exit_signal_received("KILL", False, "", "")
    pool.shell.connection_lost(None)
    await terminal.wait_ended()
    assert client.ended == (4410, "Machine stopped because it ran out of memory.")
    assert (machine.checks, pause.count) == (2, 1)


@pytest.mark.gen_test
@pytest.mark.parametrize("is_made", [True, False])
@pytest.mark.parametrize(("diagnosis", "code"), [(OUT_OF_MEMORY, 4410), (None, 4502)])
async def test_a_shell_that_does_not_open_because_the_machine_stopped_is_told_as_that(
    open_terminal, client, machine, pool, diagnosis, code, is_made
):
    """The connection may be lost before or after the channel is there."""
    refuse = failing(SshError("the machine's SSH server refused a terminal"))

    def lose(shell):
        if is_made:
            shell.connection_lost(ConnectionResetError())
        refuse(shell)

    machine.diagnosis, pool.on_open = diagnosis, lose
    await open_terminal()
    assert client.ended[0] == code
    assert "stopped" in client.ended[1] or "refused" in client.ended[1]


@pytest.mark.gen_test
async def test_a_shell_that_is_killed_as_it_opens_is_an_end(open_terminal, client, pool):
    """Its channel is closed before we hear that it was opened."""

    def kill(shell):
        shell.exit_signal_received("KILL", False, "", "")
        shell.connection_lost(None)
        ShellSession.session_started(shell)

    pool.on_open = kill
    await open_terminal()
    assert client.ended == (1000, "shell was ended by signal KILL")


@pytest.mark.gen_test
async def test_a_machine_that_does_not_run_is_no_reason_to_ask_further(open_terminal, client, machine):
    """4409 stays 4409: nothing stopped under an open terminal."""
    machine.diagnosis, machine.refusal = MachineStopped("Machine stopped by user."), MachineNotRunning("start it")
    await open_terminal()
    assert client.ended == (4409, "start it")


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_a_defect_while_a_shell_opens_ends_the_terminal_with_a_word(open_terminal, client, pool):
    """The log has the traceback."""
    pool.on_open = failing(RuntimeError("bug"))
    await open_terminal()
    assert client.ended == (1011, "the server failed to open a terminal; its log says why")


@pytest.mark.gen_test
async def test_a_shell_killed_in_a_machine_that_runs_on_is_a_normal_end(open_terminal, client, pool):
    """`kill -9 $$` is the user's own doing."""
    terminal = await open_terminal()
    pool.shell.exit_signal_received("KILL", False, "", "")
    pool.shell.connection_lost(None)
    await terminal.wait_ended()
    assert client.ended == (1000, "shell was ended by signal KILL")


@pytest.mark.gen_test
async def test_a_terminal_ends_once(open_terminal, client, channel, pool):
    """Whichever end closes first tells the story."""
    terminal = await open_terminal()
    terminal.end(None, "bye")
    pool.shell.connection_lost(None)
    pool.shell.data_received(b"late", None)
    terminal.end(MachineStopped("Machine stopped by user."))
    assert (client.ended, client.text, channel.done) == ((1000, "bye"), "", ["HUP", "abort"])


@pytest.mark.gen_test
async def test_a_host_that_drops_each_channel_is_not_asked_for_ever(machine, pool, host_pool, pause, client):
    """Each attempt asks the provider, too."""

    def drop(channel):
        channel.data_received(json_frame("S", SESSION), None)
        channel.connection_lost(None)

    host_pool.on_open = drop
    query = TerminalQuery(Resize(80, 24), False, SESSION["id"])
    keeping = Sessions(PtyHostFile(b""), SessionPolicy()).of(host_pool)
    diagnosis = Diagnosis(machine, pause)
    terminal = Terminal(client, query, machine, pool, keeping, TypingPriority(), diagnosis, lambda terminal: None)
    terminal.open()
    await terminal.over
    assert client.ended[0] == 4502
    assert len(host_pool.opened) <= ATTEMPTS + 1
    await terminal.wait_ended()
