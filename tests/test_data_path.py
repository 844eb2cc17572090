"""The data path from PTY to client and back: every byte, bounded memory, whatever the client and the network do."""

import asyncio
import hashlib
import json
import socket
import struct
import sys
import weakref

import pytest
from tornado.iostream import StreamClosedError
from tornado.netutil import bind_sockets
from tornado.tcpclient import TCPClient
from tornado.tcpserver import TCPServer

from aether.app import Timing
from aether.fly.client import FlyClient
from aether.handlers.terminal import NOT_SENT_BYTES
from aether.settings import load
from aether.ssh.pool import Keepalive
from aether.terminals.flow import MAX_WINDOW_BYTES, START_WINDOW_BYTES
from tests.timelapse import Timelapse

PROMPT = "coder@aether:~$ "
FLOODS = ["yes", "cat /dev/zero", "tr '\\0' '\\1' </dev/zero"]  # a control character is six bytes in JSON
ELSEWHERE_BYTES = 256 * 1024  # what sshd, the PTY and the programs' own pipes may hold besides the window
TEXT = "".join(f"\x1b[3{n % 8}mé日🐢 {n} ü" for n in range(60000))
WRITER = """
import os, sys
data, size = open("text", "rb").read(), int(sys.argv[1])
for start in range(0, len(data), size):
    piece = data[start : start + size]
    while piece:
        piece = piece[os.write(1, piece) :]
"""
READER = """
import hashlib, os, sys, time
digest, left, pause = hashlib.sha256(), int(sys.argv[1]), float(sys.argv[2])
print("ready", flush=True)
while left:
    piece = os.read(0, min(left, 4096))
    digest.update(piece)
    left -= len(piece)
    time.sleep(pause)
print("sha256", digest.hexdigest())
"""
LATE = """
import os, time
print("waiting", flush=True)
while not os.path.exists("go"):
    time.sleep(0.01)
"""
HUNG_UP = """
import os, pathlib, signal, sys

def hang_up(number, frame):
    pathlib.Path("hup").touch()
    os._exit(0)

signal.signal(signal.SIGHUP, hang_up)
os.write(1, b"ready")
while True:
    try:
        if sys.argv[1] == "sleep":
            signal.pause()
        elif sys.argv[1] == "read":
            os.read(0, 65536)
        else:
            os.write(1, b"x" * 65536)
    except OSError:  # the terminal is gone already; the signal comes with it
        pass
"""


class Shell:
    """A terminal, the server's side of it, and the home of its machine."""

    def __init__(self, tty, lifecycle, home):
        self.tty, self.lifecycle, self.home = tty, lifecycle, home
        (self.terminal,) = lifecycle.terminals
        self.attachment, self.handler = self.terminal.attachment, self.terminal.attachment.client
        self.stream = self.handler.ws_connection.stream

    async def python(self, program, *arguments):
        """Run a Python program in a raw terminal, so that every byte is passed on as it is."""
        (self.home / "program.py").write_text(program)
        arguments = " ".join(map(str, arguments))
        await self.tty.type(f"stty raw -echo; {sys.executable} -ESs program.py {arguments}; stty sane\n")
        await self.tty.until("stty sane\r\n")

    async def print_when_told(self, most):
        """Have the shell count once the file `go` is there, and say by the file `printed` that it has."""
        command = f"while [ ! -e go ]; do sleep 0.01; done; seq 1 {most}; touch printed"
        await self.tty.type(f"echo waiting-$((1+1)); {command}\n")
        await self.tty.until("waiting-2\r\n")

    async def hang_up_while(self, doing):
        """Run a program that notes SIGHUP, in the middle of its output, of its input, or of input it does not read."""
        (self.home / "program.py").write_text(HUNG_UP)
        await self.tty.type(f"stty raw -echo; {sys.executable} -ESs program.py {doing}\n")
        await self.tty.until("ready")
        for _ in range(0 if doing == "flood" else 20):
            await self.tty.type("x" * 60000)

    async def until_free(self, eventually):
        """Wait until the program has got its SIGHUP, and nothing of the terminal is left at the server."""
        channel = self.terminal.shell.channel
        left = [weakref.ref(part) for part in (self.terminal, self.terminal.shell, self.attachment)]
        await eventually(lambda: not len(self.lifecycle.terminals))
        await channel.wait_closed()
        await eventually((self.home / "hup").exists)
        await eventually(self.stream.closed)
        self.terminal = self.attachment = self.handler = None
        await eventually(lambda: not any(part() for part in left))


