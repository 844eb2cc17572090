"""A client of sessions, as the README's protocol wants one, and a network that cuts it off wherever a test says."""

import asyncio
import contextlib
import json
import uuid
from collections.abc import Callable, Iterable
from typing import Any

from tornado.websocket import WebSocketClientConnection, WebSocketClosedError, websocket_connect

from tests.screen import BRACKETED_PASTE

PIECE_CHARS = 16 * 1024  # of input, a message
ACK_BYTES = 16 * 1024
LOST = (OSError, WebSocketClosedError)  # and Tornado's HTTPError: a status of 599
FINAL = (1000, 4404, 4409, 4410, 4411)  # close codes after which there is nothing to go on with
Budget = tuple[str, int]  # a direction, "up" or "down", and how many bytes go that way before the cut


class SessionClient:
    """One page's terminal: draws output once and in order, and sends input until it was taken.

    Args:
        url: of the server, http://…; asked anew for each connection.
        machine_id: of the machine.
        session: its id, a new one if it is not given.
        size: columns and rows.
    """

    def __init__(
        self, url: Callable[[], str], machine_id: str, session: str | None = None, size: tuple[int, int] = (80, 24)
    ) -> None:
        self._url, self._machine_id = url, machine_id
        self.session, self.client = session or str(uuid.uuid4()), str(uuid.uuid4())
        self.size = size
        self.connection: WebSocketClientConnection | None = None
        self.connections = 0  # that were made
        self.drawn: list[str] = []
        self.offset: int | None = None  # to resume from
        self.typed = 0  # bytes, ever
        self._unconfirmed, self._taken = b"", 0
        self._may_send = False  # the server has said from which byte on
        self._undrawn = 0
        self.told: list[dict[str, Any]] = []  # messages but output, taken and foreground
        self.front: dict[str, Any] = {}
        self.unread = ""  # what `until` has not seen

    @property
    def taken(self) -> int:
        """How much of the input was taken, in bytes."""
        return self._taken

    # Connections.

    async def connect(self) -> None:
        """Connect unless there is a connection, again and again until it works."""
        if self.connection is not None:
            return
        while self.connection is None:
            query = f"session={self.session}&client={self.client}&cols={self.size[0]}&rows={self.size[1]}"
            query += "" if self.offset is None else f"&offset={self.offset}"
            url = f"{self._url().replace('http', 'ws', 1)}/machines/{self._machine_id}/terminal?{query}"
            try:
                self.connection = await websocket_connect(url)
            except Exception as error:
                if not is_network(error):
                    raise
                await asyncio.sleep(0.005)  # the server may not be there yet
        self._may_send, self._undrawn = False, 0
        self.connections += 1

    def drop(self) -> None:
        """Lose the connection, without a word."""
        if self.connection is not None and self.connection.protocol is not None:
            self.connection.protocol._abort()  # type: ignore[attr-defined]
            self.connection.close()
        self.connection = None

    async def close(self) -> None:
        """Close the connection for good."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()
            while await connection.read_message() is not None:
                pass

    # Input.

    def type(self, text: str) -> None:
        """Type; what is not taken goes out again over the next connection."""
        data = text.encode()
        start, self.typed = self._taken + len(self._unconfirmed), self.typed + len(data)
        self._unconfirmed += data
        if self._may_send:
            self._send_input(text, start)

    def _send_input(self, text: str, offset: int) -> None:
        for start in range(0, len(text), PIECE_CHARS):
            piece = text[start : start + PIECE_CHARS]
            self.send(type="input", data=piece, offset=offset)
            offset += len(piece.encode())

    def resize(self, cols: int, rows: int) -> None:
        """Set the size; one that was not sent goes with the next connection's query."""
        self.size = (cols, rows)
        self.send(type="resize", cols=cols, rows=rows)

    def send(self, **message: Any) -> None:
        """Send a message, if there is a connection."""
        with contextlib.suppress(WebSocketClosedError):
            if self.connection is not None:
                sent = self.connection.write_message(json.dumps(message))
                sent.add_done_callback(lambda done: done.cancelled() or done.exception())

    # Output.

    async def read(self) -> dict[str, Any]:
        """Return the next message, over as many connections as that takes; the last is {"type": "closed"}."""
        while True:
            await self.connect()
            connection = self.connection
            assert connection is not None
            message = await connection.read_message()
            if message is not None:
                return self._take(json.loads(message))
            connection.close()
            if self.connection is connection:
                self.connection, self._may_send = None, False
            if connection.close_code in FINAL:
                self.told.append({"type": "closed", "code": connection.close_code, "reason": connection.close_reason})
                return self.told[-1]

    def _take(self, message: dict[str, Any]) -> dict[str, Any]:
        match message["type"]:
            case "output":
                self._draw(message)
            case "taken":
                self._confirm(message["offset"])
            case "foreground":
                self.front = message
            case kind:
                if kind == "session":
                    self._attached(message)
                self.told.append(message)
        return message

    def _draw(self, message: dict[str, Any]) -> None:
        self.drawn.append(message["data"])
        self.unread += message["data"]
        self.offset = message.get("offset", self.offset)
        self._undrawn += len(message["data"].encode())
        if self._undrawn >= ACK_BYTES:
            self.send(type="ack", bytes=self._undrawn)
            self._undrawn = 0

    def _attached(self, message: dict[str, Any]) -> None:
        assert message["id"] == self.session
        if message["is_new"]:
            self._unconfirmed, self._taken, self.offset = b"", 0, message["offset"]
        self._confirm(message["taken"])
        self._may_send = True
        self._send_input(self._unconfirmed.decode(), self._taken)

    def _confirm(self, taken: int) -> None:
        assert self._taken <= taken <= self._taken + len(self._unconfirmed), "the server took what was never typed"
        self._unconfirmed = self._unconfirmed[taken - self._taken :]
        self._taken = taken

    async def until(self, sentinel: str) -> str:
        """Read until `sentinel` has come; return all that came up to it and forget it."""
        checked = 0
        while (at := self.unread.find(sentinel, max(checked - len(sentinel), 0))) < 0:
            checked = len(self.unread)
            message = await self.read()
            assert message["type"] != "closed", f"{message} before {sentinel!r}: {self.told} {self.unread[-500:]!r}"
        seen, self.unread = self.unread[:at], self.unread[at + len(sentinel) :]
        return seen

    async def until_told(self, kind: str) -> dict[str, Any]:
        """Read until a message of this type has come."""
        while (message := await self.read())["type"] != kind:
            assert message["type"] != "closed", f"{message} before {kind}: {self.told}"
        return message

    async def until_closed(self) -> dict[str, Any]:
        """Read to the last message; one after which the client comes again is no end."""
        while (message := await self.read())["type"] != "closed":
            pass
        return message

    async def run(self, command: str) -> str:
        """Run a command in a shell that shows its prompt; return what it printed."""
        self.type(f"{command}; printf '%s_' done_; echo $?\n")
        await self.until("\r\n")
        seen = await self.until("done__")
        await self.until("$ ")
        return BRACKETED_PASTE.sub("", seen).replace("\r\n", "\n")

    def kinds(self) -> list[str]:
        """Return the types of the messages but output, taken and foreground, in order."""
        return [message["type"] for message in self.told]


