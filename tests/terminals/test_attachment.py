"""attachment: what goes to the client, in what order, and what holds the shell back."""

import asyncio

import pytest

from aether.terminals.attachment import MAX_UNSENT_MESSAGES, Attachment
from aether.terminals.flow import CALM_BYTES_S, MAX_WINDOW_BYTES, START_WINDOW_BYTES, TypingPriority
from aether.terminals.output import MAX_MESSAGE_BYTES
from tests.timelapse import Timelapse


@pytest.mark.gen_test
async def test_a_character_split_at_every_byte_arrives_whole(make_attachment, client):
    """One incremental decoder per PTY."""
    attachment = make_attachment()
    for byte in "aé日🐢".encode():
        attachment.take(bytes([byte]))
    await asyncio.sleep(0)
    assert client.text == "aé日🐢"


@pytest.mark.gen_test
async def test_half_a_character_at_the_end_comes_after_what_was_gathered(make_attachment, client):
    """In the order in which it was written; nothing that the shell wrote is dropped in silence."""
    attachment = make_attachment()
    attachment.take(b"one")
    attachment.take(b"two" + "日".encode()[:2])
    attachment.finish()
    assert client.text == "onetwo\ufffd"


@pytest.mark.gen_test
async def test_a_client_that_does_not_read_stops_the_shell_from_writing(make_attachment, client, window):
    """What has not left us is not granted again; once it has left, the shell goes on."""
    make_attachment().take(b"x" * START_WINDOW_BYTES)
    assert window.granted == 0
    await client.drain()
    assert window.granted >= START_WINDOW_BYTES


