"""The WebSocket of a terminal."""

import asyncio
import socket
from typing import Any

from tornado.iostream import StreamClosedError
from tornado.websocket import WebSocketClosedError, WebSocketHandler, WebSocketProtocol, WebSocketProtocol13

from aether import messages
from aether.errors import AetherError, InvalidMessage
from aether.fleet.registry import Fleet
from aether.handlers.base import BaseHandler, OriginPolicy
from aether.handlers.websocket import DirectWebSocketProtocol
from aether.messages import Ping, TerminalQuery
from aether.terminals.terminal import Terminal

NOT_SENT_BYTES = 16 * 1024
CLOSE_PATIENCE_S = 20.0  # for a slow client to take the last output
MAX_REASON_BYTES = 123  # RFC 6455, section 5.5: a control frame holds 125 bytes, two of them are the code


class TerminalHandler(BaseHandler, WebSocketHandler):
    """`/machines/:id/terminal`: one shell for one WebSocket."""

    query: TerminalQuery

    def initialize(
        self, policy: OriginPolicy, fleet: Fleet, is_compressed: bool, close_patience_s: float = CLOSE_PATIENCE_S
    ) -> None:
        """Take what the route hands down."""
        super().initialize(policy)
        self.fleet = fleet
        self._is_compressed = is_compressed
        self._close_patience_s = close_patience_s
        self.terminal: Terminal | None = None
        self._last_sent: asyncio.Future[None] | None = None
        self._complaint: asyncio.Future[None] | None = None
        self._pong: asyncio.Future[None] | None = None
        self._heard = 0
        self._closing: asyncio.TimerHandle | None = None

    async def get(self, machine_id: str) -> None:
        """Decode the query, then upgrade."""
        headers = self.request.headers
        is_upgrade = "upgrade" in headers.get("Connection", "").lower() and headers.get("Sec-WebSocket-Version") == "13"
        if headers.get("Upgrade", "").lower() != "websocket" or not is_upgrade:
            raise InvalidMessage("this is a WebSocket; connect to it with one, as /terminal.html does")
        arguments = {name: self.get_query_argument(name) for name in self.request.query_arguments}
        self.query = messages.decode_terminal_query(arguments)
        await super().get(machine_id)

    def check_origin(self, origin: str) -> bool:
        """Accept: `prepare` has checked Host and Origin already."""
        return True

    def get_compression_options(self) -> dict[str, Any] | None:
        """Compress messages (RFC 7692) if the server was told to."""
        return {} if self._is_compressed else None

    def get_websocket_protocol(self) -> WebSocketProtocol | None:
        """Return Tornado's protocol, on a stream of ours."""
        protocol = super().get_websocket_protocol()
        return DirectWebSocketProtocol(self, protocol.params) if isinstance(protocol, WebSocketProtocol13) else protocol

    def open(self, machine_id: str) -> None:
        """Open a shell; on a machine that is starting it waits. Errors come as a message and a close code."""
        self._tune()
        try:
            self.terminal = self.fleet.open_terminal(machine_id, self, self.query)
        except AetherError as error:
            self.send(messages.error(error.message, error.retry_s))
            self.end(error.ws_close, error.message)

    def _tune(self) -> None:
        """Send each byte at once, and keep little in the kernel's buffer: what follows a Ctrl-C comes behind that."""
        self.set_nodelay(True)
        assert self.ws_connection is not None
        stream = self.ws_connection.stream
        if hasattr(socket, "TCP_NOTSENT_LOWAT") and stream is not None and not stream.closed():  # Linux and macOS
            stream.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, NOT_SENT_BYTES)

    def on_message(self, message: str | bytes) -> None:
        """Pass a message on; an invalid one is answered, and the shell goes on."""
        if self.terminal is None:
            return
        try:
            decoded = messages.decode_terminal(message)
            if isinstance(decoded, Ping):
                self._answer(decoded.number)
            else:
                self.terminal.feed(decoded)
        except InvalidMessage as error:
            where = f"{error.path}: " if error.path else ""
            if self._complaint is None or self._complaint.done():  # no more of them than the client reads
                self._complaint = self.send(messages.error(f"Invalid message: {where}{error.message}"))

    def _answer(self, number: int) -> None:
        """Answer a ping, which is no activity; a client that reads no answers has at most one on its way."""
        self._heard = number
        if self._pong is None or self._pong.done():
            waiting_bytes = 0 if self.terminal is None else self.terminal.waiting_bytes
            self._pong = self.send(messages.pong(number, waiting_bytes))
            if self._pong is not None:
                self._pong.add_done_callback(lambda _: self._answer_after(number))

    def _answer_after(self, number: int) -> None:
        """Answer the newest ping that came while an answer was on its way."""
        if self._heard != number:
            self._answer(self._heard)

    def on_close(self) -> None:
        """End the terminal of a client that is gone."""
        if self._closing is not None:
            self._closing.cancel()
        terminal, self.terminal = self.terminal, None  # a circle would keep its buffers until garbage is collected
        if terminal is not None:
            terminal.end(None)

    def send(self, message: bytes) -> "asyncio.Future[None] | None":
        """Send one message; None when the client is gone."""
        if not isinstance(self.ws_connection, DirectWebSocketProtocol) or self.ws_connection.is_closing():
            return None
        try:
            if self._is_compressed:
                sent = self.write_message(message)
                sent.add_done_callback(lambda done: done.cancelled() or done.exception())  # on_close follows
            else:
                sent = self.ws_connection.send_text(message)
        except (StreamClosedError, WebSocketClosedError):
            return None
        self._last_sent = sent
        return sent

    def end(self, code: int, reason: str) -> None:
        """Close with a code and as much of the reason as a close frame holds, once all output has left.

        Tornado gives a client a few seconds to answer a close frame: a slow one needs them for what is before it.
        """
        text = reason.encode()[:MAX_REASON_BYTES].decode(errors="ignore")
        if self._last_sent is None or self._last_sent.done():
            self.close(code, text)
        else:
            self._last_sent.add_done_callback(lambda _: self.close(code, text))
            self._closing = asyncio.get_running_loop().call_later(self._close_patience_s, self.close, code, text)
