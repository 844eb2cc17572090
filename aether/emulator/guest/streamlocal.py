"""A Unix socket of the machine, and the channel of the built-in SSH server through which it is reached.

Source: OpenSSH's PROTOCOL, section 2.4 (`direct-streamlocal@openssh.com`).
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable

import asyncssh

BUFFER_BYTES = 16384  # each way: what is kept here is old by the time a Ctrl-C arrives


class StreamLocal(asyncssh.SSHUNIXSession[bytes]):
    """One channel and the connection to the socket behind it; each is closed after the other's last byte."""

    def __init__(self, path: str, on_closed: Callable[["StreamLocal"], None]) -> None:
        """Connect to the socket at `path`; raises OSError, or ValueError for what cannot be a path."""
        self._on_closed = on_closed
        self._loop = asyncio.get_running_loop()
        self._pending = bytearray()
        self._is_blocked = self._is_input_over = self._is_output_over = False
        self.closed: asyncio.Future[None] = self._loop.create_future()  # all output is sent, or cannot be
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.setblocking(False)
        try:
            self._socket.connect(path)  # at once, or refused: a socket of the same computer
        except BaseException:
            self._socket.close()
            raise

    def connection_made(self, chan: "asyncssh.SSHUNIXChannel[bytes]") -> None:
        """Keep the channel."""
        self._channel = chan
        chan.set_write_buffer_limits(0)

    def session_started(self) -> None:
        """Move bytes both ways."""
        self.resume_writing()

    # To the socket: the channel is paused while the socket takes no more.

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """Write the input, or keep it and pause the channel; that is at most one window of it."""
        self._pending += data
        if not self._is_blocked:
            self._write()

    def eof_received(self) -> bool:
        """Close the socket for writing after the last byte."""
        self._is_input_over = True
        if not self._is_blocked:
            self._end_input()
        return True

    def _write(self) -> None:
        try:
            while self._pending:
                del self._pending[: self._socket.send(self._pending)]
        except BlockingIOError:
            self._block(True)
            return
        except OSError:  # the other end is closed
            self._pending.clear()
        self._block(False)  # this may deliver more input at once, and its end
        if self._is_input_over and not self._is_blocked:
            self._end_input()

    def _block(self, is_blocked: bool) -> None:
        if is_blocked == self._is_blocked:
            return
        self._is_blocked = is_blocked
        if is_blocked:
            self._channel.pause_reading()
            self._loop.add_writer(self._socket, self._write)
        else:
            self._loop.remove_writer(self._socket)
            self._channel.resume_reading()

    def _end_input(self) -> None:
        with contextlib.suppress(OSError):  # the other end is closed
            self._socket.shutdown(socket.SHUT_WR)
        self._close_if_over()

    # From the socket: it is not read while the channel's window is full.

    def pause_writing(self) -> None:
        """Stop reading, so that the other end blocks when the socket is full."""
        self._loop.remove_reader(self._socket)

    def resume_writing(self) -> None:
        """Continue reading."""
        if not self._is_output_over:
            self._loop.add_reader(self._socket, self._read)

    def _read(self) -> None:
        try:
            data = self._socket.recv(BUFFER_BYTES)
        except BlockingIOError:
            return
        except OSError:  # ECONNRESET: the other end did not read everything
            data = b""
        if data and not self._channel.is_closing():
            self._channel.write(data)
        else:
            self._end_output()

    def _end_output(self) -> None:
        self._is_output_over = True
        self._loop.remove_reader(self._socket)
        self._channel.write_eof()
        try:
            self._socket.send(b"")
        except OSError:  # the other end is closed, not only for writing
            self._is_input_over = True
        self._close_if_over()

    # The end.

    def _close_if_over(self) -> None:
        if self._is_input_over and self._is_output_over:
            self._channel.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Close the socket."""
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._socket.close()
        self.closed.set_result(None)
        self._on_closed(self)
