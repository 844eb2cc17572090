"""AetherTerminal: aether's protocol, of a plain terminal or of a session, as its page speaks it."""

import contextlib
import json
import urllib.parse
import uuid
from typing import Any

from tornado.httpclient import AsyncHTTPClient, HTTPClientError

from benchlib.terminals import COLS, ROWS, SocketTerminal

ACK_BYTES = 32 * 1024


class AetherTerminal(SocketTerminal):
    """aether's protocol.

    Args:
        url: the terminal's, without a query.
        acks: "on", "off" (an old client), or "never" (says that it will, and does not).
        is_kept: whether to ask for a session, which is ended with the terminal.
    """

    def __init__(self, url: str, acks: str = "on", is_compressed: bool = False, is_kept: bool = False) -> None:
        super().__init__()
        self._url = url
        self._acks = acks
        self._is_compressed = is_compressed
        self._unacked_bytes = 0
        self._session = str(uuid.uuid4()) if is_kept else ""
        self._client = str(uuid.uuid4())
        self._typed = 0  # bytes, by which the session counts input
        self.offset: int | None = None  # in the session's log, after what was shown
        self.is_kept = False  # by the server's word
        self.errors: list[str] = []
        self.is_ack_refused = False

    @classmethod
    async def open(cls, url: str, acks: str, is_compressed: bool = False, is_kept: bool = False) -> "AetherTerminal":
        """Connect; the server opens the shell."""
        self = cls(url, acks, is_compressed, is_kept)
        await self.attach()
        return self

    async def attach(self) -> None:
        """Connect; with a session, for what it lacks of its output."""
        query = {"cols": str(COLS), "rows": str(ROWS)}
        if self._session:
            query |= {"session": self._session, "client": self._client}
        if self.offset is not None:
            query["offset"] = str(self.offset)
        await self.connect(f"{self._url}?{urllib.parse.urlencode(query)}", self._is_compressed)
        self._unacked_bytes = 0
        if self._acks != "off":
            self.socket.send(b'{"type":"ack","bytes":0}')

    def send(self, data: bytes) -> None:
        """Type."""
        message: dict[str, Any] = {"type": "input", "data": data.decode()}
        if self._session:
            message["offset"] = self._typed
            self._typed += len(data)
        self.socket.send(json.dumps(message, ensure_ascii=False).encode())

    def message(self, kind: int, payload: bytes) -> None:
        """Show output, acknowledge it."""
        decoded = json.loads(payload)
        if decoded["type"] != "output":
            self.other(decoded)
            return
        data = decoded["data"].encode()
        if self._session:
            self.offset = decoded.get("offset")
        self.show(data)
        if self._acks == "on":
            self._unacked_bytes += len(data)
            if self._unacked_bytes >= ACK_BYTES:
                self.socket.send(b'{"type":"ack","bytes":%d}' % self._unacked_bytes)
                self._unacked_bytes = 0

    def other(self, decoded: dict[str, Any]) -> None:
        """Take a message that is no output."""
        if decoded["type"] == "session":
            self.is_kept = True
        elif decoded["type"] == "error" and self._acks != "off" and decoded["message"].startswith("Invalid message"):
            self._acks, self.is_ack_refused = "off", True
        elif decoded["type"] == "error":
            self.errors.append(decoded["message"])
            self._lost_reason = decoded["message"]

    async def close(self) -> None:
        """Hang up, also the session, which would go on."""
        if self.is_kept:
            url = f"{self._url.replace('ws', 'http', 1).removesuffix('/terminal')}/sessions/{self._session}"
            with contextlib.suppress(HTTPClientError, OSError):  # it has ended already, or the server has
                await AsyncHTTPClient().fetch(url, method="DELETE", request_timeout=20)
        await super().close()
