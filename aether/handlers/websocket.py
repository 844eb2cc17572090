"""DirectStream: a terminal's WebSocket reads and writes its socket directly, without Tornado's IOStream.

Tornado's protocol still knows RFC 6455; what changes is how bytes come and go. An IOStream gives each read as a Future,
so each key costs a wake-up of a task, two turns of the event loop and a read too many; here the coroutine that parses
frames goes on within the very event that brought the bytes, and a message leaves with one call to the kernel. That
saves a sixth of an echo's time, and a third of what the server does for a key.

This module is the only one that uses names Tornado does not document: `WebSocketProtocol13._receive_frame_loop`, and
the reason text of its ping time-out. `tests/handlers/test_websocket.py` fails when a version changes them.
"""

import asyncio
import itertools
import socket
import struct
import types
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from typing import Any

from tornado.ioloop import IOLoop
from tornado.iostream import IOStream, StreamClosedError
from tornado.websocket import WebSocketHandler, WebSocketProtocol13

TEXT_FRAME = 0x81  # the whole of a text message: RFC 6455, section 5.2
READ_BYTES = 64 * 1024
PING_TIMED_OUT = "ping timed out"  # Tornado's own reason
WRITE_PIECES = 64  # messages that one call may give to the kernel


class DirectWebSocketProtocol(WebSocketProtocol13):
    """Tornado's protocol, over a DirectStream.

    Args:
        take: makes the stream; raises OSError where there are no descriptors left.
    """

    def __init__(
        self,
        handler: WebSocketHandler,
        params: Any,
        take: "Callable[[IOStream], DirectStream] | None" = None,
    ) -> None:
        super().__init__(handler, False, params)
        self._take = take or DirectStream.take

    async def _receive_frame_loop(self) -> None:
        try:
            assert self.stream is not None
            while self.stream.writing():  # the answer to the upgrade
                await self.stream.write(b"")
            direct = self._take(self.stream)
        except (StreamClosedError, OSError):  # closed, which the frames find out, too; or there are no descriptors left
            await super()._receive_frame_loop()
            return
        self.stream = direct  # type: ignore[assignment]  # it has what the protocol uses of an IOStream
        await direct.run(super()._receive_frame_loop())

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        """Close; a peer that answers no pings is not waited for."""
        super().close(code, reason)
        if reason == PING_TIMED_OUT:
            self._abort()

    def send_text(self, payload: bytes) -> "asyncio.Future[None]":
        """Send one text message, uncompressed; the future is done when it has left. Raises StreamClosedError.

        `write_message` makes a task for each message, which takes a tenth of an echo's time.
        """
        size = len(payload)
        if size < 126:
            head = bytes((TEXT_FRAME, size))
        elif size < 1 << 16:
            head = struct.pack("!BBH", TEXT_FRAME, 126, size)
        else:
            head = struct.pack("!BBQ", TEXT_FRAME, 127, size)
        assert self.stream is not None
        return self.stream.write(head + payload)


