"""streamlocal: channels to Unix sockets, of the built-in SSH server and of OpenSSH's beside it."""

import asyncio
import contextlib
import socket
import tempfile
from types import SimpleNamespace

import asyncssh
import pytest

from aether.emulator.guest.streamlocal import BUFFER_BYTES, StreamLocal
from tests.forwarding import FORBIDDEN, echo, is_forwarded, serving
from tests.processes import supervisor

each_server = pytest.mark.parametrize("runtime", ["plain", "sshd"], indirect=True)
plain = pytest.mark.parametrize("runtime", ["plain"], indirect=True)
DATA = b"".join(b"%062d\n" % n for n in range(16645))  # 1 MiB


@pytest.fixture
def path(folder):
    """Where the test serves a socket."""
    return f"{folder[0]}/0"


@pytest.fixture
def dialled(folder):
    """The same socket's name on the machine."""
    return f"{folder[1]}/0"


@each_server
@pytest.mark.gen_test
async def test_bytes_pass_both_ways(box, path, dialled):
    """All of them, though neither side reads as fast as the other writes."""
    async with serving(path, echo), box.ssh() as connection:
        reader, writer = await connection.open_unix_connection(dialled)
        writer.write(DATA)
        writer.write_eof()
        assert await reader.read() == DATA


@each_server
@pytest.mark.gen_test
async def test_each_side_is_closed_after_the_others_last_byte(box, path, dialled):
    """A server that has read to the end may still answer, and its end is the channel's."""

    async def answer(reader, writer):
        writer.write(b"%d bytes" % len(await reader.read()))

    async with serving(path, answer), box.ssh() as connection:
        reader, writer = await connection.open_unix_connection(dialled)
        writer.write(DATA)
        writer.write_eof()
        assert await reader.read() == b"%d bytes" % len(DATA)
        await writer.wait_closed()


@each_server
@pytest.mark.gen_test
async def test_a_server_that_ends_ends_the_channel(box, path, dialled):
    """Whatever it was sent and has not read."""

    async def hang_up(reader, writer):
        await reader.read(1)

    async with serving(path, hang_up), box.ssh() as connection:
        reader, writer = await connection.open_unix_connection(dialled)
        writer.write(DATA)
        assert await reader.read() == b""
        assert (await connection.run("echo alive")).stdout == "alive\n"


@plain
@pytest.mark.gen_test
async def test_a_server_that_only_stops_writing_goes_on_reading(box, path, dialled):
    """Half of a connection may end, as half of a channel may."""
    read = asyncio.Queue()

    async def listen(reader, writer):
        writer.write_eof()
        read.put_nowait(await reader.read())

    async with serving(path, listen), box.ssh() as connection:
        reader, writer = await connection.open_unix_connection(dialled)
        assert await reader.read() == b""
        writer.write(DATA)
        writer.write_eof()
        assert await read.get() == DATA


@each_server
@pytest.mark.gen_test
async def test_a_client_that_goes_ends_the_connection(box, path, dialled):
    """However it goes."""
    over = asyncio.Event()

    async def greet(reader, writer):
        writer.write(b"hello")
        await reader.read()
        over.set()

    async with serving(path, greet), box.ssh() as connection:
        reader, _ = await connection.open_unix_connection(dialled)
        await reader.readexactly(5)
        connection.abort()
        await over.wait()


@plain
@pytest.mark.gen_test
async def test_a_client_that_is_gone_before_it_has_its_channel_leaves_nothing(box, path, dialled):
    """Its request and the end of its connection arrive together."""
    async with serving(path, echo):
        async with box.ssh() as connection:
            asking = asyncio.ensure_future(connection.open_unix_connection(dialled))
            await asyncio.sleep(0)  # it has sent its request
            connection.disconnect(asyncssh.DISC_BY_APPLICATION, "gone")
        await asyncio.gather(asking, return_exceptions=True)
        async with box.ssh() as connection:
            await connection.run("true")
            assert [link for link in supervisor().net_connections("unix") if link.raddr == path] == []