def counted(most):
    return "\r\n".join(str(n) for n in range(1, most + 1))


@pytest.fixture
def shell(aether, settings, machine, terminal, base_url):
    """`await shell()` → a terminal at its prompt."""

    async def open_shell(url=base_url, box=None):
        box = box or await machine()
        tty = await terminal(box["id"], "?cols=300", url=url)
        await tty.until(PROMPT)
        home = settings.state_dir / "emulator/machines" / box["fly_machine_id"] / "rootfs/home/coder"
        return Shell(tty, aether.fleet.find(box["id"]), home)

    return open_shell


@pytest.mark.gen_test
@pytest.mark.parametrize(("chunk", "size"), [(1, 20_000), (7, 100_000), (4096, 1 << 20), (65536, 1 << 20)])
async def test_text_arrives_as_it_was_written_whatever_the_chunks(shell, chunk, size):
    """Colours and characters of two to four bytes, cut anywhere."""
    text = TEXT.encode()[:size].decode(errors="ignore")
    box = await shell()
    (box.home / "text").write_text(text)
    await box.python(WRITER, chunk)
    seen = [box.tty.text]
    while PROMPT not in "".join(seen[-100:]):
        seen.append(json.loads(await box.tty.connection.read_message())["data"])
    drawn = "".join(seen).removeprefix("\x1b[?2004l\r")  # readline's, which may come behind the line or before its end
    assert drawn.partition("\x1b[?2004h")[0] == text


@pytest.mark.gen_test
@pytest.mark.parametrize(("message_chars", "pause_s"), [(1 << 20, 0), (5000, 0), (5000, 0.002)])
async def test_a_paste_arrives_as_it_was_sent_however_slowly_it_is_read(shell, message_chars, pause_s):
    """A mebibyte of characters of one to four bytes, in one message or in many."""
    text = TEXT.encode()[: 1 << 20].decode(errors="ignore")
    box = await shell()
    await box.python(READER, len(text.encode()), pause_s)
    await box.tty.until("ready")  # the terminal is raw from here on
    for start in range(0, len(text), message_chars):
        await box.tty.type(text[start : start + message_chars])
    await box.tty.until(f"sha256 {hashlib.sha256(text.encode()).hexdigest()}")


@pytest.mark.gen_test
async def test_a_paste_that_is_read_late_loses_neither_bytes_nor_its_client(shell, eventually):
    """What no SSH window takes waits at the server, which goes on to read from its client: to a ping it gets a pong."""
    text = TEXT * 3
    box = await shell()
    await box.python(LATE + READER, len(text.encode()), 0)
    await box.tty.until("waiting")
    for start in range(0, len(text), 60_000):
        await box.tty.type(text[start : start + 60_000])
    await eventually(lambda: box.terminal.shell.is_blocked and box.terminal.waiting_bytes > 1 << 20)
    for number in range(3):
        await pong(box.tty, number)
    (box.home / "go").touch()
    await box.tty.until(f"sha256 {hashlib.sha256(text.encode()).hexdigest()}")


@pytest.mark.gen_test
@pytest.mark.parametrize("text", ["".join(f"{n} " for n in range(170_000)), TEXT], ids=["ascii", "characters"])
async def test_a_paste_into_a_program_that_echoes_it_comes_back_as_it_was(shell, text):
    """A mebibyte: both directions are full at once, and neither waits for the other."""
    box = await shell()
    await box.tty.type("stty raw -echo; echo ready-$((1+1)); cat\n")
    await box.tty.until("ready-2\n")
    for start in range(0, len(text), 1 << 20):
        await box.tty.type(text[start : start + (1 << 20)])
    seen = box.tty.text
    while len(seen) < len(text):
        seen += json.loads(await box.tty.connection.read_message())["data"]
    assert seen == text


@pytest.mark.gen_test
async def test_the_last_output_before_an_exit_arrives_at_a_client_that_reads_late(shell):
    """The close comes behind it."""
    box = await shell()
    await box.tty.type("seq 1 20000; exit\n")
    while len(box.lifecycle.terminals):
        box.tty.connection.ping(b"")
        await box.tty.read()
    assert await box.tty.until_closed() == 1000
    assert "\r\n".join(str(n) for n in range(1, 20001)) in box.tty.text


