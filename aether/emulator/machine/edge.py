"""The edge: which machine a connection to an external port reaches (Fly docs, "Public network services").

The SSH server of a machine listens on the external port itself, so that the emulator adds nothing to the latency.
"""

import asyncio
import socket
from collections.abc import Callable

from aether.emulator.errors import ApiError


class Edge:
    """The external ports of one computer.

    Args:
        is_virtual: ports are numbers only: no machine has a process.
        is_shared: machines may share a port; Linux picks one of them for each connection, by a hash of its addresses.
    """

    def __init__(self, is_virtual: bool, is_shared: bool) -> None:
        self._is_virtual = is_virtual
        self._is_shared = is_shared

    def bind(self, port: int | None) -> socket.socket | None:
        """Bind a port of 127.0.0.1, unless it is virtual; connections are refused until the SSH server listens."""
        if port is None or self._is_virtual:
            return None
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if self._is_shared:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listener.bind(("127.0.0.1", port))
        except OSError:
            listener.close()
            text = f"aborted: external port {port} is already in use on this computer"
            raise ApiError(409, text) from None
        return listener


class AutostartListener:
    """Listens on the port of a stopped machine for the connection that starts it, and which it then serves."""

    def __init__(self) -> None:
        self._listener: socket.socket | None = None

    def listen(self, listener: socket.socket | None, on_connection: Callable[[socket.socket], None]) -> None:
        """Listen; at the first connection call `on_connection` with the socket, in whose backlog the connection is."""
        if listener is not None:
            self._listener = listener
            listener.listen()
            asyncio.get_running_loop().add_reader(listener, self._connected, on_connection)

    def close(self) -> None:
        """Stop listening."""
        if self._listener is not None:
            self._detach().close()

    def _connected(self, on_connection: Callable[[socket.socket], None]) -> None:
        on_connection(self._detach())

    def _detach(self) -> socket.socket:
        assert self._listener is not None
        listener, self._listener = self._listener, None
        asyncio.get_running_loop().remove_reader(listener)
        return listener
