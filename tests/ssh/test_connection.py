"""ssh.connection: what comes too late; see test_pool for the rest, against a real OpenSSH sshd."""

import asyncio

import asyncssh
import pytest

from aether.errors import ProviderTimeout
from aether.ssh.connection import OPEN_TIMEOUT_S, Connection, Pty
from tests.timelapse import Timelapse

PTY = Pty(80, 24, 128 * 1024)


class Slow(asyncssh.SSHServer):
    """Accepts every user, and opens channels, and reads what they ask for, when the test says so."""

    def __init__(self, opens, hears):
        self._opens, self._hears = opens, hears

    def connection_made(self, conn):
        self._connection = conn

    def begin_auth(self, username):
        return False

    async def session_requested(self):
        await self._opens.wait()
        if not self._hears.is_set():
            self._transport().pause_reading()
            self._waiting = asyncio.create_task(self._hear_later())
        return SlowShell()

    async def _hear_later(self):
        await self._hears.wait()
        self._transport().resume_reading()

    def _transport(self):
        """asyncssh's own transport: nothing public makes a server that opens a channel and then reads no more."""
        return self._connection._transport


class SlowShell(asyncssh.SSHServerSession):
    """A shell that says nothing."""

    def shell_requested(self):
        return True

    def pty_requested(self, *_):
        return True


class Session(asyncssh.SSHClientSession):
    """Counts its channels and shells."""

    def __init__(self):
        self.channels, self.shells = [], 0

    def connection_made(self, chan):
        self.channels.append(chan)

    def session_started(self):
        self.shells += 1


@pytest.fixture
def slow(connect):
    """`await slow(open_timeout_s)` → a Connection to such a server, and the events that let it open and read."""

    async def make(open_timeout_s=OPEN_TIMEOUT_S):
        opens, hears = asyncio.Event(), asyncio.Event()
        return Connection(await connect(lambda: Slow(opens, hears)), open_timeout_s), opens, hears

    return make


@pytest.mark.gen_test
async def test_a_channel_that_comes_too_late_is_closed_and_belongs_to_no_session(slow, eventually):
    """Its session may have another one by then: keys would go to one shell or the other."""
    connection, opens, hears = await slow(open_timeout_s=0.1)
    session = Session()
    assert await connection.open(lambda: session, PTY) is None
    assert connection.is_full
    hears.set()
    opens.set()
    await eventually(connection.is_unused)
    assert (session.channels, session.shells) == ([], 0)


@pytest.mark.gen_test
async def test_a_channel_that_comes_in_time_is_its_session_s(slow):
    """And the connection is used from then on until it closes."""
    connection, opens, hears = await slow()
    hears.set()
    opens.set()
    session = Session()
    channel = await connection.open(lambda: session, PTY)
    assert (session.channels, session.shells) == ([channel], 1)
    assert not connection.is_unused()
    channel.close()
    await channel.wait_closed()
    assert connection.is_unused()


@pytest.mark.gen_test
async def test_a_shell_that_does_not_start_on_its_channel_is_an_error(slow, eventually):
    """The session has that channel, and must not get a second one."""
    connection, opens, hears = await slow()
    lapse = Timelapse(asyncio.get_running_loop())
    opens.set()
    session = Session()
    opening = asyncio.ensure_future(connection.open(lambda: session, PTY))
    await eventually(lambda: session.channels)
    lapse.leap(OPEN_TIMEOUT_S)
    with pytest.raises(ProviderTimeout, match="started nothing"):
        await opening
    assert len(session.channels) == 1
    hears.set()
    await session.channels[0].wait_closed()