@pytest.mark.gen_test
async def test_a_client_that_reads_nothing_yet_is_not_closed_before_the_last_output_has_left(shell, eventually):
    """Tornado would give it five seconds from there on, for output and close together."""
    box = await shell()
    protocol = box.handler.ws_connection
    await box.tty.type("head -c 100000 /dev/zero | tr '\\0' '\\1'; exit\n")  # within a window, but 600 KB of JSON
    await eventually(lambda: not len(box.lifecycle.terminals))
    assert box.stream.unsent_bytes > 0
    assert not protocol.is_closing()
    assert await box.tty.until_closed() == 1000
    assert "\1" * 100_000 in box.tty.text


@pytest.mark.gen_test
@pytest.mark.parametrize("flood", FLOODS)
async def test_a_client_that_never_reads_holds_its_shell_and_no_memory(shell, eventually, flood):
    """The shell waits; what is on its way stays within the window, control characters with their escapes, too."""
    box = await shell()
    await box.tty.type(f"{flood}\n")
    await eventually(lambda: box.attachment.window.left == 0 and box.attachment.credit.undrawn > 0)
    for _ in range(3):
        await box.lifecycle.terminals.pool.connect()
        assert box.attachment.window.left == 0
        assert box.stream.unsent_bytes <= MAX_WINDOW_BYTES * 1.1
        assert box.attachment.unsent_bytes <= MAX_WINDOW_BYTES * 1.1


@pytest.mark.gen_test
async def test_a_client_that_reads_but_does_not_acknowledge_gets_one_window(shell, eventually):
    """To the byte; and what it acknowledges, it gets again."""
    box = await shell()
    await box.tty.send(type="ack", bytes=0)
    await box.tty.type("yes | tr -d '\\n'\n")
    await box.tty.until("\r\n")
    while box.attachment.window.left:
        await box.tty.read()
    while box.attachment.credit.undrawn > len(box.tty.text) + 1000:
        await box.tty.read()
    assert box.attachment.credit.undrawn <= START_WINDOW_BYTES
    assert box.attachment.window.left == 0
    await box.tty.send(type="ack", bytes=START_WINDOW_BYTES)
    while len(box.tty.text) <= START_WINDOW_BYTES:
        await box.tty.read()


@pytest.mark.gen_test
async def test_after_ctrl_c_in_a_flood_a_slow_client_has_little_old_output_before_the_prompt(shell):
    """No more than the window and what lies between sshd and program: a count, where a user sees seconds."""
    box = await shell()
    await box.tty.send(type="ack", bytes=0)
    await box.tty.type("yes\n")
    drawn = 0
    while drawn < 1 << 20:  # a client that draws, and says so, in small steps
        drawn += await draw(box.tty)
    await box.tty.type("\x03")
    old = 0
    while PROMPT not in box.tty.text:
        box.tty.text = box.tty.text[-100:]
        old += await draw(box.tty)
    assert old < MAX_WINDOW_BYTES + ELSEWHERE_BYTES


async def draw(tty):
    size = len((await tty.read())["data"].encode())
    await tty.send(type="ack", bytes=size)
    return size


class Wire(TCPServer):
    """A network between two programs, which can go silent without closing anything, and counts what it is given."""

    def __init__(self, port):
        super().__init__()
        self.port, self.is_open, self.streams = port, asyncio.Event(), []
        self.is_open.set()
        self.given = {"out": 0, "back": 0}  # pieces, by direction

    async def handle_stream(self, stream, address):
        try:
            far = await TCPClient().connect("127.0.0.1", self.port)
        except StreamClosedError:  # nothing listens there yet
            return stream.close()
        self.streams += [stream, far]
        await asyncio.gather(self.carry(stream, far, "out"), self.carry(far, stream, "back"))

    async def carry(self, source, sink, direction):
        waiting = asyncio.Queue()
        await asyncio.gather(self.take(source, waiting, direction), self.give(waiting, sink))

    async def take(self, source, waiting, direction):
        """Read as long as the network is open, and the small pieces of one that is not: more would fill no network."""
        try:
            while True:
                piece = await source.read_bytes(65536, partial=True)
                self.given[direction] += 1
                waiting.put_nowait(piece)
                if len(piece) > 1000:
                    await self.is_open.wait()
        except StreamClosedError:
            waiting.put_nowait(None)

    async def give(self, waiting, sink):
        while (piece := await waiting.get()) is not None:
            await self.is_open.wait()
            try:
                await sink.write(piece)
            except StreamClosedError:
                break
        sink.close()


