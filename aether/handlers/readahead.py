"""ReadAhead: gives a WebSocket's frames to Tornado out of what has come, instead of reading each piece of each frame.

Tornado asks its stream for the header, the mask and the payload, and has it stop watching the socket in between: for a
key that is three reads and two changes of epoll, a sixth of what the server does for it. `_read_bytes` is Tornado's own
name (6.x); `tests/handlers/test_readahead.py` notices a change.
"""

from tornado.websocket import WebSocketProtocol13

CHUNK_BYTES = 64 * 1024


class ReadAhead:
    """What has come on one connection and is not asked for yet: at most what one read of the socket brings."""

    def __init__(self, protocol: WebSocketProtocol13) -> None:
        self._protocol = protocol
        self._ahead = bytearray()
        protocol._read_bytes = self.read  # type: ignore[method-assign, assignment]

    async def read(self, size: int) -> bytes:
        """Return the next `size` bytes; raise StreamClosedError when the client is gone before they have come."""
        assert self._protocol.stream is not None
        while len(self._ahead) < size:
            self._ahead += await self._protocol.stream.read_bytes(CHUNK_BYTES, partial=True)
        data = bytes(self._ahead[:size])
        del self._ahead[:size]
        self._protocol._wire_bytes_in += size
        return data
