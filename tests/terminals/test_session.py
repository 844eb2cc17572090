"""session: a shell in the machine's PTY host. (With a real host: tests/test_sessions.py.)"""

import json
import weakref

import pytest

from aether.errors import SessionTaken, SshError
from aether.host_file import PtyHostFile
from aether.messages import Input, Resize, TerminalQuery
from aether.ssh.command import Completed
from aether.terminals.frames import OFFSET, TAKEN, frame, json_frame
from aether.terminals.keeping import SessionPolicy, Sessions
from aether.terminals.session import SessionShell

ID, CLIENT = "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"
SESSION = {
    "id": ID, "is_new": True, "offset": 0, "until": 0, "end": 0, "lost": 0, "taken": 0, "modes": None, "waiting": 0,
}  # fmt: skip


class Owner:
    """What a session's shell belongs to."""

    def __init__(self):
        self.heard = []

    def shell_started(self):
        self.heard.append("started")

    def shell_closed(self):
        self.heard.append("closed")

    def shell_refused(self, error):
        self.heard.append(type(error))


@pytest.fixture
def owner():
    return Owner()


@pytest.fixture
def make_shell(make_attachment, host_pool, machine, owner):
    """`make_shell()` → a session's shell; its host says `SESSION` unless the test decides otherwise."""

    def make():
        host_pool.on_open = answering(json_frame("S", SESSION))
        query = TerminalQuery(Resize(80, 24), False, ID, None, CLIENT)
        keeping = Sessions(PtyHostFile(b"host"), SessionPolicy(5, 7)).of(host_pool)
        return SessionShell(query, keeping, machine.activity, make_attachment(), owner)

    return make


def answering(*frames):
    """Return a host that answers an opened channel with frames, and keeps the channel in `channels`."""
    channels = []

    def answer(channel):
        channels.append(channel)
        for data in frames:
            channel.data_received(data, None)

    answer.channels = channels
    return answer


@pytest.mark.gen_test
async def test_a_session_is_opened_with_all_that_the_host_must_know(make_shell, host_pool, owner):
    """Who asks for which shell, from where, at which size, and what holds without a client."""
    shell = make_shell()
    await shell.attach()
    (channel,) = host_pool.on_open.channels
    kind, payload = channel.ssh.frames[0]
    wanted = json.loads(payload)
    assert (kind, wanted["id"], wanted["client"], wanted["size"]) == ("O", ID, CLIENT, [80, 24])
    assert (wanted["offset"], wanted["create"], wanted["grace_s"], wanted["max_detached"]) == (None, True, 5, 7)
    assert owner.heard == ["started"]


@pytest.mark.gen_test
async def test_what_is_typed_before_there_is_a_shell_follows_it(make_shell, host_pool, machine):
    """With or without offsets of the client's own."""
    shell = make_shell()
    shell.type(Input(b"ls", 0))
    shell.type(Input(b"\r", 2))
    assert shell.waiting_bytes == 3
    await shell.attach()
    (channel,) = host_pool.on_open.channels
    assert [payload[8:] for kind, payload in channel.ssh.frames if kind == "I"] == [b"ls", b"\r"]
    assert machine.activity.heard == ["input", "input"]


@pytest.mark.gen_test
async def test_a_lost_channel_is_followed_by_one_from_where_it_was(make_shell, host_pool, client, owner):
    """Output goes on after what the client has; input that was not confirmed is sent again."""
    shell = make_shell()
    await shell.attach()
    (first,) = host_pool.on_open.channels
    first.data_received(frame("D", OFFSET.pack(0) + b"abc"), None)
    shell.type(Input(b"one", 0))
    first.data_received(frame("T", TAKEN.pack(1, 0)), None)
    first.connection_lost(None)
    assert owner.heard == ["started", "closed"]
    host_pool.on_open = answering(json_frame("S", {**SESSION, "is_new": False, "offset": 3, "taken": 1}))
    await shell.attach()
    (second,) = host_pool.on_open.channels
    assert json.loads(second.ssh.frames[0][1])["offset"] == 3
    assert second.ssh.frames[1] == ("I", OFFSET.pack(1) + b"ne")
    assert [m["type"] for m in client.said] == ["session", "output", "taken"]


@pytest.mark.gen_test
async def test_a_program_that_does_not_read_is_not_overrun_however_often_the_channel_is_lost(make_shell, host_pool):
    """The host says what waits there."""
    shell = make_shell()
    await shell.attach()
    shell.type(Input(b"x" * 200_000, 0))
    for taken in (60_000, 64 * 1024):
        host_pool.on_open.channels[-1].connection_lost(None)
        answer = {**SESSION, "is_new": False, "taken": taken, "waiting": taken}
        host_pool.on_open = answering(json_frame("S", answer))
        await shell.attach()
        sent = sum(len(payload) - 8 for kind, payload in host_pool.on_open.channels[-1].ssh.frames if kind == "I")
        assert sent + taken <= 64 * 1024
    shell.close()


@pytest.mark.gen_test
async def test_a_host_that_was_replaced_unseen_has_another_shell(make_shell, host_pool, client):
    """Its log does not go on where the old one was: the client hears of a session again, and begins anew."""
    shell = make_shell()
    await shell.attach()
    (first,) = host_pool.on_open.channels
    first.data_received(frame("D", OFFSET.pack(0) + b"abc"), None)
    first.connection_lost(None)
    host_pool.on_open = answering(json_frame("S", {**SESSION, "is_new": False, "offset": 0, "modes": "m"}))
    await shell.attach()
    assert [m["type"] for m in client.said] == ["session", "output", "session", "replay"]