@pytest.fixture
def wire(io_loop):
    """`wire(port)` → a wire to that port, listening."""
    made = []

    def make(port):
        made.append(one := Wire(port))
        (one.listening,) = bind_sockets(0, "127.0.0.1")
        one.add_socket(one.listening)
        return one

    yield make

    async def close():
        for one in made:
            one.is_open.set()
            one.stop()
            for stream in one.streams:
                stream.close()
        await asyncio.sleep(0)

    io_loop.run_sync(close)


def port_of(server):
    return server.listening.getsockname()[1]


@pytest.fixture
def far_shell(aether, shell, machine, until_state, wire):
    """`await far_shell()` → a terminal at its prompt, and the wire between its server and its machine."""

    async def open_shell():
        box = await machine()
        await until_state(box["id"], "running")
        inside = aether.fleet.get(box["id"])
        between = wire(inside.ssh_port)
        inside.ssh_port = port_of(between)
        return await shell(box=box), between

    return open_shell


class TestPatientStop:
    """Where a stopped machine has half a minute for its last output."""

    @pytest.fixture
    def timing(self):
        return Timing(last_output_s=30)

    @pytest.mark.gen_test
    async def test_what_is_printed_just_before_a_stop_arrives_before_the_close(
        self, aether, far_shell, call, eventually
    ):
        """Also where it is still between the machine and us when that has been told to stop."""
        box, between = await far_shell()
        has_asked = asyncio.Event()

        async def stop(fly_id):
            await FlyClient.stop(aether.client, fly_id)
            has_asked.set()

        aether.client.instead["stop"] = stop
        await box.print_when_told(15_000)
        between.is_open.clear()
        (box.home / "go").touch()
        await eventually((box.home / "printed").exists)
        assert (await call("POST", f"/machines/{box.lifecycle.machine.id}/stop")).code == 202
        await has_asked.wait()
        between.is_open.set()
        assert await box.tty.until_closed() == 4410
        assert counted(15_000) in box.tty.text


@pytest.mark.gen_test
async def test_a_stop_leaves_a_shell_the_time_that_its_machine_gives_it(shell, call):
    """To end its terminal earlier would hang it up a second time, in the middle of what it does at its end."""
    box = await shell()
    await box.tty.type("trap 'sleep 2; echo saved > saved; echo bye-$((1+1))' EXIT; echo set-$((1+1))\n")
    await box.tty.until("set-2")
    assert (await call("POST", f"/machines/{box.lifecycle.machine.id}/stop")).code == 202
    assert await box.tty.until_closed() == 4410
    assert "bye-2" in box.tty.text
    assert (box.home / "saved").read_text() == "saved\n"


@pytest.mark.gen_test
async def test_a_network_that_is_silent_for_a_while_costs_nothing_on_the_way_to_the_client(
    shell, wire, base_url, eventually
):
    """Nothing is lost or out of order, and no one reconnects."""
    between = wire(int(base_url.rpartition(":")[2]))
    box = await shell(f"http://127.0.0.1:{port_of(between)}")
    await box.print_when_told(15_000)
    between.is_open.clear()
    reading = asyncio.ensure_future(box.tty.read())
    (box.home / "go").touch()
    await eventually((box.home / "printed").exists)
    await box.tty.type("echo more-$((2+2))\n")
    assert not reading.done()
    between.is_open.set()
    await reading
    assert counted(15_000) in await box.tty.until("more-4")


INTERVAL_S = 100  # between signs of life, which passes when the test says so, and not before


@pytest.fixture
def lapse(io_loop):
    return Timelapse(io_loop.asyncio_loop)


async def turns():
    """Let the event loop go on with what is due; nothing in it waits for another process."""
    for _ in range(100):
        await asyncio.sleep(0)


class WithoutSweeps:
    """A server whose sweeps do not come by while time leaps."""

    @pytest.fixture
    def settings(self, server_environ):
        return load(["--idle-check-s", "100000"], server_environ)