@pytest.mark.gen_test
async def test_a_client_that_acknowledges_is_the_only_one_to_say_what_is_drawn(make_attachment, client, window):
    """What lies in kernels and in the browser is still on its way."""
    attachment = make_attachment()
    attachment.acknowledged(0)
    attachment.take(b"x" * START_WINDOW_BYTES)
    await client.drain()
    assert window.granted == 0
    attachment.acknowledged(START_WINDOW_BYTES // 2)
    assert window.granted == START_WINDOW_BYTES // 2


@pytest.mark.gen_test
async def test_a_flood_makes_room_for_a_user_who_types_beside_it(make_attachment, client, window):
    """It is held to what eyes can follow, however fast its own client; keys of its own hold it to nothing."""
    lapse, typing = Timelapse(asyncio.get_running_loop()), TypingPriority()
    flooding, neighbour = make_attachment(typing), make_attachment(typing)
    flooding.typed()
    for _ in range(2):
        flooding.take(b"x" * START_WINDOW_BYTES)
        await client.drain()
    assert window.granted == 2 * START_WINDOW_BYTES
    neighbour.typed()
    for _ in range(3):
        flooding.take(b"x" * START_WINDOW_BYTES)
        await client.drain()
        await client.drain()
    granted = window.granted
    pause_s = (granted - 2 * START_WINDOW_BYTES) / CALM_BYTES_S
    await lapse.elapse(pause_s / 2)
    assert window.granted == granted
    await lapse.elapse(pause_s)
    assert window.granted > granted


@pytest.mark.gen_test
async def test_a_terminal_that_ends_while_it_makes_room_is_granted_nothing_more(make_attachment, client, window):
    """Its timer ends with it."""
    lapse, typing = Timelapse(asyncio.get_running_loop()), TypingPriority()
    flooding = make_attachment(typing)
    make_attachment(typing).typed()
    for _ in range(3):
        flooding.take(b"x" * START_WINDOW_BYTES)
        await client.drain()
    granted = window.granted
    flooding.end(None)
    await lapse.elapse(10)
    assert window.granted == granted


@pytest.mark.gen_test
async def test_acknowledged_bytes_are_those_of_utf_8(make_attachment):
    """Of the text that was sent: an invalid byte is three, as U+FFFD."""
    attachment = make_attachment()
    attachment.acknowledged(0)
    attachment.take(b"\xff" * 1000 + "日".encode())
    assert attachment.credit.undrawn == 3003
    attachment.acknowledged(3003)
    assert attachment.credit.undrawn == 0


@pytest.mark.gen_test
async def test_output_goes_at_once_and_what_else_comes_in_the_same_turn_in_one_message(make_attachment, client):
    """An echo waits for nothing; a flood is not a thousand messages."""
    attachment = make_attachment()
    attachment.take(b"a")
    assert client.text == "a"
    for byte in (b"b", b"c", b"d"):
        attachment.take(byte)
    assert client.text == "a"
    await asyncio.sleep(0)
    assert [message["data"] for message in client.said] == ["a", "bcd"]
    attachment.take(b"e")
    assert client.text == "abcd"  # more came in the turn before: it is a flood
    await asyncio.sleep(0)
    assert client.text == "abcde"
    await asyncio.sleep(0)
    attachment.take(b"f")
    assert client.text == "abcdef"


@pytest.mark.gen_test
async def test_a_lot_of_output_comes_in_messages_that_a_slow_client_can_take(make_attachment, client):
    """It can acknowledge only whole ones."""
    make_attachment().take(b"x" * START_WINDOW_BYTES)
    assert {len(message["data"]) for message in client.said} == {MAX_MESSAGE_BYTES}


@pytest.mark.gen_test
async def test_output_in_many_small_pieces_does_not_wait_in_as_many_messages(make_attachment, client):
    """A program that writes byte by byte, a client that does not read: a message takes more than its byte."""
    attachment, text = make_attachment(), "é日" * 1000
    for number in range(len(text.encode())):
        attachment.take(text.encode()[number : number + 1])
        await asyncio.sleep(0)
    assert len(client.said) == MAX_UNSENT_MESSAGES
    assert text.startswith(client.text)
    await client.drain()
    assert len(client.said) == MAX_UNSENT_MESSAGES + 1
    assert client.text == text
    await asyncio.sleep(0)
    attachment.take(b"more")
    assert client.text == f"{text}more"


@pytest.mark.gen_test
async def test_what_was_held_back_comes_before_the_end(make_attachment, client):
    """Also to a client that still does not read."""
    attachment = make_attachment()
    for number in range(1000):
        attachment.take(b"%d " % number)
        await asyncio.sleep(0)
    attachment.finish()
    attachment.end(None, "bye")
    assert client.text == "".join(f"{number} " for number in range(1000))
    assert client.ended == (1000, "bye")


@pytest.mark.gen_test
async def test_what_was_gathered_comes_before_the_end(make_attachment, client):
    """The last lines of a program are often the ones that matter."""
    attachment = make_attachment()
    attachment.take(b"one ")
    attachment.take(b"two")
    attachment.end(None, "bye")
    attachment.take(b"late")
    assert (client.text, client.ended) == ("one two", (1000, "bye"))


@pytest.mark.gen_test
async def test_what_had_left_before_the_client_began_to_acknowledge_is_not_counted_twice(make_attachment, client):
    """From its first acknowledgement on only the client says what is drawn."""
    attachment = make_attachment()
    attachment.take(b"x" * 1000)
    attachment.acknowledged(0)
    await client.drain()
    assert attachment.credit.undrawn == 1000


@pytest.mark.gen_test
async def test_a_client_that_acknowledges_and_is_fast_gets_more_at_once(make_attachment, client):
    """Or a network with a long way would be slow."""
    attachment = make_attachment()
    attachment.acknowledged(0)
    for _ in range(8):
        attachment.take(b"x" * START_WINDOW_BYTES)
        await client.drain()
        attachment.acknowledged(START_WINDOW_BYTES)
    assert attachment.credit.window == MAX_WINDOW_BYTES


class Sent:
    """A message on its way, which leaves within the very turn in which the test says so."""

    def done(self):
        return False

    def add_done_callback(self, callback):
        self.leave = lambda: callback(self)


class SlowClient:
    """A client of such messages."""

    def __init__(self):
        self.sent = []

    def send(self, message):
        self.sent.append(Sent())
        return self.sent[-1]


@pytest.mark.gen_test
async def test_what_is_gathered_is_on_its_way_too(window):
    """Or more would be granted than there is room for, each time a message leaves meanwhile."""
    client = SlowClient()
    attachment = Attachment(client, TypingPriority())
    attachment.begin(window)
    attachment.acknowledged(0)
    attachment.take(b"x")
    attachment.take(b"x" * (START_WINDOW_BYTES - 1))
    client.sent[0].leave()
    assert window.granted == 0
    await asyncio.sleep(0)
    assert window.granted == 0


class Gone:
    """A client that is gone."""

    def send(self, message):
        return None


@pytest.mark.gen_test
async def test_output_for_a_client_that_is_gone_goes_nowhere():
    """The terminal ends when its connection says so; until then nothing piles up."""
    attachment = Attachment(Gone(), TypingPriority())
    for _ in range(1000):
        attachment.take(b"x" * 1000)
    attachment.finish()
    assert attachment.credit.undrawn == 0
