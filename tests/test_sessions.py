"""sessions: what goes to the client, in what order, and what holds it back."""

import asyncio
import json

import pytest

from aether.errors import MachineStopped
from aether.messages import Input, Resize, TerminalQuery
from aether.sessions import HIGH_BYTES, MAX_PENDING_INPUT_BYTES, TerminalSession


class Client:
    """A client whose connection takes messages when the test says so."""

    def __init__(self):
        self.said, self.ended, self.unsent = [], None, []

    def send(self, message):
        self.said.append(json.loads(message))
        self.unsent.append(asyncio.get_running_loop().create_future())
        return self.unsent[-1]

    def end(self, code, reason):
        self.ended = (code, reason)

    async def drain(self):
        for sent in self.unsent:
            sent.done() or sent.set_result(None)
        await asyncio.sleep(0)

    @property
    def text(self):
        return "".join(message.get("data", "") for message in self.said)


class Channel:
    """Notes what is done to the SSH channel. (A real one cannot be held half full; real ones: test_terminal.py.)"""

    def __init__(self):
        self.done, self.written, self.unread, self.is_closed = [], b"", 0, False

    def is_closing(self):
        return self.is_closed

    async def wait_closed(self):
        pass

    def write(self, data):
        self.written += data

    def get_write_buffer_size(self):
        return self.unread

    def change_terminal_size(self, cols, rows):
        self.done.append((cols, rows))

    def __getattr__(self, name):
        return lambda: self.done.append(name)


@pytest.fixture
def client():
    return Client()


@pytest.fixture
def channel():
    return Channel()


class Activity:
    """Hears of input and output."""

    def note_input(self):
        pass

    note_output = note_input


@pytest.fixture
def make(client, channel):
    def make(why=None, is_reconnect=False, diagnosis=None, is_started=True):
        async def diagnose():
            return diagnosis

        query = TerminalQuery(Resize(80, 24), is_reconnect)
        session = TerminalSession(Activity(), client, query, lambda: why, diagnose, lambda session: None)
        session.connection_made(channel)
        if is_started:
            session.session_started()
            channel.done.clear()
        return session

    return make


@pytest.mark.gen_test
async def test_a_character_split_at_every_byte_arrives_whole(make, client):
    """One incremental decoder per PTY."""
    session = make()
    for byte in "aé日🐢".encode():
        session.data_received(bytes([byte]), None)
    assert client.text == "aé日🐢"


@pytest.mark.gen_test
async def test_half_a_character_at_the_end_is_shown_as_such(make, client):
    """Nothing that the shell wrote is dropped in silence."""
    session = make()
    session.data_received("日".encode()[:2], None)
    session.exit_status_received(0)
    session.connection_lost(None)
    assert client.text == "\ufffd"
    assert client.ended == (1000, "shell exited with status 0")


@pytest.mark.gen_test
async def test_a_client_that_does_not_read_stops_the_shell_from_writing(make, client, channel):
    """Unsent output is bounded; once it has drained, the shell goes on."""
    session = make()
    session.data_received(b"x" * HIGH_BYTES, None)
    assert channel.done == []
    session.data_received(b"x", None)
    assert channel.done == ["pause_reading"]
    await client.drain()
    assert channel.done == ["pause_reading", "resume_reading"]


@pytest.mark.gen_test
async def test_input_that_nobody_reads_is_bounded(make, client, channel):
    """A program that does not read cannot fill the server's memory."""
    session = make()
    channel.unread = MAX_PENDING_INPUT_BYTES + 1
    session.feed(Input(b"x"))
    assert client.ended[0] == 4429
    session.feed(Input(b"y"))
    assert channel.written == b"x"


@pytest.mark.gen_test
async def test_keys_that_come_while_the_shell_s_channel_closes_are_dropped(make, client, channel):
    """Nobody is there to read them; writing would raise."""
    session = make()
    channel.is_closed = True
    session.feed(Input(b"late"))
    session.feed(Resize(100, 30))
    assert (channel.done, channel.written) == ([], b"")


@pytest.mark.gen_test
async def test_what_came_before_the_shell_is_given_to_it_in_order(client, channel, make):
    """The last size first, then the keys; a lost shell is mentioned before anything else."""
    session = make(is_reconnect=True, is_started=False)
    session.feed(Resize(100, 30))
    session.feed(Input(b"a"))
    session.feed(Resize(120, 40))
    session.feed(Input(b"b"))
    assert (channel.done, channel.written) == ([], b"")
    session.session_started()
    assert (channel.done, channel.written) == ([(120, 40)], b"ab")
    assert client.said[0]["type"] == "reconnected"


@pytest.mark.gen_test
async def test_the_end_of_a_stopped_machine_s_shell_is_told_as_a_stop(make, client):
    """However the shell dies first, the user hears of the stop."""
    session = make(why=MachineStopped("Machine stopped by user."))
    session.exit_signal_received("HUP", False, "", "")
    session.connection_lost(None)
    assert client.ended == (4410, "Machine stopped by user.")


@pytest.mark.gen_test
async def test_a_lost_connection_is_told_from_an_exit(make, client):
    """Without an exit status it was the connection: 4502, so that the page reconnects."""
    session = make()
    session.connection_lost(None)
    await session.wait_ended()
    assert client.ended[0] == 4502
    assert client.said[-1]["type"] == "error"


@pytest.mark.gen_test
async def test_a_connection_that_broke_because_the_machine_stopped_is_told_as_that(make, client):
    """The provider is asked what became of the machine before the user is told."""
    session = make(diagnosis=MachineStopped("Machine stopped because it ran out of memory."))
    session.exit_signal_received("KILL", False, "", "")
    session.connection_lost(None)
    await session.wait_ended()
    assert client.ended == (4410, "Machine stopped because it ran out of memory.")


@pytest.mark.gen_test
async def test_a_shell_killed_in_a_machine_that_runs_on_is_a_normal_end(make, client):
    """`kill -9 $$` is the user's own doing."""
    session = make()
    session.exit_signal_received("KILL", False, "", "")
    session.connection_lost(None)
    await session.wait_ended()
    assert client.ended == (1000, "shell was ended by signal KILL")


@pytest.mark.gen_test
async def test_a_session_ends_once(make, client, channel):
    """Whichever end closes first tells the story."""
    session = make()
    session.end(None, "bye")
    session.connection_lost(None)
    session.data_received(b"late", None)
    assert (client.ended, client.text, channel.done) == ((1000, "bye"), "", ["abort"])
