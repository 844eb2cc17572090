"""session_output: a host's frames become messages, with offsets that a client can come back with."""

import asyncio
import json

import pytest

from aether.messages import Resize, TerminalQuery
from aether.terminals.flow import START_WINDOW_BYTES
from aether.terminals.frames import OFFSET, SIZE, FrameError, drawn_frame, json_frame
from aether.terminals.session_output import DRAWN_BYTES, DRAWN_S, SessionOutput
from tests.timelapse import Timelapse

SESSION = {
    "id": "s",
    "is_new": False,
    "offset": 0,
    "until": 0,
    "end": 0,
    "lost": 0,
    "taken": 0,
    "modes": None,
    "waiting": 0,
}


@pytest.fixture
def sent():
    return []


@pytest.fixture
def make(make_attachment, sent):
    """`make(offset)` → the output of a session to a client that comes back with an offset."""

    def build(offset=None, is_reconnect=False):
        query = TerminalQuery(Resize(80, 24), is_reconnect, "s", offset)
        return SessionOutput(query, make_attachment(), lambda frame: sent.append(frame) or True)

    return build


def output(offset, data):
    return OFFSET.pack(offset) + data


async def turn():
    """Let what was gathered in this turn of the loop be sent."""
    for _ in range(2):
        await asyncio.sleep(0)


@pytest.mark.gen_test
async def test_each_message_has_the_offset_after_its_last_whole_character(make, client):
    """A client that comes back with it begins with a decoder of its own."""
    session = make()
    session.attached(SESSION, had_shell=False)
    assert session.take(output(0, b"a" + "é".encode()[:1]))
    await turn()
    session.take(output(2, "é".encode()[1:]))
    await turn()
    assert [(m["data"], m["offset"]) for m in client.said[1:]] == [("a", 1), ("é", 3)]
    assert session.offset == 3


@pytest.mark.gen_test
async def test_invalid_bytes_count_as_the_bytes_that_they_were(make, client):
    """They are drawn as U+FFFD, three bytes each."""
    session = make()
    session.attached(SESSION, had_shell=False)
    session.take(output(0, b"\xff" * 70_000 + b"x"))
    texts = client.said[1:]
    assert "".join(m["data"] for m in texts) == "\ufffd" * 70_000 + "x"
    assert len(texts) > 1
    drawn = 0
    for message in texts:
        drawn += len(message["data"])
        assert message["offset"] == drawn


@pytest.mark.gen_test
async def test_output_that_leaves_a_gap_is_refused(make):
    """The channel ends, and the next one goes on where this one was."""
    session = make()
    session.attached({**SESSION, "offset": 5}, had_shell=False)
    with pytest.raises(FrameError, match="from 7, not 5"):
        session.take(output(7, b"x"))


@pytest.mark.gen_test
async def test_no_message_crosses_what_another_client_was_given(make, client):
    """Up to there the terminal's answers are muted."""
    session = make()
    session.attached({**SESSION, "until": 3, "end": 6, "modes": "\x1b[?1h"}, had_shell=False)
    assert client.said[1] == {"type": "replay", "until": 3, "modes": "\x1b[?1h"}
    assert [session.take(output(0, b"abc")), session.take(output(3, b"def")), session.take(output(6, b"new"))] == [
        False,
        False,
        True,
    ]
    await turn()
    assert client.said[2]["offset"] == 3


@pytest.mark.gen_test
async def test_the_same_shell_over_another_connection_is_not_announced_again(make, client):
    """The user notices nothing."""
    session = make()
    session.attached(SESSION, had_shell=False)
    session.attached(SESSION, had_shell=True)
    assert [m["type"] for m in client.said] == ["session"]


@pytest.mark.parametrize(
    ("offset", "is_reconnect", "had_shell", "types"),
    [
        (None, False, False, ["session"]),
        (10, False, False, ["session", "reconnected"]),
        (None, True, False, ["session", "reconnected"]),
        (None, False, True, ["session", "reconnected"]),
    ],
)
@pytest.mark.gen_test
async def test_a_new_shell_in_place_of_a_lost_one_is_told(make, client, offset, is_reconnect, had_shell, types):
    """In the PRD's words."""
    make(offset, is_reconnect).attached({**SESSION, "is_new": True}, had_shell)
    assert [m["type"] for m in client.said] == types


@pytest.mark.gen_test
async def test_what_is_gone_is_told_to_the_byte_before_what_follows(make, client):
    """With what the terminal must know to go on."""
    make(10).attached({**SESSION, "offset": 110, "lost": 100, "modes": "m"}, had_shell=False)
    assert client.said[1:] == [{"type": "lost", "bytes": 100}, {"type": "replay", "until": 0, "modes": "m"}]


