"""Whatever is written, typed and cut: what is drawn is what was written, and the program reads what was typed, once.

The PTY host's own classes and the server's, in one process: in place of a PTY, of SSH and of the WebSocket there are
pipes that pass on as many bytes or messages as hypothesis says, and lose the rest.
"""

import asyncio
import collections
import contextlib
import json
import os
import selectors
import socket
import types
import uuid
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aether.errors import SshError
from aether.messages import Resize, TerminalQuery, decode_terminal
from aether.terminals import session as session_module
from aether.terminals.attachment import Attachment
from aether.terminals.flow import START_WINDOW_BYTES, TypingPriority
from aether.terminals.keeping import SessionPolicy
from aether.terminals.session import SessionShell
from tests.host_client import load
from tests.terminals.conftest import Activity

ROUNDS = 300
EVERYTHING = 1 << 30
SESSION = str(uuid.uuid4())
PROGRAM = load()
LOG = PROGRAM.Log
NO_PROCESS = 1 << 25  # more than any system has


class Clock:
    """Seconds, passed by the test."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class Machine:
    """A PTY host and one program, at the other end of what is no PTY."""

    def __init__(self, log_bytes):
        self.clock = Clock()
        self.program = PROGRAM
        self.program.time = types.SimpleNamespace(time=self.clock, monotonic=self.clock)
        self.program.Log = lambda: LOG(log_bytes)
        self.program.spawn = self._spawn
        self.host = host = self.program.Host.__new__(self.program.Host)
        host.path, host.sessions, host._ended = "", collections.OrderedDict(), collections.OrderedDict()
        host.clients, host._timers, host._order, host._idle_since = set(), [], 0, 0.0
        host._selector, host._watched, host._is_stopping = selectors.DefaultSelector(), {}, False
        self.pty = None
        self.read, self.written, self._unwritten = b"", b"", b""

    def _spawn(self, size, variables):
        self.pty, master = socket.socketpair()
        self.pty.setblocking(False)
        return NO_PROCESS, master.detach()

    def write(self, data):
        """Have the program write, as soon as there is room."""
        self.written += data
        self._unwritten += data

    def step(self):
        """Let program and host do what they can."""
        with contextlib.suppress(BlockingIOError):
            while self.pty is not None and self._unwritten:
                self._unwritten = self._unwritten[self.pty.send(self._unwritten) :]
        with contextlib.suppress(BlockingIOError):
            while self.pty is not None:
                self.read += self.pty.recv(65536)
        for key, events in self.host._selector.select(0):
            if key.fd in self.host._watched:
                key.data(events)
        while self.host._timers and self.host._timers[0][0] <= self.clock.now:
            self.host._timers.pop(0)[2]()
            self.host._timers.sort(key=lambda timer: timer[:2])

    def is_quiet(self):
        """Return whether the host has all that was written."""
        return not self._unwritten and sum(one.log.end for one in self.host.sessions.values()) == len(self.written)

    def close(self):
        for client in [*self.host.clients]:
            client.close()
        for session in self.host.sessions.values():
            os.close(session.master)
            session.log.close()
        self.host._selector.close()
        if self.pty is not None:
            self.pty.close()


class Channel:
    """In place of an SSH channel to the host's socket: bytes on their way, and a window."""

    def __init__(self, machine, session):
        self._machine, self._session, self.unsent = machine, session, b""
        self.window, self.socket = START_WINDOW_BYTES, None
        self.socket, far = socket.socketpair()
        self.socket.setblocking(False)
        machine.host.clients.add(machine.program.Client(machine.host, far))

    def write(self, data):
        self.unsent += data

    def get_write_buffer_size(self):
        return len(self.unsent)

    def is_closing(self):
        return self.socket is None

    def carry(self, up, down):
        """Pass on so many bytes each way, as far as there are any, and room."""
        if self.socket is None:
            return
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            while self.unsent and up > 0:
                sent = self.socket.send(self.unsent[:up])
                self.unsent, up = self.unsent[sent:], up - sent
        with contextlib.suppress(BlockingIOError):
            while self.socket is not None and (most := min(down, self.window, 65536)) > 0:
                data = self.socket.recv(most)
                if not data:
                    return self.cut(0)
                down, self.window = down - len(data), self.window - len(data)
                self._session.data_received(data, None)

    def cut(self, keep):
        """Lose the connection, with all but `keep` bytes of what was on its way to the host."""
        if self.socket is not None:
            self.abort(keep)
            self._session.connection_lost(None)

    def abort(self, keep=EVERYTHING):
        if self.socket is not None:
            with contextlib.suppress(OSError):
                self.socket.send(self.unsent[:keep])
            self.socket.close()
            self.socket = None


