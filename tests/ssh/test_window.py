"""window: what a machine may send, against real asyncssh on both ends."""

import asyncio

import asyncssh
import pytest

from aether.ssh.window import ReceiveWindow
from tests.ssh.conftest import OpenServer

WINDOW = 64 * 1024


class Flood(asyncssh.SSHServerSession):
    """A program that writes as much as it may, and counts."""

    def __init__(self):
        self.written, self.is_blocked = 0, asyncio.Event()

    def connection_made(self, chan):
        self.chan = chan
        chan.set_write_buffer_limits(0)

    def shell_requested(self):
        return True

    def session_started(self):
        self.go_on()

    def go_on(self):
        while not self.is_blocked.is_set():
            self.chan.write(b"y" * 1024)
            self.written += 1024

    def pause_writing(self):
        self.is_blocked.set()

    def resume_writing(self):
        self.is_blocked.clear()
        asyncio.get_running_loop().call_soon(self.go_on)


class Reader(asyncssh.SSHClientSession):
    """Takes what comes and grants nothing by itself."""

    def __init__(self):
        self.size, self.changed = 0, asyncio.Event()

    def connection_made(self, chan):
        self.window = ReceiveWindow(chan)

    def data_received(self, data, datatype):
        self.size += len(data)
        self.changed.set()

    async def until(self, size):
        while self.size < size:
            self.changed.clear()
            await self.changed.wait()


@pytest.fixture
def flooded(connect):
    """`await flooded()` → a client's end of a channel whose far end floods it."""

    async def start():
        connection = await connect(lambda: OpenServer(Flood))
        return await connection.create_session(Reader, encoding=None, window=WINDOW)

    return start


@pytest.mark.gen_test
async def test_nothing_comes_beyond_what_was_granted(flooded):
    """asyncssh grants nothing by itself any more: what the far end may send is what we say, to the byte."""
    _, reader = await flooded()
    await reader.until(WINDOW)
    assert reader.window.left == 0
    for grant in (1, 5000, WINDOW):
        before = reader.size
        reader.window.grant(grant)
        assert reader.window.left == grant
        await reader.until(before + grant)
        await asyncio.sleep(0)
        assert (reader.size, reader.window.left) == (before + grant, 0)


@pytest.mark.gen_test
async def test_a_channel_that_closes_is_granted_nothing(flooded):
    """It would be a protocol error."""
    channel, reader = await flooded()
    await reader.until(WINDOW)
    channel.abort()
    reader.window.grant(1000)
    assert reader.window.left == 0
