"""sessions: what goes to the client, in what order, and what holds it back."""

import asyncio
import json

import pytest

from aether import sessions
from aether.errors import MachineNotRunning, MachineStopped, SshError
from aether.flow import CALM_BYTES_S, MAX_WINDOW_BYTES, START_WINDOW_BYTES, Typing
from aether.messages import Ack, Input, Resize, TerminalQuery
from aether.output import MAX_MESSAGE_BYTES, MAX_UNSENT_MESSAGES
from aether.sessions import MAX_PENDING_INPUT_BYTES, TerminalSession
from tests.timelapse import Timelapse


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
        self._recv_window = START_WINDOW_BYTES
        self.granted = 0

    def send_packet(self, kind, payload):
        """Only window adjustments are sent by us: RFC 4254, section 5.2."""
        assert kind == 93
        self.granted += int.from_bytes(payload, "big")

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

    def send_signal(self, name):
        self.done.append(name)

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

    def __init__(self):
        self.heard = []

    def note_input(self):
        self.heard.append("input")

    def note_output(self):
        self.heard.append("output")


@pytest.fixture
def make(client, channel):
    def make(why=None, is_reconnect=False, diagnosis=None, is_started=True, typing=None):
        async def diagnose():
            return diagnosis

        query = TerminalQuery(Resize(80, 24), is_reconnect)
        session = TerminalSession(
            Activity(), client, query, lambda: why, diagnose, lambda session: None, typing or Typing()
        )
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
    await asyncio.sleep(0)
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
    """What has not left us is not granted again; once it has left, the shell goes on."""
    session = make()
    session.data_received(b"x" * START_WINDOW_BYTES, None)
    assert channel.granted == 0
    await client.drain()
    assert channel.granted >= START_WINDOW_BYTES


