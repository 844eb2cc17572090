"""streamlocal: channels to Unix sockets, of the built-in SSH server and of OpenSSH's beside it."""

import asyncio
import os
import socket
import tempfile
from types import SimpleNamespace

import asyncssh
import pytest

from aether.emulator.guest.streamlocal import BUFFER_BYTES, StreamLocal
from tests.forwarding import FORBIDDEN, echo, is_forwarded, serving

each_server = pytest.mark.parametrize("runtime", ["plain", "sshd"], indirect=True)
plain = pytest.mark.parametrize("runtime", ["plain"], indirect=True)
DATA = b"".join(b"%062d\n" % n for n in range(16645))  # 1 MiB


@pytest.fixture
def folder(box, runtime, state_dir):
    """The folder of the PTY host's sockets, as the test and as the machine call it: OpenSSH's server allows no other."""
    if runtime == "plain":
        with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
            yield name, name
    else:
        name = "tmp/aether-1000-0f1ba701"
        place = state_dir / "machines" / box.id / "rootfs" / name
        place.mkdir(mode=0o700)
        fd = os.open(place, os.O_PATH)
        yield f"/proc/self/fd/{fd}", f"/{name}"  # a socket's name may have 107 bytes only
        os.close(fd)


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
        writer.close()
        await writer.wait_closed()
        assert (await connection.run("echo alive")).stdout == "alive\n"


@each_server
@pytest.mark.gen_test
async def test_a_client_that_goes_ends_the_connection(box, path, dialled):
    """Also one that asks for a channel and goes at once; no connection is left open."""
    begun, over = [], asyncio.Queue()

    async def count(reader, writer):
        begun.append(1)
        over.put_nowait(await reader.read())

    async with serving(path, count):
        async with box.ssh() as connection:
            _, writer = await connection.open_unix_connection(dialled)
            writer.write(b"x")
        assert await over.get() == b"x"
        for _ in range(5):
            async with box.ssh() as connection:
                asking = asyncio.ensure_future(connection.open_unix_connection(dialled))
                await asyncio.sleep(0)  # it has sent its request
            await asyncio.gather(asking, return_exceptions=True)
        async with box.ssh() as connection:  # whose request comes after those
            await connection.open_unix_connection(dialled)
        while len(begun) > 1 + over.qsize():
            begun.pop()
            await over.get()


@each_server
@pytest.mark.parametrize("name", ["/tmp/aether-1000-0f1ba701/9", "/nowhere/socket", "x" * 200, "/etc/passwd"])
@pytest.mark.gen_test
async def test_a_socket_that_is_not_there_is_a_failed_connection(box, name):
    """The client can tell that from a server that forwards nothing, and the connection goes on."""
    async with box.ssh() as connection:
        with pytest.raises(asyncssh.ChannelOpenError) as refusal:
            await connection.open_unix_connection(name)
        assert refusal.value.code == asyncssh.OPEN_CONNECT_FAILED
        assert (await connection.run("echo alive")).stdout == "alive\n"


@each_server
@pytest.mark.gen_test
async def test_nothing_else_is_forwarded(box, path):
    """Neither ports nor sockets of the client's, nor an agent, a display or a network."""
    options = {"agent_forwarding": path}
    async with box.ssh(**options) as connection:
        assert [kind for kind in FORBIDDEN if await is_forwarded(connection, kind)] == []


class Channel:
    """In place of a channel, whose window cannot be seen from outside: it takes what it is given, and notes pauses."""

    def __init__(self):
        self.taken = bytearray()
        self.calls = []

    def write(self, data):
        self.taken += data

    def __getattr__(self, name):
        return lambda *_: self.calls.append(name)


@pytest.fixture
def bridge(io_loop, path):
    """A bridge between such a channel and the peer of its socket."""
    made = []

    async def make():
        with socket.create_server(path, family=socket.AF_UNIX) as listener:
            stream = StreamLocal(path, lambda _: None)
            peer, _ = listener.accept()
        peer.setblocking(False)
        stream.connection_made(Channel())
        made.append(SimpleNamespace(stream=stream, peer=peer, channel=stream._channel))
        return made[-1]

    yield make
    for each in made:
        io_loop.run_sync(asyncio.coroutine(lambda: each.stream.connection_lost(None)))
        each.peer.close()