@pytest.mark.gen_test
async def test_a_recorded_size_comes_between_the_outputs_it_was_between(make, client):
    """A replay is drawn at the sizes at which it was written."""
    session = make()
    session.attached(SESSION, had_shell=False)
    session.take(output(0, b"ab"))
    session.take(output(2, b"cd"))
    session.size_recorded(SIZE.pack(4, 100, 30))
    session.take(output(4, b"ef"))
    await turn()
    assert [m["type"] for m in client.said[1:]] == ["output", "output", "size", "output"]


@pytest.mark.gen_test
async def test_the_host_hears_how_far_a_client_has_drawn(make, client, sent):
    """Much of it at once, the rest a moment later: it keeps what nobody has seen."""
    lapse = Timelapse(asyncio.get_running_loop())
    session = make()
    session.attached(SESSION, had_shell=False)
    session.take(output(0, b"x" * DRAWN_BYTES))
    await client.drain()
    assert sent[-1] == drawn_frame(DRAWN_BYTES)
    session.take(output(DRAWN_BYTES, b"y"))
    await turn()
    await client.drain()
    assert len(sent) == 1
    await lapse.elapse(DRAWN_S * 2)
    assert sent[-1] == drawn_frame(DRAWN_BYTES + 1)


@pytest.mark.gen_test
async def test_what_was_drawn_of_a_lost_shell_says_nothing_of_a_new_one(make_attachment, client, sent):
    """Late acknowledgements of the old output do not move the new one's."""
    attachment = make_attachment()
    query = TerminalQuery(Resize(80, 24), False, "s")
    session = SessionOutput(query, attachment, lambda frame: sent.append(frame) or True)
    session.attached({**SESSION, "offset": 5_000_000}, had_shell=False)
    attachment.acknowledged(0)
    session.take(output(5_000_000, b"x" * DRAWN_BYTES))
    session.attached({**SESSION, "is_new": True}, had_shell=True)
    attachment.acknowledged(DRAWN_BYTES)
    session.take(output(0, b"y" * DRAWN_BYTES))
    attachment.acknowledged(DRAWN_BYTES)
    assert sent == [drawn_frame(DRAWN_BYTES)]


@pytest.mark.gen_test
async def test_a_host_cannot_fill_the_server_with_what_is_no_output(make, make_attachment, client, window):
    """Messages that a client does not take hold the machine back, whatever they say."""
    session = make()
    session.attached(SESSION, had_shell=False)
    front = json_frame("F", {"command": "x" * 5000, "is_shell": True, "echo": True, "canonical": True, "ixon": True})
    came = told = 0
    while came + len(front) <= START_WINDOW_BYTES + window.granted:
        session.foreground_changed(front[5:])
        session.packet_read(len(front))
        came += len(front)
        told += len(json.dumps(client.said[-1]))
    assert told < 2 << 20


@pytest.mark.gen_test
async def test_a_program_that_writes_byte_by_byte_never_stalls(make_attachment, window, sent):
    """Each byte takes fourteen of the window, and clients acknowledge only every 16 KiB of what they have drawn."""
    attachment = make_attachment()
    query = TerminalQuery(Resize(80, 24), False, "s")
    session = SessionOutput(query, attachment, lambda frame: sent.append(frame) or True)
    session.attached(SESSION, had_shell=False)
    attachment.acknowledged(0)
    for number in range(5 * START_WINDOW_BYTES // 14):
        assert (number + 1) * 14 <= START_WINDOW_BYTES + window.granted
        session.take(output(number, b"x"))
        session.packet_read(14)
        if number % 16384 == 16383:
            await turn()
            attachment.acknowledged(16384)


@pytest.mark.parametrize(("cols", "rows"), [(0, 24), (80, 65535)])
@pytest.mark.gen_test
async def test_a_size_that_no_terminal_has_is_refused(make, cols, rows):
    """The page would take it."""
    session = make()
    session.attached(SESSION, had_shell=False)
    with pytest.raises(FrameError, match="a size of"):
        session.size_recorded(SIZE.pack(0, cols, rows))


@pytest.mark.parametrize(
    ("end", "words"), [({"status": 3}, "exited with status 3"), ({"signal": "KILL"}, "ended by signal KILL")]
)
@pytest.mark.gen_test
async def test_an_exit_comes_after_the_last_output(make, client, end, words):
    """Half a character included."""
    session = make()
    session.attached(SESSION, had_shell=False)
    session.take(output(0, b"bye\xc3"))
    assert words in session.exited(json_frame("X", end)[5:])
    assert "".join(m["data"] for m in client.said if m["type"] == "output") == "bye\ufffd"
    assert client.said[-1] == {"type": "exit", **end}
