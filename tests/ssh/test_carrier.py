"""ssh.carrier: what comes too late; see test_client for the rest, against a real OpenSSH sshd."""

import asyncio

import asyncssh
import pytest

from aether.errors import ProviderTimeout
from aether.ssh import carrier as module
from aether.ssh.carrier import Carrier
from tests.timelapse import Timelapse


class Slow(asyncssh.SSHServer):
    """Lets everybody in, and opens channels, and hears what they ask for, when the test says so."""

    def __init__(self, opens, hears):
        self._opens, self._hears = opens, hears

    def connection_made(self, conn):
        self._connection = conn

    def begin_auth(self, username):
        return False

    async def session_requested(self):
        await self._opens.wait()
        if not self._hears.is_set():
            self._connection._transport.pause_reading()
            self._waiting = asyncio.create_task(self._hear_later())
        return SlowShell()

    async def _hear_later(self):
        await self._hears.wait()
        self._connection._transport.resume_reading()


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
def carrier(io_loop, monkeypatch):
    """`await carrier()` → a Carrier to such a server, and the events that let it open and hear."""
    monkeypatch.setattr(module, "OPEN_TIMEOUT_S", 0.1)
    opened = []

    async def connect():
        opens, hears = asyncio.Event(), asyncio.Event()
        key = asyncssh.generate_private_key("ssh-ed25519")
        server = await asyncssh.listen(
            "127.0.0.1", 0, server_host_keys=[key], server_factory=lambda: Slow(opens, hears)
        )
        options = {"username": "u", "known_hosts": None, "config": None, "agent_path": None, "client_keys": None}
        connection = await asyncssh.connect("127.0.0.1", server.get_port(), **options)
        opened.extend([connection, server])
        return Carrier(connection), opens, hears

    yield connect

    async def close():
        for one in opened:
            one.close()
            await one.wait_closed()

    io_loop.run_sync(close)


@pytest.mark.gen_test
async def test_a_channel_that_comes_too_late_is_closed_and_is_nobody_s(carrier, eventually, monkeypatch):
    """Its session may have another one by then: keys would go to one shell or the other."""
    one, opens, hears = await carrier()
    session = Session()
    assert await one.open(lambda: session, 80, 24) is None
    hears.set()
    opens.set()
    await eventually(lambda: one._opening == 0 and not one.connection._channels)
    assert (session.channels, session.shells) == ([], 0)
    monkeypatch.undo()  # this one has its time
    late = await one.open(lambda: session, 80, 24)
    assert (session.channels, session.shells) == ([late], 1)


@pytest.mark.gen_test
async def test_a_shell_that_does_not_start_on_its_channel_is_an_error(carrier, monkeypatch, eventually):
    """The session has that channel, and must not get a second one."""
    one, opens, hears = await carrier()
    monkeypatch.undo()
    lapse = Timelapse(asyncio.get_running_loop())
    opens.set()
    session = Session()
    opening = asyncio.ensure_future(one.open(lambda: session, 80, 24))
    await eventually(lambda: session.channels)
    lapse.leap(module.OPEN_TIMEOUT_S)
    with pytest.raises(ProviderTimeout, match="opened no shell"):
        await opening
    assert len(session.channels) == 1
    hears.set()
    await session.channels[0].wait_closed()
