"""SessionOutput: what a machine's PTY host tells of a session, as messages for its client."""

from collections.abc import Callable
from typing import Any

from aether import messages
from aether.messages import TerminalQuery
from aether.schemas import COLS, MAX_OFFSET, ROWS
from aether.terminals.attachment import Attachment
from aether.terminals.frames import OFFSET, SIZE, FrameError, decode, drawn_frame
from aether.terminals.later import Later

MAX_COMMAND_CHARS, MAX_SIGNAL_CHARS = 200, 20
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
        self._send = send
        self._position = self._until = self._end = 0  # what has come, what some client had already, what is old
        self._in_packet = 0  # bytes of output in the packet that is being read
        self._drawn = self._told = 0
        self._telling = Later(DRAWN_S, self._tell_drawn)

    @property
    def position(self) -> int:
        """Up to where output has come."""
        return self._position

    @property
    def offset(self) -> int | None:
        """Where the output goes on that the client lacks; None if it has none yet."""
        mine = self._attachment.offset
        return self._query.offset if mine is None else mine

    def wanted(self) -> dict[str, int | None]:
        """Return where to go on, and up to where it is drawn, for the host."""
        return {"offset": self.offset, **({} if self._attachment.offset is None else {"drawn": self._drawn})}

    def attached(self, session: dict[str, Any], had_shell: bool) -> bool:
        """Begin with what the host says of the session; tell the client what it has not heard of it.

        Nothing where the same shell goes on after another connection to the machine, and nothing is lost. Returns
        whether it is the same shell. Raises FrameError for what makes no sense.
        """
        tell, asked = self._attachment.tell, self.offset
        is_new, offset, lost = bool(session["is_new"]), _count(session["offset"]), _count(session["lost"])
        if session["id"] != self._query.session:
            raise FrameError("another session's")
        is_same = had_shell and not is_new and (offset == asked or lost > 0)
        self._position, self._until, self._end = offset, _count(session["until"]), _count(session["end"])
        self._attachment.resume(offset, self._note_drawn, is_same)
        self._drawn = self._told = offset
        if not is_same:
            tell(messages.session(str(session["id"]), is_new, offset, _count(session["taken"])))
        if is_new and (had_shell or self._query.offset is not None or self._query.is_reconnect):
            tell(messages.reconnected())
        if lost:
            tell(messages.lost(lost))
        if session["modes"] is not None or self._until > offset:
            tell(messages.replay(self._until, str(session["modes"] or "").encode("latin-1")))
        return is_same

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
        if not (COLS["minimum"] <= cols <= COLS["maximum"] and ROWS["minimum"] <= rows <= ROWS["maximum"]):
            raise FrameError(f"a size of {cols} × {rows}")
        self._attachment.tell(messages.size(cols, rows, _count(offset)))

    def foreground_changed(self, payload: bytes) -> None:
        """Pass on what is in front now."""
        front = decode(payload)
        modes = [bool(front[name]) for name in ("is_shell", "echo", "canonical", "ixon")]
        self._attachment.tell(messages.foreground(str(front["command"])[:MAX_COMMAND_CHARS], *modes))

    def exited(self, payload: bytes) -> str:
        """Send what is left, and how the shell exited; return that in words."""
        end = decode(payload)
        status = None if "status" not in end else _count(end["status"])
        signal = None if "signal" not in end else str(end["signal"])[:MAX_SIGNAL_CHARS]
        self._attachment.finish()
        self._attachment.tell(messages.exited(status, signal))
        return f"shell was ended by signal {signal}" if signal else f"shell exited with status {status}"

    def close(self) -> None:
        """Tell the host for the last time what was drawn, and let go of the session."""
        self._tell_drawn()
        self._telling.close()
        self._send = lambda _: False

    def _note_drawn(self, offset: int) -> None:
        self._drawn = offset
        if offset - self._told >= DRAWN_BYTES:
            self._tell_drawn()
        else:
            self._telling.ask()

    def _tell_drawn(self) -> None:
        if self._drawn > self._told and self._send(drawn_frame(self._drawn)):
            self._told = self._drawn


def _count(number: Any) -> int:
    """Return a number of bytes, or a status, that a host has sent; raise FrameError if it can be none."""
    if not isinstance(number, int) or not 0 <= number <= MAX_OFFSET:
        raise FrameError(f"{number!r:.40} is no count")
    return number