@pytest.mark.gen_test
async def test_a_client_that_acknowledges_is_the_only_one_to_say_what_is_drawn(make, client, channel):
    """What lies in kernels and in the browser is still on its way."""
    session = make()
    session.feed(Ack(0))
    session.data_received(b"x" * START_WINDOW_BYTES, None)
    await client.drain()
    assert channel.granted == 0
    session.feed(Ack(START_WINDOW_BYTES // 2))
    assert channel.granted == START_WINDOW_BYTES // 2


@pytest.mark.gen_test
async def test_a_flood_makes_room_for_somebody_who_types_beside_it(make, client, channel, monkeypatch):
    """It is held to what eyes can follow, however fast its own client; keys of its own hold it to nothing."""
    typing, later, loop = Typing(), [], asyncio.get_running_loop()
    session, neighbour = make(typing=typing), make(typing=typing)
    monkeypatch.setattr(loop, "call_later", lambda delay, call: later.append((delay, call)) or loop.call_at(1e9, call))
    session.feed(Input(b"yes\r"))
    for size in (START_WINDOW_BYTES, START_WINDOW_BYTES):
        session.data_received(b"x" * size, None)
        await client.drain()
    assert not later
    neighbour.feed(Input(b"k"))
    for _ in range(3):
        session.data_received(b"x" * START_WINDOW_BYTES, None)
        await client.drain()
        await client.drain()
    (delay, go_on), granted = later[0], channel.granted
    assert len(later) == 1
    assert delay == (granted - 2 * START_WINDOW_BYTES) / CALM_BYTES_S
    go_on()
    assert channel.granted > granted
    session.end(None)
    assert session._output._pause.cancelled()


@pytest.mark.gen_test
async def test_acknowledged_bytes_are_those_of_utf_8(make, client, channel):
    """Of the text that was sent: an invalid byte is three, as U+FFFD."""
    session = make()
    session.feed(Ack(0))
    session.data_received(b"\xff" * 1000 + "日".encode(), None)
    assert session._output._credit.undrawn == 3003
    session.feed(Ack(3003))
    assert session._output._credit.undrawn == 0


@pytest.mark.gen_test
async def test_output_goes_at_once_and_what_else_comes_in_the_same_turn_in_one_message(make, client):
    """An echo waits for nothing; a flood is not a thousand messages."""
    session = make()
    session.data_received(b"a", None)
    assert client.text == "a"
    for byte in (b"b", b"c", b"d"):
        session.data_received(byte, None)
    assert client.text == "a"
    await asyncio.sleep(0)
    assert [message["data"] for message in client.said] == ["", "a", "bcd"]  # the first: there is a shell
    session.data_received(b"e", None)
    assert client.text == "abcd"  # more came in the turn before: it is a flood
    await asyncio.sleep(0)
    assert client.text == "abcde"
    await asyncio.sleep(0)
    session.data_received(b"f", None)
    assert client.text == "abcdef"


@pytest.mark.gen_test
async def test_a_lot_of_output_comes_in_messages_that_a_slow_client_can_take(make, client):
    """It can acknowledge only whole ones."""
    session = make()
    client.said.clear()
    session.data_received(b"x" * START_WINDOW_BYTES, None)
    assert {len(message["data"]) for message in client.said} == {MAX_MESSAGE_BYTES}


@pytest.mark.gen_test
async def test_output_in_many_small_pieces_does_not_wait_in_as_many_messages(make, client):
    """A program that writes byte by byte, a client that does not read: a message takes more than its byte."""
    session, text = make(), "é日" * 1000
    client.said.clear()
    for number in range(len(text.encode())):
        session.data_received(text.encode()[number : number + 1], None)
        await asyncio.sleep(0)
    assert len(client.said) == MAX_UNSENT_MESSAGES
    assert text.startswith(client.text)
    await client.drain()
    assert len(client.said) == MAX_UNSENT_MESSAGES + 1
    assert client.text == text
    await asyncio.sleep(0)
    session.data_received(b"more", None)
    assert client.text == f"{text}more"


@pytest.mark.gen_test
async def test_what_was_held_back_comes_before_the_end(make, client):
    """Also to a client that still does not read."""
    session = make()
    for number in range(1000):
        session.data_received(b"%d " % number, None)
        await asyncio.sleep(0)
    session.exit_status_received(0)
    session.connection_lost(None)
    assert client.text == "".join(f"{number} " for number in range(1000))
    assert client.ended[0] == 1000


@pytest.mark.gen_test
async def test_what_was_gathered_comes_before_the_end(make, client):
    """The last lines of a program are often the ones that matter."""
    session = make()
    session.data_received(b"one ", None)
    session.data_received(b"two", None)
    session.end(None, "bye")
    assert (client.text, client.ended) == ("one two", (1000, "bye"))


@pytest.mark.gen_test
async def test_of_a_storm_of_sizes_the_shell_hears_the_first_and_the_last(make, channel, monkeypatch):
    """Each is a signal to the program in the terminal, which draws anew."""
    monkeypatch.setattr(sessions, "RESIZE_PAUSE_S", 600)  # which passes when the test says so, and not before
    lapse = Timelapse(asyncio.get_running_loop())
    session = make()
    await lapse.elapse(sessions.RESIZE_PAUSE_S)
    for cols in range(100, 200):
        session.feed(Resize(cols, 30))
    await lapse.elapse(sessions.RESIZE_PAUSE_S / 2)
    assert channel.done == [(100, 30)]
    await lapse.elapse(sessions.RESIZE_PAUSE_S)
    assert channel.done == [(100, 30), (199, 30)]


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
@pytest.mark.parametrize("is_made", [True, False])
@pytest.mark.parametrize(
    ("diagnosis", "code"), [(MachineStopped("Machine stopped because it ran out of memory."), 4410), (None, 4502)]
)
async def test_a_shell_that_does_not_open_because_the_machine_stopped_is_told_as_that(
    make, client, diagnosis, code, is_made
):
    """The connection may be lost before or after the channel is there."""
    session = make(diagnosis=diagnosis, is_started=False)

    async def attach(session):
        if is_made:
            session.connection_lost(ConnectionResetError())
        raise SshError("the machine's SSH server refused a terminal")

    session.open(attach)
    await session.wait_ended()
    assert client.ended[0] == code
    assert "stopped" in client.ended[1] or "refused" in client.ended[1]


@pytest.mark.gen_test
async def test_a_shell_that_is_killed_as_it_opens_is_an_end(make, client):
    """Its channel is closed before we hear that it was opened."""
    session = make(is_started=False)

    async def attach(session):
        session.exit_signal_received("KILL", False, "", "")
        session.connection_lost(None)
        session.session_started()

    session.open(attach)
    await session.wait_ended()
    assert client.ended == (1000, "shell was ended by signal KILL")


@pytest.mark.gen_test
async def test_a_machine_that_does_not_run_is_no_reason_to_ask_further(make, client):
    """4409 stays 4409: nothing stopped under an open terminal."""
    session = make(diagnosis=MachineStopped("Machine stopped by user."), is_started=False)

    async def attach(session):
        raise MachineNotRunning("start it")

    session.open(attach)
    await session.wait_ended()
    assert client.ended == (4409, "start it")


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
    assert (client.ended, client.text, channel.done) == ((1000, "bye"), "", ["HUP", "abort"])


@pytest.mark.gen_test
async def test_half_a_character_at_the_end_comes_after_what_was_gathered(make, client):
    """In the order in which it was written."""
    session = make()
    session.data_received(b"one", None)
    session.data_received(b"two" + "日".encode()[:2], None)
    session.exit_status_received(0)
    session.connection_lost(None)
    assert client.text == "onetwo\ufffd"


@pytest.mark.gen_test
async def test_what_a_shell_draws_for_another_size_is_no_activity(make, monkeypatch):
    """A window that changes by itself would keep a machine awake, and billed."""
    session = make()
    session._redrawn_at = 0.0
    session.data_received(b"a program's own", None)
    session.feed(Resize(100, 30))
    session.data_received(b"$ ", None)
    assert session._activity.heard == ["output"]
    monkeypatch.setattr(sessions, "REDRAW_S", 0)
    session.feed(Resize(101, 30))
    session.feed(Input(b"x"))  # which is told the size first
    session.data_received(b"x", None)
    assert session._activity.heard == ["output", "input", "output"]


@pytest.mark.gen_test
async def test_a_size_is_told_before_the_keys_that_came_after_it(make, client, channel):
    """However many sizes came just before."""
    session = make()
    session.feed(Resize(100, 30))
    session.feed(Resize(101, 30))
    session.feed(Input(b"x"))
    assert channel.done == [(100, 30), (101, 30)]
    assert channel.written == b"x"


@pytest.mark.gen_test
async def test_what_had_left_before_the_client_began_to_acknowledge_is_not_counted_twice(make, client):
    """From its first acknowledgement on only the client says what is drawn."""
    session = make()
    session.data_received(b"x" * 1000, None)
    session.feed(Ack(0))
    await client.drain()
    assert session._output._credit.undrawn == 1000


@pytest.mark.gen_test
async def test_a_client_that_acknowledges_and_is_fast_gets_more_at_once(make, client, channel):
    """Or a network with a long way would be slow."""
    session = make()
    session.feed(Ack(0))
    for _ in range(8):
        size = START_WINDOW_BYTES
        session.data_received(b"x" * size, None)
        await client.drain()
        session.feed(Ack(size))
    assert session._output._credit.window == MAX_WINDOW_BYTES


@pytest.mark.gen_test
async def test_what_is_gathered_is_on_its_way_too(make, client, channel):
    """Or more would be granted than there is room for, each time a message leaves meanwhile."""
    session = make()
    session.feed(Ack(0))
    session.data_received(b"x", None)
    session.data_received(b"x" * (START_WINDOW_BYTES - 1), None)
    client.unsent[0].set_result(None)
    session._output._left(1, 1, client.unsent[0])
    assert channel.granted == 0
    await asyncio.sleep(0)
    assert channel.granted == 0
