"""websocket: frames as Tornado's own reader would have them, however the network cuts them; writes as an IOStream's."""

import asyncio
import json
import os
import socket
import struct

import psutil
import pytest
from tornado.iostream import IOStream, StreamClosedError
from tornado.tcpclient import TCPClient
from tornado.web import Application

from aether.handlers.terminal import TerminalHandler
from aether.handlers.websocket import READ_BYTES, WRITE_PIECES, DirectStream, DirectWebSocketProtocol

PROMPT = "coder@aether:~$ "


def frame(text, opcode=1, is_final=True):
    """Encode a client's frame: RFC 6455, section 5.2."""
    data, mask = text.encode(), os.urandom(4)
    size = len(data)
    if size < 126:
        length = struct.pack("!B", 0x80 | size)
    else:
        length = struct.pack("!BH", 0x80 | 126, size) if size < 65536 else struct.pack("!BQ", 0x80 | 127, size)
    masked = bytes(byte ^ mask[number % 4] for number, byte in enumerate(data))
    return struct.pack("!B", (0x80 if is_final else 0) | opcode) + length + mask + masked


class Raw:
    """A WebSocket client that sends the very bytes it is told to."""

    def __init__(self, stream):
        self.stream, self.text = stream, ""

    async def until(self, sentinel):
        while sentinel not in self.text:
            first, size = await self.stream.read_bytes(2)
            if size >= 126:
                kind, more = ("!H", 2) if size == 126 else ("!Q", 8)
                (size,) = struct.unpack(kind, await self.stream.read_bytes(more))
            payload = await self.stream.read_bytes(size)
            if first & 0xF == 1:  # else a pong
                self.text += json.loads(payload).get("data", "")


@pytest.fixture
def raw(io_loop, machine, base_url):
    """`await raw()` → such a client at its prompt."""
    opened = []

    async def connect(early=b""):
        host = base_url.removeprefix("http://")
        stream = await TCPClient().connect(*host.split(":"))
        opened.append(stream)
        await stream.write(upgrade(host, f"/machines/{(await machine())['id']}/terminal?cols=200") + early)
        await stream.read_until(b"\r\n\r\n")
        client = Raw(stream)
        await client.until(PROMPT)
        return client

    yield connect
    for stream in opened:
        stream.close()


def upgrade(host, path):
    headers = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"]
    headers += [f"Host: {host}", f"Sec-WebSocket-Key: {'A' * 22}=="]
    return "\r\n".join([f"GET {path} HTTP/1.1", *headers, "", ""]).encode()


def key(data):
    return json.dumps({"type": "input", "data": data})


@pytest.mark.gen_test
@pytest.mark.parametrize("piece", [1, 3, 100_000])
async def test_frames_are_read_however_they_are_cut_and_joined(raw, piece):
    """One byte at a time, or many frames in one packet; short, long, empty and fragmented ones."""
    client = await raw()
    long = "x" * 300
    wire = b"".join(
        [
            frame(key("echo ")),
            frame("", opcode=9),  # a ping without anything in it
            frame(key("a")[:9], is_final=False),
            frame(key("a")[9:], opcode=0),
            frame(key(long)),
            frame(key(" end-$((1+1))\n")),
        ]
    )
    for start in range(0, len(wire), piece):
        await client.stream.write(wire[start : start + piece])
    await client.until(f"a{long} end-2")


@pytest.mark.gen_test
async def test_a_frame_longer_than_one_read_is_put_together(raw):
    """A paste."""
    client = await raw()
    size = READ_BYTES * 3 + 17
    command = f"stty raw -echo; echo ready-$((1+1)); head -c {size} | tr -d x | wc -c; echo done-$((1+1)); stty sane\n"
    await client.stream.write(frame(key(command)))
    await client.until("ready-2")
    await client.stream.write(frame(key("x" * size)))
    await client.until("done-2")
    assert client.text.rpartition("ready-2")[2].partition("done-2")[0].split() == ["0"]


