"""ShellSession: a shell on a PTY in a machine, as a session channel of SSH (RFC 4254, section 6).

The path of a key: `type` → channel → PTY. The path of output: `data_received`, asyncssh's session callback with no
stream in between → `attachment.Attachment`, which holds the shell back where the client is slow.
"""

from typing import Protocol

import asyncssh

from aether.messages import Input, Resize
from aether.ssh.window import ReceiveWindow
from aether.terminals.attachment import Attachment
from aether.terminals.resizing import REDRAW_S, RESIZE_PAUSE_S, Resizing


class Activity(Protocol):
    """Where a shell notes that it is used."""

    def note_input(self) -> None:
        """Note that the user typed."""

    def note_output(self) -> None:
        """Note that a program wrote."""


class ShellOwner(Protocol):
    """What a shell tells when it runs and when it is gone."""

    def shell_started(self) -> None:
        """The shell runs; input may follow."""

    def shell_closed(self) -> None:
        """The channel is closed, by the shell's end or by the loss of the connection."""


class ShellSession(asyncssh.SSHClientSession[bytes]):
    """One shell; it may be written to before it runs, and then gets what was written when it does.

    Args:
        size: the terminal's first size.
        activity: is told of input and output.
        attachment: gets the output.
        resize_pause_s: how long to wait before another size is sent.
        redraw_s: how long after a new size output counts as drawing it.
    """

    def __init__(
        self,
        size: Resize,
        activity: Activity,
        attachment: Attachment,
        owner: ShellOwner,
        resize_pause_s: float = RESIZE_PAUSE_S,
        redraw_s: float = REDRAW_S,
    ) -> None:
        self._resizing = Resizing(size, self._send_size, resize_pause_s, redraw_s)
        self._activity = activity
        self._attachment = attachment
        self._owner: ShellOwner | None = owner
        self.channel: asyncssh.SSHClientChannel[bytes] | None = None
        self._is_running = False
        self.is_blocked = False  # the shell reads too slowly
        self._pending = bytearray()
        self.has_exited = False
        self.exit_reason = ""  # for the client, empty if nothing is known of an end

    # Input.

    @property
    def size(self) -> Resize:
        """The window's size."""
        return self._resizing.size

    @property
    def waiting_bytes(self) -> int:
        """How much input waits here for the shell to take it; a window's worth more may wait on the machine."""
        channel = self.channel if self._is_running else None
        return len(self._pending) + (0 if channel is None else channel.get_write_buffer_size())

    def is_closing(self) -> bool:
        """Return whether the channel is closing, or closed: input goes nowhere."""
        return self.channel is not None and self.channel.is_closing()

    def type(self, message: Input) -> None:
        """Write input, after the size that was set before it."""
        data = message.data
        self._resizing.flush()
        if self.channel is None or not self._is_running or self.is_blocked:
            self._pending += data
        else:
            self.channel.write(data)
        self._activity.note_input()

    def resize(self, size: Resize) -> None:
        """Set the size; of many in a short time the shell gets the first, a few, and the last."""
        self._resizing.resize(size)

    def _send_size(self, size: Resize) -> bool:
        if not self._is_running or self.channel is None:
            return False
        self.channel.change_terminal_size(size.cols, size.rows)
        return True

    def _write_pending(self) -> None:
        if self._pending and self.channel is not None and not self.channel.is_closing():
            pending = bytes(self._pending)
            self._pending.clear()
            self.channel.write(pending)

    def close(self) -> None:
        """Hang up the shell, and close its channel; the owner is told nothing more. A second call does nothing."""
        if self._owner is None:
            return
        self._owner = None  # a circle would keep the buffers until garbage is collected
        self._pending.clear()
        self._resizing.close()
        if self.channel is not None:
            if self._is_running and not self.channel.is_closing():
                self.channel.send_signal("HUP")  # sshd sees a close only behind input that the shell does not read
            self.channel.abort()

    # From the shell: asyncssh's callbacks.

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        """Take the channel; the shell is not started yet."""
        self.channel = chan
        self._attachment.begin(ReceiveWindow(chan))
        if self._owner is None:
            chan.abort()

    def session_started(self) -> None:
        """Tell the owner that the shell runs, and write what has been typed meanwhile."""
        self._is_running = True
        if self._owner is None or self.is_closing():  # a shell may exit at once
            return
        self._owner.shell_started()
        self._resizing.flush()
        self._write_pending()

    def pause_writing(self) -> None:
        """Keep input here while the shell reads too slowly: many small writes take no more than their size here."""
        self.is_blocked = True

    def resume_writing(self) -> None:
        """Write what has waited."""
        self.is_blocked = False
        self._write_pending()

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """Pass output on; what is drawn anew because of another size is no activity."""
        self._attachment.take(data)
        if not self._resizing.is_redrawing():
            self._activity.note_output()

    def exit_status_received(self, status: int) -> None:
        """Note how the shell exited."""
        self.has_exited = True
        self.exit_reason = f"shell exited with status {status}"

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:
        """Note the signal that ended the shell."""
        self.exit_reason = f"shell was ended by signal {signal}"

    def connection_lost(self, exc: Exception | None) -> None:
        """Send the last output, and tell the owner that the channel is closed."""
        self._attachment.finish()
        if self._owner is not None:
            self._owner.shell_closed()