@each_server
@pytest.mark.gen_test
async def test_a_socket_that_is_not_there_is_a_failed_connection(box, dialled):
    """And nothing else fails. (OpenSSH's server says the same of a socket that it does not allow.)"""
    async with box.ssh() as connection:
        for name in (dialled, "/nowhere/socket", "x" * 200, "/etc/passwd"):
            with pytest.raises(asyncssh.ChannelOpenError) as refusal:
                await connection.open_unix_connection(name)
            assert refusal.value.code == asyncssh.OPEN_CONNECT_FAILED
        assert (await connection.run("echo alive")).stdout == "alive\n"


@pytest.mark.parametrize("runtime", ["sshd"], indirect=True)
@pytest.mark.gen_test
async def test_no_other_socket_is_reached_through_openssh(box, folder):
    """Such as those of the user's own services."""
    async with serving(f"{folder[0]}/other", echo), box.ssh() as connection:
        with pytest.raises(asyncssh.ChannelOpenError):
            await connection.open_unix_connection(f"{folder[1]}/other")


@each_server
@pytest.mark.gen_test
async def test_nothing_else_is_forwarded(box, path):
    """Neither ports nor sockets of the client's, nor an agent, a display or a network."""
    options = {"agent_forwarding": path}
    async with box.ssh(**options) as connection:
        assert [kind for kind in FORBIDDEN if await is_forwarded(connection, kind)] == []


class Channel:
    """In place of a channel of asyncssh, whose own buffers and window cannot be seen: it notes what it is told."""

    def __init__(self):
        self.taken = b""
        self.calls = []

    def write(self, data):
        self.taken += data

    def is_closing(self):
        return False

    def __getattr__(self, name):
        return lambda *_: self.calls.append(name)


@pytest.fixture
def bridge(io_loop):
    """A bridge from such a channel to a socket, whose other end the test has."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{name}/socket")
        listener.listen()

        async def make():
            return StreamLocal(f"{name}/socket", lambda _: None)

        stream = io_loop.run_sync(make)
        with listener.accept()[0] as peer:
            peer.setblocking(False)
            stream.connection_made(Channel())
            yield SimpleNamespace(stream=stream, peer=peer, channel=stream._channel)
            io_loop.run_sync(end_of(stream))


def end_of(stream):
    async def end():
        stream.connection_lost(None)

    return end


def fill(peer):
    """Write until the socket takes no more; return how much that was."""
    written = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            written += peer.send(bytes(65536))
    return written


async def turns():
    """Let the loop look at its sockets, which are ready by now."""
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.mark.outside
@pytest.mark.gen_test
async def test_little_output_waits_here(bridge):
    """One read's worth, while the window is full: the rest is the socket's, whose writer it stops."""
    bridge.stream.session_started()
    bridge.channel.write = lambda data: (Channel.write(bridge.channel, data), bridge.stream.pause_writing())
    written = fill(bridge.peer)
    await turns()
    assert len(bridge.channel.taken) == BUFFER_BYTES < written
    del bridge.channel.write
    bridge.stream.resume_writing()
    while len(bridge.channel.taken) < written:  # noqa: ASYNC110  (it takes what the loop gives it)
        await asyncio.sleep(0)


@pytest.mark.outside
@pytest.mark.gen_test
async def test_little_input_waits_here(bridge):
    """What was on its way when the socket took no more; the channel is paused until it does."""
    while "pause_reading" not in bridge.channel.calls:
        bridge.stream.data_received(bytes(BUFFER_BYTES), None)
    assert len(bridge.stream._pending) <= BUFFER_BYTES
    while "resume_reading" not in bridge.channel.calls:
        with contextlib.suppress(BlockingIOError):
            bridge.peer.recv(65536)
        await asyncio.sleep(0)
