"""One session of the built-in SSH server: a process on a PTY or on pipes, and its SSH channel."""

import asyncio
import contextlib
import fcntl
import os
import signal
import struct
import termios
from collections.abc import Callable, Mapping
from typing import Any

import asyncssh

from aether.emulator.guest.children import Children

_CHUNK = 65536
_IUTF8 = 0x4000  # termios.h, the same on Linux and macOS: backspace erases a whole character
_STDERR = asyncssh.EXTENDED_DATA_STDERR
_SIGNALS = frozenset(signal.Signals)


class Shell(asyncssh.SSHServerSession[bytes]):
    """A session channel: a login shell or one command, with or without a terminal."""

    def __init__(
        self, children: Children, environment: Mapping[str, str], on_closed: Callable[["Shell"], None]
    ) -> None:
        self._children = children
        self._environment = dict(environment)
        self._on_closed = on_closed
        self._loop = asyncio.get_running_loop()
        self._command: str | None = None
        self._is_tty = False
        self._input: int | None = None
        self._outputs: dict[int, int | None] = {}
        self._pending = bytearray()
        self._is_eof = self._is_paused = self._is_blocked = False
        self._pid: int | None = None
        self.exit_code: int | None = None  # of the process; its output may not be sent yet
        self.closed: asyncio.Future[None] = self._loop.create_future()  # all output is sent, or cannot be

    # Requests of the client (RFC 4254 section 6).

    def connection_made(self, chan: "asyncssh.SSHServerChannel[bytes]") -> None:
        """Keep the channel."""
        self._channel = chan

    def pty_requested(self, term_type: str, term_size: Any, term_modes: Any) -> bool:
        """Note the request; the terminal is opened with the shell."""
        self._is_tty = True
        self._environment["TERM"] = term_type
        return True

    def shell_requested(self) -> bool:
        """Accept a login shell."""
        return True

    def exec_requested(self, command: str) -> bool:
        """Accept a command, run by the shell as sshd does."""
        self._command = command
        return True

    def session_started(self) -> None:
        """Start the process and move bytes both ways."""
        self._environment.update(_accepted(self._channel.get_environment_bytes()))
        fds, ours = self._open_tty() if self._is_tty else self._open_pipes()
        program = self._environment["SHELL"]
        name = program.rpartition("/")[2]
        argv = [f"-{name}"] if self._command is None else [name, "-c", self._command]
        try:
            self._pid = self._children.start(program, argv, self._environment, fds, self._is_tty, self._exited)
        finally:
            for fd in set(fds):
                os.close(fd)
        for fd in ours:
            os.set_blocking(fd, False)
        self.resume_writing()

    def _open_tty(self) -> tuple[tuple[int, int, int], set[int]]:
        master, slave = os.openpty()
        modes = termios.tcgetattr(slave)
        modes[0] |= _IUTF8
        termios.tcsetattr(slave, termios.TCSANOW, modes)
        self._input, self._outputs = master, {master: None}
        self.terminal_size_changed(*self._channel.get_terminal_size())
        return (slave, slave, slave), {master}

    def _open_pipes(self) -> tuple[tuple[int, int, int], set[int]]:
        stdin, self._input = os.pipe()
        out, stdout = os.pipe()
        err, stderr = os.pipe()
        self._outputs = {out: None, err: _STDERR}
        return (stdin, stdout, stderr), {self._input, out, err}

    def terminal_size_changed(self, width: int, height: int, pixwidth: int, pixheight: int) -> None:
        """Set the size of the terminal; the kernel sends SIGWINCH."""
        if self._is_tty and self._input is not None:
            size = (min(max(n, 0), 65535) for n in (height, width, pixwidth, pixheight))
            fcntl.ioctl(self._input, termios.TIOCSWINSZ, struct.pack("HHHH", *size))

    def signal_received(self, signal: str) -> None:
        """Send the client's signal to the shell's process group (RFC 4254 section 6.9)."""
        self._kill(f"SIG{signal}")

    def break_received(self, msec: int) -> bool:
        """Treat a break as an interrupt (RFC 4335)."""
        self._kill("SIGINT")
        return True

    # Input: at most one SSH window of it waits here, while the channel is paused.

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """Write the input, or keep it and pause the channel while the process does not read."""
        self._pending += data
        if not self._is_blocked:
            self._write()

    def eof_received(self) -> bool:
        """Close the pipe after the last byte; on a terminal this has no effect."""
        self._is_eof = True
        if not self._is_blocked:
            self._write()
        return True

    def _write(self) -> None:
        try:
            while self._pending and self._input is not None:
                del self._pending[: os.write(self._input, self._pending[:_CHUNK])]
        except BlockingIOError:
            self._block(True)
            return
        except OSError:  # the other end is closed: EPIPE, EIO
            self._pending.clear()
        self._block(False)  # this may deliver more input at once
        if self._is_eof and not self._is_tty and not self._pending:
            self._close_input()

    def _block(self, is_blocked: bool) -> None:
        if is_blocked == self._is_blocked or self._input is None:
            return
        self._is_blocked = is_blocked
        if is_blocked:
            self._channel.pause_reading()
            self._loop.add_writer(self._input, self._write)
        else:
            self._loop.remove_writer(self._input)
            self._channel.resume_reading()

    def _close_input(self) -> None:
        if self._input is not None:
            self._loop.remove_writer(self._input)
            if not self._is_tty:
                os.close(self._input)
            self._input = None

    # Output: nothing is read from the process while the client's window is full.

    def pause_writing(self) -> None:
        """Stop reading, so that the process blocks when its terminal or pipe is full."""
        self._is_paused = True
        for fd in self._outputs:
            self._loop.remove_reader(fd)

    def resume_writing(self) -> None:
        """Continue reading."""
        self._is_paused = False
        for fd in self._outputs:
            self._loop.add_reader(fd, self._read, fd)
        self._drain()

    def _read(self, fd: int) -> None:
        try:
            data = os.read(fd, _CHUNK)
        except BlockingIOError:
            if not self._is_tty or self.exit_code is None:
                return
            data = b""  # the shell has ended and its terminal is empty: that is the end of the output
        except OSError:  # EIO: no process has the terminal open
            data = b""
        if data:
            self._channel.write(data, self._outputs[fd])
        else:
            self._close_output(fd)

    def _drain(self) -> None:
        """Once the shell has ended, read its terminal until it is empty, which no event reports."""
        if self._is_tty and self.exit_code is not None and not self._is_paused:
            for fd in list(self._outputs):
                self._read(fd)
                self._loop.call_soon(self._drain)

    def _close_output(self, fd: int) -> None:
        self._loop.remove_reader(fd)
        del self._outputs[fd]
        if self._is_tty:
            self._close_input()
        os.close(fd)
        self._report()

    # The end.

    def _exited(self, exit_code: int) -> None:
        self.exit_code = exit_code
        self._drain()
        self._report()

    def _report(self) -> None:
        """Send the exit status after the last byte of output."""
        if self.exit_code is None or self._outputs or self._channel.is_closing():
            return
        if self.exit_code >= 0:
            self._channel.exit(self.exit_code)
        elif -self.exit_code in _SIGNALS:
            self._channel.exit_with_signal(signal.Signals(-self.exit_code).name.removeprefix("SIG"))
        else:  # SSH has no name for a real-time signal; shells report it so
            self._channel.exit(128 - self.exit_code)

    def hang_up(self) -> None:
        """Send SIGHUP to the shell and the foreground job of its terminal."""
        self._kill("SIGHUP")
        self._kill("SIGCONT")

    def connection_lost(self, exc: Exception | None) -> None:
        """Send SIGHUP when the client disconnects; closing a terminal sends it to every process on it."""
        self.hang_up()
        self._close_input()
        for fd in list(self._outputs):
            self._loop.remove_reader(fd)
            del self._outputs[fd]
            os.close(fd)
        self.closed.set_result(None)
        self._on_closed(self)

    def _kill(self, name: str) -> None:
        number = getattr(signal, name, None)
        if self._pid is None or self.exit_code is not None or not isinstance(number, signal.Signals):
            return
        groups = {self._pid}
        if self._is_tty and self._input is not None:
            groups.add(os.tcgetpgrp(self._input))
        for group in groups - {0, -1}:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, number)


def _accepted(environment: Mapping[bytes, bytes]) -> dict[str, str]:
    """Accept `LANG` and `LC_*` from the client, as Debian's sshd_config does."""
    decoded = {os.fsdecode(k): os.fsdecode(v) for k, v in environment.items()}
    return {k: v for k, v in decoded.items() if (k == "LANG" or k.startswith("LC_")) and "\0" not in k + v}
