"""pty_host: the way to the host of a machine. (A real one: tests/test_sessions.py.)"""

import asyncio
import json

import pytest

from aether.errors import SessionNotFound, SshError
from aether.host_file import PtyHostFile
from aether.ssh.command import Completed
from aether.ssh.connection import SocketRefused
from aether.terminals.frames import json_frame
from aether.terminals.host_channel import HostChannel, Question
from aether.terminals.pty_host import NO_PYTHON, NOT_INSTALLED, CannotKeep, PtyHost

FILE = PtyHostFile(b"print('host')")
REFUSED = SocketRefused("open failed", is_certain=False)
SESSION = {
    "id": "00000000-0000-4000-8000-000000000001", "command": "vim notes.txt", "is_shell": False, "cols": 80, "rows": 24,
    "created_at": 1.0, "last_used_at": 2.0, "is_attached": True,
}  # fmt: skip


@pytest.fixture
def host(host_pool):
    return PtyHost(host_pool, FILE)


async def open_channel(host, socket=None):
    await host.open(lambda: HostChannel(Question(b"", lambda *_: None)), 1024, socket)


@pytest.mark.gen_test
async def test_a_host_that_runs_is_launched_once(host, host_pool):
    """A terminal that is not the machine's first costs one channel."""
    await open_channel(host)
    await open_channel(host)
    assert (len(host_pool.commands), host_pool.opened) == (1, ["/tmp/1-new.sock"] * 2)
    assert FILE.name in host_pool.commands[0][0]


@pytest.mark.gen_test
async def test_a_machine_made_without_the_host_gets_it(host, host_pool):
    """Over standard input, at its first terminal."""
    host_pool.answers[:0] = [Completed(NOT_INSTALLED, b"", b""), Completed(0, b"", b"")]
    await open_channel(host)
    assert [data for _, data in host_pool.commands] == [b"", FILE.source, b""]


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ([Completed(NO_PYTHON, b"", b"")], "no python3"),
        ([Completed(NOT_INSTALLED, b"", b""), Completed(1, b"", b"cat: No space left on device\n")], "No space left"),
        ([Completed(1, b"", b"x\npty_host: not a private directory of ours\n")], "not a private directory"),
        ([Completed(0, b"motd", b"")], "no answer that makes sense"),
        ([Completed(0, b'{"own": "1-new.sock", "sockets": {}}', b"")], "ended as soon as"),
        ([Completed(0, b'{"own": 1}', b"")], "no answer that makes sense"),
    ],
)
@pytest.mark.gen_test
async def test_a_machine_that_cannot_run_it_says_why(host, host_pool, answers, reason):
    """Users read it in GET /machines/:id."""
    host_pool.answers = answers
    with pytest.raises(CannotKeep, match=reason):
        await open_channel(host)


@pytest.mark.gen_test
async def test_a_host_that_was_killed_is_started_again(host, host_pool):
    """Nothing listens at its socket."""
    await open_channel(host)
    host_pool.refusals = [REFUSED]
    await open_channel(host)
    assert (len(host_pool.commands), len(host_pool.opened), host_pool.relayed) == (2, 2, [])


@pytest.mark.gen_test
async def test_a_server_that_forwards_no_sockets_gets_a_relay(host, host_pool):
    """Images built before; the next terminal does not try again."""
    host_pool.refusals = [REFUSED, REFUSED]
    await open_channel(host)
    await open_channel(host)
    assert len(host_pool.relayed) == 2
    assert "relay" in host_pool.relayed[0]
    assert host_pool.opened == []


@pytest.mark.gen_test
async def test_sessions_are_listed_oldest_first_and_no_host_is_started_for_that(host, host_pool):
    """What the start page shows."""
    newer = {**SESSION, "created_at": 3.0, "command": "bash"}
    host_pool.on_open = lambda channel: channel.data_received(json_frame("L", {"sessions": [newer, SESSION]}), None)
    assert [session.command for session in await host.sessions()] == ["vim notes.txt", "bash"]
    assert " find" in host_pool.commands[0][0]


@pytest.mark.gen_test
async def test_a_machine_without_a_host_has_no_sessions(host, host_pool):
    """None was opened yet, or it has no Python."""
    host_pool.answers = [Completed(0, json.dumps({"own": "1-new.sock", "sockets": {}}).encode(), b"")]
    assert await host.sessions() == []
    with pytest.raises(SessionNotFound):
        await host.hang_up(SESSION["id"])


@pytest.mark.gen_test
async def test_a_machine_without_a_host_is_not_asked_each_time(host, host_pool):
    """The start page asks every two seconds."""
    host_pool.answers = [Completed(0, json.dumps({"own": "1-new.sock", "sockets": {}}).encode(), b"")]
    assert [await host.sessions(), await host.sessions()] == [[], []]
    assert len(host_pool.commands) == 1


@pytest.mark.parametrize("answer", [{}, {"sessions": [{}]}, {"sessions": [{**SESSION, "command": 7}]}])
@pytest.mark.gen_test
async def test_a_list_that_makes_no_sense_is_an_error(host, host_pool, answer):
    """The machine is its user's."""
    host_pool.on_open = lambda channel: channel.data_received(json_frame("L", answer), None)
    with pytest.raises(SshError, match="no list that makes sense"):
        await host.sessions()


@pytest.mark.gen_test
async def test_a_session_is_hung_up_where_it_is(host, host_pool):
    """An unknown one is an error."""
    host_pool.on_open = lambda channel: channel.data_received(json_frame("L", {"sessions": []}), None)
    await host.hang_up(SESSION["id"])
    host_pool.on_open = lambda channel: channel.data_received(json_frame("E", {"code": "unknown", "message": ""}), None)
    with pytest.raises(SessionNotFound):
        await host.hang_up(SESSION["id"])


@pytest.mark.gen_test
async def test_hosts_of_earlier_servers_are_known_if_their_protocol_is(host, host_pool):
    """Their sessions go on in them."""
    sockets = {name: f"/tmp/{name}" for name in ("1-new.sock", "1-old.sock", "9-future.sock")}
    host_pool.answers = [Completed(0, json.dumps({"own": "1-new.sock", "sockets": sockets}).encode(), b"")]
    await host.prepare()
    assert host.earlier() == ["/tmp/1-old.sock"]


@pytest.mark.gen_test
async def test_many_terminals_at_once_launch_the_host_once(host, host_pool):
    """All come back at once after a restart of the server."""
    await asyncio.gather(*(open_channel(host) for _ in range(20)))
    assert (len(host_pool.commands), len(host_pool.opened)) == (1, 20)
