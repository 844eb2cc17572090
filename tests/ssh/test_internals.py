"""ssh.internals: what asyncssh does not document, on the versions that `pyproject.toml` allows."""

import asyncio

import asyncssh
import pytest

from aether.ssh import internals
from aether.ssh.connection import Pty
from aether.ssh.keys import public_text
from aether.ssh.pool import ConnectionPool
from tests.ssh.conftest import OpenServer
from tests.timelapse import Timelapse

INTERVAL_S = 100


class Echo(asyncssh.SSHServerSession):
    """A shell that says what it hears."""

    def connection_made(self, chan):
        self._channel = chan

    def shell_requested(self):
        return True

    def pty_requested(self, *_):
        return True

    def data_received(self, data, datatype):
        self._channel.write(data)


class Reader(asyncssh.SSHClientSession):
    """Collects output."""

    def __init__(self):
        self.text, self._came = b"", asyncio.Event()

    def data_received(self, data, datatype):
        self.text += data
        self._came.set()

    async def until(self, sentinel):
        while sentinel not in self.text:
            self._came.clear()
            await self._came.wait()


class Writes:
    """Stands before a connection's transport, and notes what is written to it."""

    def __init__(self, transport):
        self._transport, self.noted = transport, []

    def write(self, data):
        self.noted.append(data)
        self._transport.write(data)

    def __getattr__(self, name):
        return getattr(self._transport, name)


@pytest.fixture
def tuned(connect):
    """`await tuned()` → a connection, a channel with an echo, and its reader."""

    async def make(is_tuned=True):
        options = {"encryption_algs": ["aes128-gcm@openssh.com"], "keepalive_interval": INTERVAL_S}
        connection = await connect(lambda: OpenServer(Echo), **options)
        if is_tuned:
            internals.tune(connection)
        return connection, *await connection.create_session(Reader, encoding=None)

    return make


async def writes_of_a_key(connection, channel, reader):
    """Return how often the connection writes for one key."""
    connection._transport = writes = Writes(connection._transport)
    channel.write(b"x")
    await reader.until(b"x")
    return len(writes.noted)


@pytest.mark.gen_test
async def test_a_key_is_one_packet(tuned):
    """asyncssh's MSG_IGNORE before each is for ciphers in CBC mode, which aether does not offer."""
    assert await writes_of_a_key(*await tuned()) == 1
    assert await writes_of_a_key(*await tuned(is_tuned=False)) == 2  # else there is nothing left to spare


@pytest.mark.gen_test
async def test_a_connection_that_is_used_is_asked_for_a_sign_of_life_all_the_same(tuned):
    """The timer is not made anew for each packet; any packet counts as an answer."""
    connection, channel, reader = await tuned()
    timer = connection._keepalive_timer
    assert timer is not None
    connection._keepalive_count = 2  # requests without an answer
    channel.write(b"x")
    await reader.until(b"x")
    assert connection._keepalive_timer is timer
    assert connection._keepalive_count == 0


@pytest.mark.gen_test
async def test_a_silent_connection_is_asked_at_the_interval(tuned, eventually):
    """asyncssh's own timer goes on."""
    lapse = Timelapse(asyncio.get_running_loop())
    connection, _, _ = await tuned()
    connection._transport = writes = Writes(connection._transport)
    await lapse.elapse(INTERVAL_S - 1)
    assert not writes.noted
    await lapse.elapse(2)
    await eventually(lambda: writes.noted)


@pytest.mark.gen_test
async def test_reads_are_no_larger_than_asyncssh_can_parse_cheaply(tuned):
    """asyncio's selector transport has this name for it."""
    connection, _, _ = await tuned()
    assert connection._transport.max_size == internals.READ_BYTES


@pytest.mark.gen_test
async def test_a_window_is_adjusted_by_us_only(tuned):
    """asyncssh keeps its count, and the far side hears of ours; tests/ssh/test_window floods it."""
    _, channel, reader = await tuned()
    before = internals.window_left(channel)
    internals.stop_automatic_grants(channel)
    channel.write(b"x" * 1000)
    await reader.until(b"x" * 1000)
    assert internals.window_left(channel) == before - 1000
    internals.adjust_window(channel, 500)
    assert internals.window_left(channel) == before - 500


@pytest.mark.gen_test
async def test_the_connections_of_a_pool_are_tuned_and_watched(serve):
    """Each of the above is true of a machine's own connection; a dead one is noticed after 15 s three times."""
    port, host_key = await serve(lambda: OpenServer(Echo))
    key = asyncssh.generate_private_key("ssh-ed25519")
    pool = ConnectionPool(lambda: ("127.0.0.1", port), "u", key, public_text(host_key))
    reader = Reader()
    channel = await pool.open_shell(lambda: reader, Pty(80, 24, 1 << 17))
    connection = channel.get_connection()
    assert connection._transport.max_size == internals.READ_BYTES
    assert (connection._keepalive_interval, connection._keepalive_count_max) == (15, 3)
    assert await writes_of_a_key(connection, channel, reader) == 1
    await pool.close()
