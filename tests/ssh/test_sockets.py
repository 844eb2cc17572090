"""Unix sockets of a machine as channels of its SSH connections: a real OpenSSH sshd, and asyncssh's server."""

import asyncio
import os
import socket

import asyncssh
import pytest

from aether.ssh.connection import Pty, SocketRefused
from aether.ssh.keys import public_text
from aether.ssh.pool import ConnectionPool
from aether.ssh.window import ReceiveWindow
from tests.screen import Screen
from tests.ssh.conftest import OpenServer

WINDOW = 16 * 1024
CUTS = 1000


class Reader(asyncssh.SSHUNIXSession):
    """Collects what comes."""

    def __init__(self):
        self.data, self._came = b"", asyncio.Event()

    def data_received(self, data, datatype):
        self.data += data
        self._came.set()

    async def until(self, size):
        while len(self.data) < size:
            self._came.clear()
            await self._came.wait()


class Echo:
    """A program that listens on a Unix socket and sends back what it gets."""

    def __init__(self, path):
        self.path, self.open, self.opened, self._tasks = str(path), 0, 0, []

    async def __aenter__(self):
        self._server = await asyncio.start_unix_server(self._serve, self.path)
        return self

    async def __aexit__(self, *_):
        self._server.close()
        await self._server.wait_closed()
        await asyncio.gather(*self._tasks)

    async def _serve(self, reader, writer):
        self._tasks.append(asyncio.current_task())
        self.open, self.opened = self.open + 1, self.opened + 1
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()
        self.open -= 1


@pytest.fixture
def pool(start_sshd, make_pool, port):
    """A pool of connections to an OpenSSH server."""
    start_sshd(port)
    return make_pool()


@pytest.mark.gen_test
async def test_a_program_of_the_machine_is_reached_through_its_socket(pool, tmp_path):
    """Bytes both ways, as they are, and the window is what the client grants."""
    data = os.urandom(WINDOW)
    async with Echo(tmp_path / "socket") as echo:
        reader = Reader()
        channel = await pool.open_socket(lambda: reader, echo.path, WINDOW)
        window = ReceiveWindow(channel)
        channel.write(data + b"more")
        await reader.until(WINDOW)
        assert (reader.data, window.left) == (data, 0)
        window.grant(WINDOW)
        await reader.until(WINDOW + 4)
        channel.abort()
        await channel.wait_closed()


@pytest.mark.gen_test
async def test_sockets_need_no_room_for_terminals(pool, tmp_path):
    """OpenSSH's MaxSessions does not count them: all are on the first connection, full or not."""
    async with Echo(tmp_path / "socket") as echo:
        shells = [await pool.open_shell(Screen, Pty(80, 24, WINDOW)) for _ in range(11)]
        channels = await asyncio.gather(*(pool.open_socket(Reader, echo.path, WINDOW) for _ in range(20)))
        assert {channel.get_connection() for channel in channels} == {shells[0].get_connection()}
        await pool.close()


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("config", "exists"), [("", False), ("", True), ("DisableForwarding yes", True), ("PermitOpen none", True)]
)
async def test_openssh_answers_the_same_where_nothing_listens_and_where_it_forbids(
    start_sshd, make_pool, port, tmp_path, config, exists
):
    """A newer version may tell them apart; until then nobody can say more, and the connection stays."""
    path = tmp_path / "sshd_config"
    path.write_text(f"{path.read_text()}{config}\n")
    start_sshd(port)
    pool = make_pool()
    with socket.socket(socket.AF_UNIX) as nothing_listens:
        if exists:
            nothing_listens.bind(str(tmp_path / "socket"))
        with pytest.raises(SocketRefused, match=r"did not open .*/socket: open failed") as refusal:
            await pool.open_socket(Reader, str(tmp_path / "socket"), WINDOW)
    assert not refusal.value.is_certain
    assert (await pool.run("echo on")).stdout == b"on\n"
    assert len(pool.connections) == 1