class TestSilentClient(WithoutSweeps):
    """Where a client is asked for a sign of life every INTERVAL_S."""

    @pytest.fixture
    def timing(self):
        return Timing(websocket_ping_s=INTERVAL_S)

    @pytest.mark.gen_test
    @pytest.mark.parametrize("doing", ["flood", "read", "sleep"])
    async def test_a_client_that_is_silent_for_longer_than_the_ping_time_out_is_let_go(
        self, shell, wire, base_url, eventually, lapse, doing
    ):
        """Half-open connections hold neither a terminal nor a shell, whatever was on its way in either direction."""
        between = wire(int(base_url.rpartition(":")[2]))
        box = await shell(f"http://127.0.0.1:{port_of(between)}")
        await box.hang_up_while(doing)
        between.is_open.clear()
        for _ in range(2):  # a ping, and the end of its time
            lapse.leap(INTERVAL_S)
            await turns()
        assert box.stream.closed()  # at once: a silent peer is not asked to answer a close
        await box.until_free(eventually)


class TestSilentMachine(WithoutSweeps):
    """Where a machine is asked for a sign of life every INTERVAL_S, and a client is not."""

    @pytest.fixture
    def timing(self):
        return Timing(websocket_ping_s=0, keepalive=Keepalive(INTERVAL_S, 3))

    @pytest.mark.gen_test
    async def test_a_network_that_is_silent_for_a_while_costs_nothing_on_the_way_to_the_machine(
        self, far_shell, eventually, lapse
    ):
        """Keys wait in the SSH connection, and arrive; a keepalive may go unanswered."""
        box, between = await far_shell()
        (connection,) = box.lifecycle.terminals.pool.connections
        between.is_open.clear()
        await box.tty.type("echo typed-$((1+1))\n")
        await box.tty.send(type="resize", cols=91, rows=31)
        await eventually(lambda: box.terminal.shell.size.cols == 91)
        await turns()
        for _ in range(2):  # keepalives, which nothing answers
            given = between.given["out"]
            lapse.leap(INTERVAL_S)
            await eventually(lambda given=given: between.given["out"] > given)
        between.is_open.set()
        await box.tty.until("typed-2")
        assert "31 91" in await box.tty.run("stty size")
        assert box.lifecycle.terminals.pool.connections == [connection]

    @pytest.mark.gen_test
    @pytest.mark.parametrize("command", ["sleep 1000", "yes"])
    async def test_a_machine_that_is_silent_for_longer_than_the_keepalives_is_given_up(
        self, far_shell, terminal, eventually, lapse, command
    ):
        """Its terminals are told, in a flood or at rest, no socket stays, and the next terminal connects anew."""
        box, between = await far_shell()
        await box.tty.type(f"echo alive-$((1+1)); {command}\n")
        await box.tty.until("alive-2")
        (connection,) = box.lifecycle.terminals.pool.connections
        between.is_open.clear()
        closing = asyncio.ensure_future(box.tty.until_closed())
        while not connection.is_closed():
            await lapse.elapse(INTERVAL_S / 10)
        assert await closing == 4502
        await eventually(between.streams[0].closed)  # no socket stays
        between.is_open.set()
        again = await terminal(box.lifecycle.machine.id)
        assert "again-2" in await again.run("echo again-$((1+1))")

    @pytest.mark.gen_test
    @pytest.mark.parametrize("command", ["sleep 1000", "yes"])
    async def test_a_machine_that_answers_keepalives_is_not_given_up(self, far_shell, eventually, lapse, command):
        """However long it says nothing else, and however much it says."""
        box, between = await far_shell()
        await box.tty.type(f"echo alive-$((1+1)); {command}\n")
        await box.tty.until("alive-2\r\n")
        for _ in range(10):
            given = between.given["back"]
            lapse.leap(INTERVAL_S)
            if command == "yes":
                await box.tty.read()
            await eventually(lambda given=given: between.given["back"] > given)
        await box.tty.type("\x03")
        await box.tty.until(PROMPT)


@pytest.mark.gen_test
@pytest.mark.parametrize("doing", ["flood", "read", "sleep"])
async def test_a_client_that_vanishes_in_the_middle_of_anything_frees_everything(shell, eventually, doing):
    """A flood, a paste, a paste that is not read: the program in front gets SIGHUP, and its channel closes."""
    box = await shell()
    await box.hang_up_while(doing)
    reset(box.tty.connection)
    await box.until_free(eventually)


def reset(connection):
    """Cut a connection with a TCP reset."""
    stream = connection.protocol.stream
    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.close()


@pytest.mark.gen_test
async def test_a_resize_storm_ends_with_the_last_size(shell):
    """However many came."""
    box = await shell()
    for cols in range(20, 220):
        await box.tty.send(type="resize", cols=cols, rows=33)
    while "33 219" not in await box.tty.run("stty size"):
        pass