class Window:
    """In place of ReceiveWindow."""

    def __init__(self, channel):
        self._channel = channel

    def grant(self, size):
        self._channel.window += size


class Way:
    """In place of the way to the host over SSH."""

    def __init__(self, machine):
        self._machine, self.channel = machine, None

    async def prepare(self):
        pass

    def earlier(self):
        return []

    def forget(self):
        pass

    async def open(self, factory, window, socket_path=None):
        session = factory()
        self.channel = Channel(self._machine, session)
        session.connection_made(self.channel)
        session.session_started()


class Page:
    """The user's end: what it has drawn and typed; messages on their way, both ways."""

    def __init__(self, machine, grace_s):
        self.machine, self.policy = machine, SessionPolicy(grace_s, 1000)
        self.client = str(uuid.uuid4())
        self.drawn, self.offset, self.lost = "", None, []
        self.typed, self.unconfirmed, self.taken = b"", b"", 0
        self.shell = None
        self.tasks = set()

    # Connections.

    def connect(self):
        self.up, self.down, self.may_send, self.undrawn = [], [], False, 0
        query = TerminalQuery(Resize(80, 24), False, SESSION, self.offset, self.client)
        self.way = Way(self.machine)
        keeping = types.SimpleNamespace(host=self.way, policy=self.policy)
        attachment = Attachment(self, TypingPriority())
        self.attachment = attachment
        self.shell = SessionShell(query, keeping, Activity(), attachment, self)
        self.attach()

    def attach(self):
        async def attach(shell):
            while shell is self.shell:
                try:
                    return await shell.attach()
                except SshError:  # it was cut before the host had answered
                    await asyncio.sleep(0)

        self.tasks.add(task := asyncio.ensure_future(attach(self.shell)))
        task.add_done_callback(self.tasks.discard)

    def disconnect(self):
        """Lose the WebSocket, or the server: all that is on its way."""
        shell, self.shell = self.shell, None
        if shell is not None:
            for task in self.tasks:
                task.cancel()
            self.attachment._is_closed = True
            shell.close()

    # The attachment's client, and the shell's owner.

    def send(self, message):
        if self.shell is not None:
            self.down.append(json.loads(message))
        sent = asyncio.get_running_loop().create_future()
        sent.set_result(None)
        return sent

    def end(self, code, reason):
        raise AssertionError((code, reason))

    def shell_started(self):
        pass

    def shell_closed(self):
        if self.shell is not None:
            self.attach()

    def shell_refused(self, error):
        raise error

    # What the user does.

    def type(self, text):
        data = text.encode()
        if self.may_send:
            self.up.append({"type": "input", "data": text, "offset": len(self.typed)})
        self.typed += data
        self.unconfirmed += data

    def deliver(self, most):
        """Let the server have so many messages."""
        messages, self.up = self.up[:most], self.up[most:]
        for message in messages:
            decoded = decode_terminal(json.dumps(message))
            if message["type"] == "ack":
                self.attachment.acknowledged(decoded.bytes)
            else:
                self.shell.type(decoded)

    def draw(self, most):
        """Take so many messages of the server."""
        messages, self.down = self.down[:most], self.down[most:]
        for message in messages:
            if message["type"] == "output":
                self.drawn += message["data"]
                self.offset = message["offset"]
                self.up.append({"type": "ack", "bytes": len(message["data"].encode())})
            elif message["type"] == "session":
                self.offset = message["offset"]
                self.may_send = True
                self._confirm(message["taken"])
                if self.unconfirmed:
                    self.up.append({"type": "input", "data": self.unconfirmed.decode(), "offset": self.taken})
            elif message["type"] == "taken":
                self._confirm(message["offset"])
            elif message["type"] == "lost":
                self.lost.append((self.offset, message["bytes"]))
            else:
                assert message["type"] in ("foreground", "replay", "size"), message

    def _confirm(self, taken):
        assert self.taken <= taken <= len(self.typed)
        self.unconfirmed, self.taken = self.typed[taken:], taken