class Refusing(OpenServer):
    """Refuses every socket with one code."""

    def __init__(self, code):
        super().__init__()
        self._code = code

    def unix_connection_requested(self, dest_path):
        raise asyncssh.ChannelOpenError(self._code, "no")


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("code", "is_certain"),
    [
        (asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, True),
        (asyncssh.OPEN_UNKNOWN_CHANNEL_TYPE, True),
        (asyncssh.OPEN_CONNECT_FAILED, False),
        (asyncssh.OPEN_RESOURCE_SHORTAGE, False),
    ],
)
async def test_a_server_that_forbids_sockets_may_say_so(serve, code, is_certain):
    """There is no use in trying other paths then."""
    port, host_key = await serve(lambda: Refusing(code))
    key = asyncssh.generate_private_key("ssh-ed25519")
    pool = ConnectionPool(lambda: ("127.0.0.1", port), "u", key, public_text(host_key))
    with pytest.raises(SocketRefused) as refusal:
        await pool.open_socket(Reader, "/run/x", WINDOW)
    assert refusal.value.is_certain is is_certain
    await pool.close()


@pytest.mark.gen_test
async def test_a_connection_that_is_lost_while_a_socket_opens_is_no_refusal(pool, tmp_path):
    """The next connection is used."""
    async with Echo(tmp_path / "socket") as echo:
        first = await pool.connect()
        opening = asyncio.ensure_future(pool.open_socket(Reader, echo.path, WINDOW))
        for _ in range(5):
            await asyncio.sleep(0)
        assert not opening.done()
        first.abort()
        assert (await opening).get_connection() is pool.connections[0].ssh
        await pool.close()


@pytest.mark.gen_test
async def test_a_thousand_openings_that_are_cut_leave_no_channel_behind(pool, tmp_path, eventually):
    """At each moment: before it is asked for, under way, just opened."""
    async with Echo(tmp_path / "socket") as echo:
        connection, ends = await pool.connect(), []

        async def cut(turns):
            opening = asyncio.ensure_future(pool.open_socket(Reader, echo.path, WINDOW))
            for _ in range(turns):
                await asyncio.sleep(0)
            opening.cancel()
            await asyncio.wait([opening])
            ends.append(opening.cancelled())
            if not opening.cancelled():
                opening.result().abort()

        for start in range(0, CUTS, 20):
            await asyncio.gather(*(cut(start // 20 + number) for number in range(20)))
        await eventually(lambda: connection.is_unused() and not echo.open)
        assert echo.opened
        assert {True, False} == set(ends)
        assert len(ends) == CUTS
        assert len(pool.connections) == 1


class Slow(OpenServer):
    """Opens sockets when the test says so."""

    def __init__(self, opens):
        super().__init__()
        self._opens = opens

    async def unix_connection_requested(self, dest_path):
        await self._opens.wait()
        return asyncssh.SSHUNIXSession()


@pytest.mark.gen_test
async def test_a_connection_that_does_not_answer_is_not_tried_again_until_it_does(serve, eventually):
    """Its keepalive takes a minute to see that it is dead; what comes late is closed and belongs to no session."""
    opens = asyncio.Event()
    port, host_key = await serve(lambda: Slow(opens))
    key = asyncssh.generate_private_key("ssh-ed25519")
    pool = ConnectionPool(lambda: ("127.0.0.1", port), "u", key, public_text(host_key))
    silent = await pool.connect()
    silent._open_timeout_s = 0.05
    made = []
    opening = asyncio.ensure_future(pool.open_socket(lambda: made.append(1) or Reader(), "/run/x", WINDOW))
    await eventually(lambda: silent.is_silent)
    opens.set()
    channel = await opening
    assert channel.get_connection() is not silent.ssh
    await eventually(lambda: not silent.is_silent and silent.is_unused())
    assert made == [1]
    await pool.close()