@pytest.mark.gen_test
async def test_frames_that_come_with_the_request_itself_are_not_lost(raw):
    """A client that does not wait for the upgrade."""
    client = await raw(early=frame(key("echo early-$((1+1))\n")))
    if "early-2" not in client.text:
        await client.until("early-2")


@pytest.mark.gen_test
async def test_a_thousand_frames_at_once_are_taken_in_order(raw):
    """More than Tornado takes in one turn of the event loop."""
    client = await raw()
    await client.stream.write(frame(key("printf '<%s>' '")) + b"".join(frame(key(str(n % 10))) for n in range(1000)))
    await client.stream.write(frame(key("'\n")))
    await client.until("<" + "0123456789" * 100 + ">")


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"\x81\x82\0\0\0\0\xff\xff", b""),  # a text that is no UTF-8
        (b"\x88\x84\0\0\0\0\x03\xe8\xff\xff", b""),  # a close whose reason is none
        (b"\xc1\x80\0\0\0\0", b""),  # compressed, which was not agreed on
        (b"\x80\x80\0\0\0\0", b""),  # the rest of no message
        (b"\x09\x80\0\0\0\0", b""),  # a ping in pieces
        (b"\x89\xfe\0\x80\0\0\0\0", b""),  # a ping of 128 bytes
        (b"\x81\xff" + struct.pack("!Q", 1 << 30) + bytes(100_000), b"\x88\x11\x03\xf1message too big"),
    ],
)
async def test_what_is_no_message_ends_the_connection_and_the_shell(raw, aether, eventually, sent, answer):
    """RFC 6455, section 7.1.7."""
    client = await raw()
    (entry,) = aether.fleet.lifecycles()
    await client.stream.write(sent)
    assert (await client.stream.read_until_close()).endswith(answer)
    await eventually(lambda: len(entry.terminals) == 0)


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "flood",
    [frame("x", opcode=9), frame("{"), frame('{"type":"ping","number":1}')],
    ids=["pings", "nonsense", "messages"],
)
async def test_a_client_that_floods_us_and_reads_nothing_is_not_answered_without_end(raw, aether, eventually, flood):
    """Neither its pings, of either kind, nor its mistakes: one answer waits, behind the output."""
    client = await raw()
    (terminal,) = aether.fleet.lifecycles()[0].terminals
    attachment = terminal.attachment
    stream = attachment.client.ws_connection.stream
    await client.stream.write(frame(key("yes\n")))
    await eventually(lambda: attachment.window.left == 0 and stream.unsent_messages)  # no kernel takes more
    await client.stream.write(flood * 2000 + frame('{"type":"resize","cols":77,"rows":22}'))
    await eventually(lambda: terminal.shell.size.cols == 77)
    assert stream.unsent_messages <= attachment.unsent_messages + 1


class StarvedHandler(TerminalHandler):
    """Has no descriptor left for another copy of its socket."""

    def get_websocket_protocol(self):
        return DirectWebSocketProtocol(self, super().get_websocket_protocol().params, refuse)


def refuse(stream):
    raise OSError(24, "Too many open files")


class TestStarved:
    """With such handlers."""

    @pytest.fixture
    def app(self, aether):
        routes = [(path, StarvedHandler if kind is TerminalHandler else kind, kw) for path, kind, kw in aether.routes()]
        return Application(routes)

    @pytest.mark.gen_test
    async def test_without_descriptors_left_a_terminal_works_on_the_stream_it_has(self, raw):
        """Too many open files are no reason to lose one that is open already."""
        client = await raw()
        await client.stream.write(frame(key("echo still-$((1+1))\n")))
        await client.until("still-2")


@pytest.fixture
def wire(io_loop):
    """`wire()` → a DirectStream and the socket at its other end."""
    opened = []

    def connect():
        near, far = socket.socketpair()
        near.setblocking(False)
        far.setblocking(False)
        opened.extend([DirectStream(near, b"ahead"), far])
        return opened[-2:]

    yield connect
    for one in opened:
        one.close()