@pytest.mark.gen_test
async def test_what_is_drawn_is_told_beside_what_was_sent(make_shell, host_pool):
    """A query that was sent and never drawn is not answered yet."""
    shell = make_shell()
    await shell.attach()
    (first,) = host_pool.on_open.channels
    first.data_received(frame("D", OFFSET.pack(0) + b"abc"), None)
    first.connection_lost(None)
    await shell.attach()
    wanted = json.loads(host_pool.on_open.channels[-1].ssh.frames[0][1])
    assert (wanted["offset"], wanted["drawn"]) == (3, 0)


@pytest.mark.gen_test
async def test_leaving_a_session_hangs_up_nothing(make_shell, host_pool, owner):
    """It goes on without its client; the owner hears no more of it."""
    shell = make_shell()
    await shell.attach()
    shell.close()
    shell.close()
    (channel,) = host_pool.on_open.channels
    channel.connection_lost(None)
    assert channel.ssh.is_closed
    assert {kind for kind, _ in channel.ssh.frames} == {"O"}
    assert owner.heard == ["started"]


@pytest.mark.gen_test
async def test_a_session_that_was_left_is_freed_at_once(make_shell, host_pool):
    """Its buffers do not wait for a collection of garbage, which is rare."""
    shell = make_shell()
    await shell.attach()
    shell.type(Input(b"x", 0))
    left = weakref.ref(shell)
    shell.close()
    del shell
    assert left() is None


@pytest.mark.gen_test
async def test_another_client_may_take_the_session(make_shell, host_pool, owner):
    """This one is told so."""
    shell = make_shell()
    await shell.attach()
    host_pool.on_open.channels[0].data_received(frame("G"), None)
    assert owner.heard == ["started", SessionTaken]


@pytest.mark.gen_test
async def test_an_exit_is_told_with_its_status(make_shell, host_pool, client):
    """And the channel's end is the shell's."""
    shell = make_shell()
    await shell.attach()
    host_pool.on_open.channels[0].data_received(json_frame("X", {"status": 3}), None)
    assert (shell.has_exited, shell.exit_reason, shell.is_closing()) == (True, "shell exited with status 3", True)


@pytest.mark.parametrize(
    "answer",
    [json_frame("E", {"code": "resources", "message": "out of memory"}), frame("?"), json_frame("S", {})]
    + [json_frame("S", {**SESSION, key: value}) for key, value in {"offset": -1, "end": 1e999, "id": "x"}.items()]
    + [json_frame("E", {"code": "unknown", "message": "no"}), frame("S", b"[" * 200_000)],
)
@pytest.mark.gen_test
async def test_a_host_that_cannot_serve_a_session_is_an_error(make_shell, host_pool, answer):
    """The user reads what to do."""
    shell = make_shell()

    def refuse(channel):
        channel.data_received(answer, None)
        channel.connection_lost(None)

    host_pool.on_open = refuse
    with pytest.raises(SshError, match="try again"):
        await shell.attach()


@pytest.mark.gen_test
async def test_a_host_that_gives_up_later_ends_the_terminal(make_shell, host_pool, owner):
    """The client may come back."""
    shell = make_shell()
    await shell.attach()
    host_pool.on_open.channels[0].data_received(json_frame("E", {"code": "frame", "message": "what?"}), None)
    assert owner.heard == ["started", SshError]


@pytest.mark.gen_test
async def test_a_session_of_an_earlier_host_goes_on_in_it(make_shell, host_pool):
    """It is asked first, and starts nothing."""
    shell = make_shell()
    sockets = {name: f"/tmp/{name}" for name in ("1-new.sock", "1-old.sock")}
    host_pool.answers = [Completed(0, json.dumps({"own": "1-new.sock", "sockets": sockets}).encode(), b"")]
    host_pool.on_open = answering(json_frame("S", {**SESSION, "is_new": False}))
    await shell.attach()
    assert host_pool.opened == ["/tmp/1-old.sock"]
    assert json.loads(host_pool.on_open.channels[0].ssh.frames[0][1])["create"] is False


@pytest.mark.gen_test
async def test_a_session_that_no_earlier_host_knows_is_the_newest_s(make_shell, host_pool):
    """It starts there."""
    shell = make_shell()
    sockets = {name: f"/tmp/{name}" for name in ("1-new.sock", "1-old.sock")}
    host_pool.answers = [Completed(0, json.dumps({"own": "1-new.sock", "sockets": sockets}).encode(), b"")]
    unknown, known = json_frame("E", {"code": "unknown", "message": "no"}), json_frame("S", SESSION)
    host_pool.on_open = lambda channel: channel.data_received(unknown if len(host_pool.opened) == 1 else known, None)
    await shell.attach()
    assert host_pool.opened == ["/tmp/1-old.sock", "/tmp/1-new.sock"]


@pytest.mark.gen_test
async def test_the_last_size_is_the_session_s(make_shell, host_pool):
    """Also one that was set while there was no channel."""
    shell = make_shell()
    shell.resize(Resize(100, 30))
    await shell.attach()
    (channel,) = host_pool.on_open.channels
    assert json.loads(channel.ssh.frames[0][1])["size"] == [100, 30]
    assert [kind for kind, _ in channel.ssh.frames] == ["O"]
    shell.close()