@pytest.mark.gen_test
async def test_typing_goes_on_while_another_session_pastes_and_floods(shell, terminal, aether):
    """One process, one loop: none waits for another."""
    box = await shell()
    other = await shell()
    await box.tty.type("yes\n")
    await box.tty.read()
    await other.tty.type("stty raw; sleep 1000\n")
    await other.tty.until("1000\r\n")
    await other.tty.type("x" * (1 << 20))
    third = await terminal(other.lifecycle.machine.id)
    await third.until(PROMPT)
    for number in range(20):
        assert await third.run(f"echo {number}") == f"{number}\n"


@pytest.mark.gen_test
async def test_a_flood_pauses_while_somebody_types_in_another_terminal_of_its_machine(shell, terminal):
    """Both share one SSH server, which answers the key first; keys of its own hold a flood up for nothing."""
    box = await shell()
    beside = await terminal(box.lifecycle.machine.id)
    await beside.until(PROMPT)
    await box.tty.type("yes\n")
    while len(box.tty.text) < 2 * START_WINDOW_BYTES:
        await box.tty.read()
    assert not box.attachment.is_paused
    while not box.attachment.is_paused:
        await beside.type("x")
        await box.tty.read()


@pytest.mark.gen_test
@pytest.mark.parametrize("flood", FLOODS)
async def test_a_client_that_lies_about_what_it_has_drawn_fills_no_memory(shell, eventually, flood):
    """It reads nothing and acknowledges everything."""
    box = await shell()
    await box.tty.type(f"{flood}\n")
    for _ in range(300):
        await box.tty.send(type="ack", bytes=1 << 31)
        await asyncio.sleep(0.001)
    await eventually(lambda: box.attachment.window.left == 0)
    assert box.stream.unsent_bytes < 2 << 20
    assert box.attachment.unsent_bytes < 2 << 20


class TestImpatientClose:
    """Where a client has a tenth of a second to take the last output."""

    @pytest.fixture
    def timing(self):
        return Timing(close_patience_s=0.1)

    @pytest.mark.gen_test
    async def test_a_client_that_reads_nothing_but_answers_pings_is_closed_all_the_same(self, shell, eventually):
        """It gets some time for the last output, and no more."""
        box = await shell()
        await box.tty.type("yes\n")
        await eventually(lambda: box.attachment.window.left == 0)
        handler = box.handler
        box.terminal.end(None, "bye")
        await eventually(lambda: handler.ws_connection is None or handler.ws_connection.is_closing())


@pytest.mark.gen_test
async def test_a_shell_that_exits_at_once_shows_its_last_words_although_keys_were_typed_before_it(
    aether, machine, terminal, until_state, settings
):
    """`exit` in .bashrc, say."""
    box = await machine()
    await until_state(box["id"], "running")
    home = settings.state_dir / "emulator/machines" / box["fly_machine_id"] / "rootfs/home/coder"
    (home / ".bashrc").write_text("echo last words; exit 3\n")
    (home / ".profile").write_text("echo last words; exit 3\n")
    tty = await terminal(box["id"])
    await tty.type("keys typed early\n")
    assert await tty.until_closed() == 1000
    assert "last words" in tty.text


@pytest.mark.gen_test
async def test_many_small_keys_to_a_program_that_does_not_read_wait_as_one_piece(shell, eventually):
    """Each by itself would be an entry, and a packet, of its own."""
    box = await shell()
    await box.python("import time; print('ready', flush=True); time.sleep(1000)")
    await box.tty.until("ready")
    await box.tty.type("x" * (1 << 20))
    await box.tty.type("x" * (1 << 20))
    await box.tty.type("x" * (1 << 20))
    shell = box.terminal.shell
    await eventually(lambda: shell.is_blocked)
    await pong(box.tty, 1)
    before = shell.waiting_bytes - shell.channel.get_write_buffer_size()
    for _ in range(1000):
        await box.tty.type("k")
    await pong(box.tty, 2)
    assert shell.waiting_bytes - shell.channel.get_write_buffer_size() == before + 1000


async def pong(tty, number):
    """Wait until the server has read all that was sent."""
    await tty.send(type="ping", number=number)
    while (await tty.read()).get("number") != number:
        pass


@pytest.mark.gen_test
async def test_the_way_to_the_client_holds_nothing_back(shell):
    """No key waits for more (TCP_NODELAY), and the kernel takes little that it cannot send."""
    connected = (await shell()).stream.socket
    assert connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
    assert connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == NOT_SENT_BYTES
