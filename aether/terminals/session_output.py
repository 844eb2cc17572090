"""SessionOutput: what a machine's PTY host tells of a session, as messages for its client."""

from collections.abc import Callable
from typing import Any

from aether import messages
from aether.messages import TerminalQuery
from aether.terminals.attachment import Attachment
from aether.terminals.frames import OFFSET, SIZE, FrameError, decode, drawn_frame
from aether.terminals.later import Later

DRAWN_S = 1.0  # how late the host may hear that output was drawn,
DRAWN_BYTES = 128 * 1024  # and how much of it


class SessionOutput:
    """The output of a session, by its offsets in the host's log.

    Args:
        send: sends a frame to the host.
    """

    def __init__(self, query: TerminalQuery, attachment: Attachment, send: Callable[[bytes], bool]) -> None:
        self._query = query
        self._attachment = attachment
        self._client = attachment.client
        self._send = send
        self._position = self._until = self._end = 0  # what has come, what some client had already, what is old
        self._in_packet = 0  # bytes of output in the packet that is being read
        self._drawn = self._told = 0
        self._telling = Later(DRAWN_S, self._tell_drawn)

    @property
    def offset(self) -> int | None:
        """Where the output goes on that the client lacks; None if it has none yet."""
        mine = self._attachment.offset
        return self._query.offset if mine is None else mine

    def attached(self, session: dict[str, Any], had_shell: bool) -> None:
        """Begin with what the host says of the session; tell the client what it has not heard of it.

        Nothing where the same shell goes on after another connection to the machine, and nothing is lost.
        """
        is_new, offset = bool(session["is_new"]), int(session["offset"])
        self._position, self._until, self._end = offset, int(session["until"]), int(session["end"])
        self._attachment.resume(offset, self._note_drawn)
        self._drawn = self._told = offset
        if is_new or not had_shell:
            self._client.send(messages.session(str(session["id"]), is_new, offset, int(session["taken"])))
        if is_new and (had_shell or self._query.offset is not None or self._query.is_reconnect):
            self._client.send(messages.reconnected())
        if session["lost"]:
            self._client.send(messages.lost(int(session["lost"])))
        if session["modes"] is not None or self._until > offset:
            modes = str(session["modes"] or "").encode("latin-1")
            self._client.send(messages.replay(self._until, modes))

    def take(self, payload: bytes) -> bool:
        """Take output; return whether the program wrote it just now. Raises FrameError where some is missing."""
        (offset,) = OFFSET.unpack_from(payload)
        if offset != self._position:
            raise FrameError(f"output from {offset}, not {self._position}")
        if offset == self._until:
            self._attachment.flush()  # no message crosses that offset
        data = payload[OFFSET.size :]
        self._position += len(data)
        self._in_packet += len(data)
        self._attachment.take(data)
        return self._position > self._end

    def packet_read(self, size: int) -> None:
        """Count what came in one packet and was no output."""
        self._attachment.add_overhead(size - self._in_packet)
        self._in_packet = 0

    def size_recorded(self, payload: bytes) -> None:
        """Pass on the size that the terminal had from an offset on."""
        offset, cols, rows = SIZE.unpack(payload)
        self._attachment.flush()
        self._client.send(messages.size(cols, rows, offset))

    def foreground_changed(self, payload: bytes) -> None:
        """Pass on what is in front now."""
        front = decode(payload)
        modes = [bool(front[name]) for name in ("is_shell", "echo", "canonical", "ixon")]
        self._client.send(messages.foreground(str(front["command"]), *modes))

    def exited(self, payload: bytes) -> str:
        """Send what is left, and how the shell exited; return that in words."""
        end = decode(payload)
        status, signal = end.get("status"), end.get("signal")
        self._attachment.finish()
        self._client.send(messages.exited(status, signal))
        return f"shell was ended by signal {signal}" if signal else f"shell exited with status {status}"

    def close(self) -> None:
        """Tell the host for the last time what was drawn."""
        self._tell_drawn()
        self._telling.close()

    def _note_drawn(self, offset: int) -> None:
        self._drawn = offset
        if offset - self._told >= DRAWN_BYTES:
            self._tell_drawn()
        else:
            self._telling.ask()

    def _tell_drawn(self) -> None:
        if self._drawn > self._told and self._send(drawn_frame(self._drawn)):
            self._told = self._drawn