class DirectStream:
    """One connected socket; made by `take`. As with an IOStream, failures raise StreamClosedError."""

    def __init__(self, sock: socket.socket, ahead: bytes) -> None:
        self.io_loop = IOLoop.current()  # Tornado's protocol takes its time-outs from its stream's loop
        self.socket = sock
        self._loop = asyncio.get_running_loop()
        self._is_closed = False
        self._ahead = bytearray(ahead)  # received, and not asked for yet
        self._frames: Coroutine[Any, Any, None] | None = None
        self._is_waiting = False  # the frames, for more bytes
        self._over: asyncio.Future[None] = self._loop.create_future()
        self._unsent: deque[tuple[memoryview, asyncio.Future[None]]] = deque()
        self._at_once: asyncio.Future[None] = self._loop.create_future()
        self._at_once.set_result(None)

    @classmethod
    def take(cls, stream: IOStream) -> "DirectStream":
        """Take the socket of a stream that has nothing left to write, with what it has read already."""
        if stream.closed():  # it has no socket any more
            raise StreamClosedError()
        sock = stream.socket.dup()
        try:
            reading = asyncio.ensure_future(stream.read_bytes(1 << 30, partial=True))  # done at once, if there is any
            ahead = reading.result() if reading.done() else b""
            sock.setblocking(False)
        except BaseException:
            sock.close()
            raise
        stream.close()
        return cls(sock, ahead)

    @property
    def unsent_bytes(self) -> int:
        """How much waits here for the kernel to take it."""
        return sum(len(data) for data, _ in self._unsent)

    @property
    def unsent_messages(self) -> int:
        """How many writes wait here for the kernel to take them."""
        return len(self._unsent)

    # Reading.

    async def run(self, frames: Coroutine[Any, Any, None]) -> None:
        """Run `frames`, which reads from here, to its end, and close the socket."""
        self._frames = frames
        self._loop.add_reader(self.socket, self._read)
        try:
            self._step()
            await self._over
        finally:
            self._is_waiting = False
            self.close()
            frames.close()

    @types.coroutine
    def read_bytes(self, size: int) -> Generator[object, None, bytes]:
        """Return the next `size` bytes; raise StreamClosedError when they will not come."""
        while len(self._ahead) < size:
            if self._is_closed:
                raise StreamClosedError()
            self._is_waiting = True
            yield self
        data = bytes(self._ahead[:size])
        del self._ahead[:size]
        return data

    def _read(self) -> None:
        if not self._is_waiting:
            return
        try:
            data = self.socket.recv(READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if data:
            self._ahead += data
            self._step()
        else:
            self.close()

    def _step(self) -> None:
        """Resume the frames with what has been received."""
        self._is_waiting = False
        if self._frames is None or self._over.done():
            return
        try:
            asked = self._frames.send(None)
        except StopIteration:
            self._over.set_result(None)
        except Exception as error:
            self._over.set_exception(error)
        else:
            if asked is None:  # it yields to the event loop
                self._loop.call_soon(self._step)
            elif asked is not self:
                self._over.set_exception(RuntimeError(f"the frames' reader waits for {asked!r}, which never wakes it"))

    # Writing.

    def write(self, data: bytes) -> "asyncio.Future[None]":
        """Send; the future is done when all of `data` has left for the kernel."""
        if self._is_closed:
            raise StreamClosedError()
        sent = 0
        if not self._unsent:
            try:
                sent = self.socket.send(data)
            except (BlockingIOError, InterruptedError):
                pass
            except OSError:
                self.close()
            if sent == len(data):
                return self._at_once
        future = self._loop.create_future()
        if self._is_closed:
            _fail(future)
            return future
        if not self._unsent:
            self._loop.add_writer(self.socket, self._write)
        self._unsent.append((memoryview(data)[sent:], future))
        return future

    def _write(self) -> None:
        try:
            sent = self.socket.sendmsg([data for data, _ in itertools.islice(self._unsent, WRITE_PIECES)])
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.close()
            return
        while self._unsent:
            data, future = self._unsent.popleft()
            if sent < len(data):
                self._unsent.appendleft((data[sent:], future))
                return
            sent -= len(data)
            if not future.done():
                future.set_result(None)
        self._loop.remove_writer(self.socket)

    # The end.

    def close(self) -> None:
        """Close the socket; reads and writes that wait raise StreamClosedError."""
        if self._is_closed:
            return
        self._is_closed = True
        self._loop.remove_reader(self.socket)
        self._loop.remove_writer(self.socket)
        self.socket.close()
        for _, future in self._unsent:
            _fail(future)
        self._unsent.clear()
        if self._is_waiting:
            self._is_waiting = False
            self._loop.call_soon(self._step)

    def closed(self) -> bool:
        """Return whether it is closed."""
        return self._is_closed


def _fail(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_exception(StreamClosedError())
        future.exception()  # mark it as retrieved: the caller need not