def is_network(error: Exception) -> bool:
    """Return whether an attempt to connect failed on the way: another may succeed."""
    return isinstance(error, LOST) or getattr(error, "code", None) in (503, 599)


class CuttingProxy:
    """A network on loopback that passes on exactly so many bytes of a connection, then cuts it.

    Args:
        target: returns the port of the far end; asked for each connection.
        budgets: when each connection is cut, one after the other; those after the last are not.
    """

    def __init__(self, target: Callable[[], int], budgets: Iterable[Budget] = ()) -> None:
        self._target, self.budgets = target, iter(budgets)
        self.cuts = 0
        self._pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def listen(self) -> "CuttingProxy":
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def close(self) -> None:
        """Cut all connections and listen no more."""
        self._server.close()
        self.cut()
        await asyncio.gather(*self._tasks)

    def cut(self) -> None:
        """Cut all connections now."""
        for pair in [*self._pairs]:
            self._cut(pair)

    def _cut(self, pair: tuple[asyncio.StreamWriter, asyncio.StreamWriter]) -> None:
        self._pairs.discard(pair)
        for writer in pair:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target())
        except OSError:
            return writer.transport.abort()
        pair = (writer, far_writer)
        self._pairs.add(pair)
        way, size = next(self.budgets, ("", 0))
        ways = [("up", reader, far_writer), ("down", far_reader, writer)]
        await asyncio.gather(*(self._carry(*ends, size if name == way else None, pair) for name, *ends in ways))

    async def _carry(self, source, sink, left, pair) -> None:  # type: ignore[no-untyped-def]
        sink.transport.set_write_buffer_limits(high=0)
        with contextlib.suppress(OSError):
            while (piece := await source.read(65536)) and not sink.is_closing():
                if left is not None and len(piece) >= left:
                    sink.write(piece[:left])
                    await sink.drain()
                    self.cuts += pair in self._pairs
                    break
                left = None if left is None else left - len(piece)
                sink.write(piece)
                await sink.drain()
        self._cut(pair)
