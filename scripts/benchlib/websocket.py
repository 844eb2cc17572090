"""A lean WebSocket client (RFC 6455, 7692) on a `DirectStream`: no library in the figures, no reading ahead."""

import asyncio
import base64
import os
import socket
import struct
import urllib.parse
import zlib
from collections.abc import Callable

from benchlib.wire import DirectStream

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
FIN = 0x80
RSV1 = 0x40  # a compressed message: RFC 7692
DEFLATE = "permessage-deflate"
TAIL = b"\0\0\xff\xff"


class WebSocketRefused(Exception):
    """The server did not upgrade the connection."""


class WebSocket:
    """One connection; make it with `connect`.

    Args:
        feed: gets each message's opcode and payload.
        lost: is called with the reason when the connection ends.
    """

    def __init__(self, sock: socket.socket, feed: Callable[[int, bytes], None], lost: Callable[[str], None]) -> None:
        self._sock = sock
        self._feed = feed
        self._lost = lost
        self._buffer = bytearray()
        self._parts: list[bytes] = []
        self._kind = 0
        self._inflate: Callable[[bytes], bytes] | None = None
        self.wire = DirectStream(sock.fileno(), self._received, lost)

    @classmethod
    async def connect(
        cls, url: str, feed: Callable[[int, bytes], None], lost: Callable[[str], None], is_compressed: bool = False
    ) -> "WebSocket":
        """Connect and upgrade; raise WebSocketRefused. What is sent is never compressed."""
        parts = urllib.parse.urlsplit(url)
        assert parts.hostname is not None
        sock = socket.socket()
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connecting = asyncio.get_running_loop().sock_connect(sock, (parts.hostname, parts.port or 80))
            await asyncio.wait_for(connecting, 10)
            rest = await _upgrade(sock, parts, is_compressed)
        except BaseException:
            sock.close()
            raise
        self = cls(sock, feed, lost)
        if is_compressed:
            self._inflate = zlib.decompressobj(-zlib.MAX_WBITS).decompress
        if rest:
            self._received(rest)
        return self

    def send(self, payload: bytes, kind: int = TEXT) -> None:
        """Send one message, masked with zeros: RFC 6455 wants a mask, and this one costs the client nothing."""
        size = len(payload)
        if size < 126:
            head = struct.pack("!BB", FIN | kind, 0x80 | size)
        elif size < 1 << 16:
            head = struct.pack("!BBH", FIN | kind, 0x80 | 126, size)
        else:
            head = struct.pack("!BBQ", FIN | kind, 0x80 | 127, size)
        self.wire.write(head + b"\0\0\0\0" + payload)

    def close(self) -> None:
        """Hang up."""
        self.wire.close()
        self._sock.close()

    def _received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        place, end = 0, len(buffer)
        while end - place >= 2:
            first, size = buffer[place], buffer[place + 1] & 0x7F
            begin = place + 2
            if size == 126:
                if end - place < 4:
                    break
                size, begin = int.from_bytes(buffer[place + 2 : place + 4], "big"), place + 4
            elif size == 127:
                if end - place < 10:
                    break
                size, begin = int.from_bytes(buffer[place + 2 : place + 10], "big"), place + 10
            if end - begin < size:
                break
            place = begin + size
            self._frame(first, bytes(memoryview(buffer)[begin:place]))
        del buffer[:place]

    def _frame(self, first: int, payload: bytes) -> None:
        kind = first & 0x0F
        if kind == PING:
            self.send(payload, PONG)
        elif kind == CLOSE:
            self.wire.close()
            code = int.from_bytes(payload[:2], "big") if payload else 1005
            self._lost(f"closed with {code} {payload[2:].decode(errors='replace')}")
        elif kind != PONG:
            self._kind = kind or self._kind
            if not first & FIN:
                self._parts.append(payload)
                return
            if self._parts:
                payload = b"".join([*self._parts, payload])
                self._parts.clear()
            if first & RSV1 and self._inflate is not None:
                payload = self._inflate(payload + TAIL)
            self._feed(self._kind, payload)


async def _upgrade(sock: socket.socket, parts: urllib.parse.SplitResult, is_compressed: bool) -> bytes:
    """Do the HTTP part; return what came behind it."""
    loop = asyncio.get_running_loop()
    target = urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))
    lines = [
        f"GET {target} HTTP/1.1",
        f"Host: {parts.netloc}",
        f"Origin: http://{parts.netloc}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
    ]
    if is_compressed:
        lines.append(f"Sec-WebSocket-Extensions: {DEFLATE}")
    await loop.sock_sendall(sock, "\r\n".join([*lines, "", ""]).encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        data = await asyncio.wait_for(loop.sock_recv(sock, 65536), 30)
        if not data:
            raise WebSocketRefused("the server hung up during the upgrade")
        answer += data
    head, _, rest = answer.partition(b"\r\n\r\n")
    if b" 101 " not in head.split(b"\r\n")[0]:
        status = head.partition(b"\r\n")[0].decode()
        raise WebSocketRefused(f"the server did not upgrade: {status}")
    if is_compressed and DEFLATE.encode() not in head:
        raise WebSocketRefused("the server does not compress")
    return rest
