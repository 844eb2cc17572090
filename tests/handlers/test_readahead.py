"""readahead: frames as Tornado's own reader would have had them, however the network cuts them."""

import json
import os
import struct

import pytest
from tornado.tcpclient import TCPClient

from aether.handlers.readahead import CHUNK_BYTES

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

    async def connect():
        host = base_url.removeprefix("http://")
        stream = await TCPClient().connect(*host.split(":"))
        opened.append(stream)
        path = f"/machines/{(await machine())['id']}/terminal?cols=200"
        headers = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"]
        headers += [f"Host: {host}", f"Sec-WebSocket-Key: {'A' * 22}=="]
        await stream.write("\r\n".join([f"GET {path} HTTP/1.1", *headers, "", ""]).encode())
        await stream.read_until(b"\r\n\r\n")
        client = Raw(stream)
        await client.until(PROMPT)
        return client

    yield connect
    for stream in opened:
        stream.close()


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
    size = CHUNK_BYTES * 3 + 17
    command = f"stty raw -echo; echo ready-$((1+1)); head -c {size} | tr -d x | wc -c; echo done-$((1+1)); stty sane\n"
    await client.stream.write(frame(key(command)))
    await client.until("ready-2")
    await client.stream.write(frame(key("x" * size)))
    await client.until("done-2")
    assert "0" in client.text.rpartition("ready-2")[2].partition("done-2")[0]
