"""The edge: which machine a connection to an external port reaches (Fly docs, "Public network services").

A machine's SSH server listens on its external port itself, so that the emulator adds nothing to a keystroke's way.
"""

import asyncio
import socket
from collections.abc import Callable

from aether.emulator.requests import ApiError


class Edge:
    """The external ports of one computer.

    Args:
        is_virtual: ports are numbers only: no machine has a process.
        is_shared: machines may share a port; Linux picks one of them for each connection, by a hash of its addresses.
    """

    def __init__(self, is_virtual: bool, is_shared: bool) -> None:
        self._is_virtual = is_virtual
        self._is_shared = is_shared

    def reserve(self, port: int | None) -> socket.socket | None:
        """Reserve a port of 127.0.0.1, unless it is virtual; nothing listens until the machine's SSH server does."""
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


class Doorbell:
    """Waits at the port of a stopped machine for a connection, which then starts the machine and is answered by it."""

    def __init__(self) -> None:
        self._listener: socket.socket | None = None

    def hang_up(self, listener: socket.socket | None, ring: Callable[[socket.socket], None]) -> None:
        """Listen; at the first connection call `ring` with the socket, in whose queue the connection waits."""
        if listener is not None:
            self._listener = listener
            listener.listen()
            asyncio.get_running_loop().add_reader(listener, self._pressed, ring)

    def silence(self) -> None:
        """Listen no more."""
        if self._listener is not None:
            self._take().close()

    def _pressed(self, ring: Callable[[socket.socket], None]) -> None:
        ring(self._take())

    def _take(self) -> socket.socket:
        assert self._listener is not None
        listener, self._listener = self._listener, None
        asyncio.get_running_loop().remove_reader(listener)
        return listener