class World:
    """A page, a machine, and what hypothesis does to what is between them."""

    def __init__(self, log_bytes, grace_s):
        self.machine = Machine(log_bytes)
        self.page = Page(self.machine, grace_s)

    async def apply(self, step):
        name, *arguments = step
        page = self.page
        if name == "write":
            self.machine.write(arguments[0] * arguments[1])
        elif name == "type":
            page.type(arguments[0])
        elif name == "carry" and page.way.channel is not None:
            page.way.channel.carry(*arguments)
        elif name == "messages":
            page.deliver(arguments[0])
            page.draw(arguments[1])
        elif name == "cut ssh" and page.way.channel is not None:
            page.way.channel.cut(arguments[0])
        elif name == "cut page":
            page.disconnect()
            page.connect()
        elif name == "wait":
            self.machine.clock.now += arguments[0]
        await self.turn()

    async def turn(self):
        for _ in range(3):
            await asyncio.sleep(0)
        self.machine.step()

    async def settle(self):
        """Let all that is on its way arrive."""
        self.machine.write(b".")  # no half character is the last
        for _ in range(ROUNDS):
            await self.apply(("wait", 0.06))
            await self.apply(("carry", EVERYTHING, EVERYTHING))
            await self.apply(("messages", EVERYTHING, EVERYTHING))
            if self.machine.read == self.page.typed and self.page.offset == len(self.machine.written):
                return
        raise AssertionError(f"{len(self.machine.read)} of {len(self.page.typed)}, {self.page.offset}")

    async def close(self):
        self.page.disconnect()
        await asyncio.gather(*self.page.tasks, return_exceptions=True)
        self.machine.close()


@contextlib.asynccontextmanager
async def world(log_bytes, grace_s):
    with mock.patch.object(session_module, "ReceiveWindow", Window):
        one = World(log_bytes, grace_s)
        one.page.connect()
        try:
            yield one
        finally:
            await one.close()


SIZES = st.one_of(st.integers(0, 300), st.integers(0, 40_000))
STEPS = st.one_of(
    st.tuples(st.just("write"), st.binary(min_size=1, max_size=40), st.sampled_from([1, 1, 7, 400])),
    st.tuples(st.just("type"), st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)),
    st.tuples(st.just("carry"), SIZES, SIZES),
    st.tuples(st.just("messages"), st.integers(0, 9), st.integers(0, 9)),
    st.tuples(st.just("cut ssh"), SIZES),
    st.tuples(st.just("cut page")),
    st.tuples(st.just("wait"), st.sampled_from([0.01, 0.06, 1.0])),
)
QUICK = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@QUICK
@given(steps=st.lists(STEPS, max_size=60), log_bytes=st.sampled_from([16 << 10, 40_000, 1 << 20]))
def test_what_is_drawn_is_what_was_written_and_what_is_read_is_what_was_typed(steps, log_bytes):
    """Any bytes, invalid ones too, cut anywhere, any number of times; nothing is lost while the grace holds."""

    async def example():
        async with world(log_bytes, grace_s=1e9) as one:
            for step in steps:
                await one.apply(step)
            await one.settle()
            assert one.page.lost == []
            assert one.page.drawn == one.machine.written.decode(errors="replace")
            assert one.machine.read == one.page.typed

    asyncio.run(example())


@QUICK
@given(
    before=st.lists(STEPS, max_size=20),
    piece=st.binary(min_size=1, max_size=50),
    times=st.integers(1, 3000),
    log_bytes=st.sampled_from([16 << 10, 20_001]),
)
def test_beyond_the_log_exactly_so_many_bytes_are_lost_and_that_is_told(before, piece, times, log_bytes):
    """Without a grace, and nobody attached: the oldest go."""

    async def example():
        async with world(log_bytes, grace_s=0) as one:
            page, machine = one.page, one.machine
            for step in before:
                await one.apply(step)
            await one.settle()
            drawn, offset = page.drawn, page.offset
            page.disconnect()
            machine.write(piece * times)
            while not machine.is_quiet():
                machine.step()
            page.connect()
            await one.settle()
            least = max(len(machine.written) - 1 - offset - log_bytes, 0)
            lost = page.lost[-1][1] if page.lost else 0
            assert least <= lost <= least + 3 if least else lost == 0
            assert page.drawn == drawn + machine.written[offset + lost :].decode(errors="replace")

    asyncio.run(example())


@pytest.mark.long
@pytest.mark.patience(1200)
@settings(QUICK, max_examples=3000)
@given(steps=st.lists(STEPS, max_size=150), log_bytes=st.sampled_from([16 << 10, 40_000]))
def test_the_same_for_longer(steps, log_bytes):
    """Before a release."""
    test_what_is_drawn_is_what_was_written_and_what_is_read_is_what_was_typed.hypothesis.inner_test(steps, log_bytes)
