"""What the tests of terminals hold by hand: a client, an SSH channel, a machine and its connections."""

import asyncio
import json

import pytest

from aether.errors import AetherError
from aether.messages import Resize, TerminalQuery
from aether.ssh.command import Completed
from aether.terminals.attachment import Attachment
from aether.terminals.diagnosis import Diagnosis
from aether.terminals.flow import TypingPriority
from aether.terminals.frames import FrameReader
from aether.terminals.shell import ShellSession
from aether.terminals.terminal import Terminal


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


class Window:
    """Counts what the shell was granted."""

    granted = 0

    def grant(self, size):
        self.granted += size


class Channel:
    """Notes what is done to the SSH channel. (A real one cannot be held half full; real ones: tests/test_data_path.)"""

    def __init__(self):
        self.done, self.written, self.unread, self.is_closed = [], b"", 0, False

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

    def abort(self):
        self.done.append("abort")


class Activity:
    """Hears of input and output."""

    def __init__(self):
        self.heard = []

    def note_input(self):
        self.heard.append("input")

    def note_output(self):
        self.heard.append("output")


class Machine:
    """A machine whose end the test decides: `error` is known at once, `diagnosis` after `checks_needed` questions."""

    def __init__(self):
        self.activity = Activity()
        self.error = self.diagnosis = self.refusal = None
        self.checks, self.checks_needed = 0, 1

    async def until_running(self):
        if self.refusal is not None:
            raise self.refusal

    def ended_error(self):
        return self.error

    def note_sessions(self, are_kept, reason):
        self.sessions = (are_kept, reason)

    async def check(self):
        self.checks += 1
        if self.diagnosis is not None and self.checks >= self.checks_needed:
            self.error = self.diagnosis


class Pool:
    """Opens shells on the test's channel; `on_open(shell)` is what becomes of one while it opens."""

    def __init__(self, channel):
        self.channel, self.shell, self.is_closed = channel, None, False
        self.on_open = ShellSession.session_started

    async def open_shell(self, factory, pty):
        self.shell = factory()
        self.shell.connection_made(self.channel)
        self.on_open(self.shell)

    async def close(self):
        self.is_closed = True


class HostSsh:
    """The SSH channel to a PTY host: what is sent, and whether it was closed."""

    def __init__(self):
        self.sent, self.is_closed, self.on_first = b"", False, None

    def is_closing(self):
        return self.is_closed

    def write(self, data):
        self.sent += data
        if (on_first := self.on_first) is not None:
            self.on_first = None
            on_first()

    def abort(self):
        self.is_closed = True

    @property
    def frames(self):
        """What was sent: kind and payload."""
        found = []
        FrameReader(lambda kind, payload: found.append((chr(kind), payload))).feed(self.sent)
        return found


class HostPool:
    """Connections to a machine whose host answers as the test says.

    `answers` are the launcher's, in order; `on_open(channel)` is what becomes of a channel that was opened.
    """

    def __init__(self):
        launched = {"own": "1-new.sock", "sockets": {"1-new.sock": "/tmp/1-new.sock"}}
        self.answers, self.commands, self.refusals = [Completed(0, json.dumps(launched).encode(), b"")], [], []
        self.opened, self.relayed, self.on_open = [], [], lambda session: None

    async def run(self, command, data=b""):
        self.commands.append((command, data))
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    async def open_socket(self, factory, path, window):
        if self.refusals:
            raise self.refusals.pop(0)
        self.opened.append(path)
        self._begin(factory())

    async def open_command(self, factory, command, window):
        self.relayed.append(command)
        self._begin(factory())

    def _begin(self, session):
        ssh = HostSsh()
        ssh.on_first = lambda: self.on_open(session)  # a host answers what it is asked
        session.connection_made(ssh)
        session.session_started()


class Pause:
    """Counts the pauses, and makes none."""

    count = 0

    async def __call__(self, seconds):
        self.count += 1


class Owner:
    """What a shell belongs to, where the test is about the shell only."""

    def __init__(self):
        self.heard = []

    def shell_started(self):
        self.heard.append("started")

    def shell_closed(self):
        self.heard.append("closed")


@pytest.fixture
def client():
    return Client()


@pytest.fixture
def window():
    return Window()


@pytest.fixture
def channel():
    return Channel()


@pytest.fixture
def machine():
    return Machine()


@pytest.fixture
def pool(channel):
    return Pool(channel)


@pytest.fixture
def host_pool():
    return HostPool()


@pytest.fixture
def pause():
    return Pause()


@pytest.fixture
def owner():
    return Owner()


@pytest.fixture
def make_attachment(client, window):
    """`make_attachment(typing)` → an attachment of the client to a shell that writes as the window allows."""

    def make(typing=None):
        attachment = Attachment(client, typing or TypingPriority())
        attachment.begin(window)
        return attachment

    return make


@pytest.fixture
def start_shell(client, channel, machine, owner):
    """`start_shell()` → a shell that runs, with the options of ShellSession."""

    def make(is_started=True, **options):
        attachment = Attachment(client, TypingPriority())
        shell = ShellSession(Resize(80, 24), machine.activity, attachment, owner, **options)
        shell.connection_made(channel)
        if is_started:
            shell.session_started()
            channel.done.clear()
        return shell

    return make


@pytest.fixture
def open_terminal(client, machine, pool, pause):
    """`await open_terminal()` → a terminal whose shell runs, unless the machine or the pool decide otherwise."""

    async def make(is_reconnect=False):
        query = TerminalQuery(Resize(80, 24), is_reconnect)
        diagnosis = Diagnosis(machine, pause)
        terminal = Terminal(client, query, machine, pool, None, TypingPriority(), diagnosis, lambda terminal: None)
        terminal.open()
        await terminal.wait_ended()  # its task: the opening
        pool.channel.done.clear()
        return terminal

    return make


def failing(error: AetherError):
    """Return what a pool does when it cannot open a shell."""

    def fail(shell):
        raise error

    return fail