async def receive(far, size):
    data = b""
    while len(data) < size:
        data += (more := await asyncio.get_running_loop().sock_recv(far, 65536))
        assert more, f"closed after {len(data)} bytes of {size}"
    return data


@pytest.mark.gen_test
async def test_what_a_full_socket_does_not_take_follows_in_order(wire):
    """Each write is done when it has left, and not before."""
    near, far = wire()
    pieces = [bytes([number % 256]) * (number * 37 % 5000 + 1) for number in range(WRITE_PIECES * 5)]
    writes = [near.write(piece) for piece in pieces]
    assert writes[0].done()
    assert not writes[-1].done()
    assert await receive(far, sum(map(len, pieces))) == b"".join(pieces)
    await asyncio.gather(*writes)


@pytest.mark.gen_test
@pytest.mark.parametrize("who", ["near", "far"])
async def test_a_close_fails_the_writes_that_wait_and_ends_the_reader(wire, who):
    """Whichever end closes."""
    near, far = wire()
    ends = []

    async def read():
        ends.append(await near.read_bytes(5))
        with pytest.raises(StreamClosedError):
            await near.read_bytes(1)
        ends.append("over")

    running = asyncio.create_task(near.run(read()))
    await asyncio.sleep(0)
    while near.write(b"x" * 65536).done():
        pass
    waiting = near.write(b"last")
    (near if who == "near" else far).close()
    await running
    with pytest.raises(StreamClosedError):
        await waiting
    with pytest.raises(StreamClosedError):
        near.write(b"too late")
    assert ends == [b"ahead", "over"]
    assert near.closed()


@pytest.mark.gen_test
async def test_a_write_that_finds_the_client_gone_fails_by_its_future(wire):
    """As an IOStream's: Tornado's pings are written by a task that is never awaited."""
    near, far = wire()
    far.close()
    with pytest.raises(StreamClosedError):
        await near.write(b"ping")
    assert near.closed()


@pytest.mark.gen_test
async def test_a_reader_that_is_cancelled_is_closed_with_its_socket(wire):
    """The server's shutdown."""
    near, far = wire()
    ends = []

    async def read():
        try:
            await near.read_bytes(100)
        finally:
            ends.append("closed")

    running = asyncio.create_task(near.run(read()))
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert ends == ["closed"]
    assert await asyncio.get_running_loop().sock_recv(far, 1) == b""


@pytest.mark.gen_test
async def test_an_error_of_the_reader_is_its_callers(wire):
    """Nothing is swallowed."""
    near, _ = wire()

    async def read():
        await near.read_bytes(5)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await near.run(read())
    assert near.closed()


@pytest.mark.gen_test
async def test_a_reader_that_waits_for_something_else_than_the_wire_is_an_error(wire):
    """It would never wake: a Tornado that awaits more here must not leave a terminal hanging."""
    near, far = wire()

    async def read():
        await near.read_bytes(5)
        await asyncio.sleep(0)  # a turn for others is no waiting
        await asyncio.get_running_loop().create_future()

    with pytest.raises(RuntimeError, match="waits for <Future pending"):
        await near.run(read())
    assert near.closed()
    assert await asyncio.get_running_loop().sock_recv(far, 1) == b""


@pytest.mark.gen_test
async def test_a_stream_that_is_closed_already_cannot_be_taken():
    """And no descriptor of it is left."""
    before = psutil.Process().num_fds()
    near, far = socket.socketpair()
    stream = IOStream(near)
    far.close()
    with pytest.raises(StreamClosedError):
        DirectStream.take(stream)
    assert stream.closed()
    with pytest.raises(StreamClosedError):
        DirectStream.take(stream)
    assert psutil.Process().num_fds() == before


@pytest.mark.gen_test
async def test_a_client_that_is_gone_before_it_is_answered_is_no_error(raw, base_url):
    """The refusal has no receiver any more."""
    host = base_url.removeprefix("http://")
    for _ in range(10):
        client = socket.create_connection(host.split(":"))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
        client.sendall(upgrade(host, "/machines/nobody/terminal"))
        client.close()
    await raw()  # whose request comes after theirs
