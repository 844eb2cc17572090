"""SessionShell: a shell that lives in a session of the machine's PTY host, and outlives the channel it is reached by.

It is attached over one channel after the other. What the client lacks of the output comes again from the host's log; input
that the host has not confirmed is sent again: cut anywhere, nothing is lost and nothing doubled.
"""

import asyncio
import contextlib
import struct
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from aether import messages
from aether.errors import AetherError, ProviderTimeout, SessionTaken, SshError
from aether.messages import Input, Resize, TerminalQuery
from aether.ssh.connection import SocketRefused
from aether.ssh.window import ReceiveWindow
from aether.terminals.attachment import Attachment
from aether.terminals.flow import START_WINDOW_BYTES
from aether.terminals.frames import (
    OFFSET,
    PROTOCOL,
    SIZE,
    TAKEN,
    FrameError,
    decode,
    drawn_frame,
    input_frame,
    json_frame,
    size_frame,
)
from aether.terminals.host_channel import HostChannel
from aether.terminals.pty_host import PtyHost
from aether.terminals.resizing import Resizing
from aether.terminals.shell import Activity
from aether.terminals.unconfirmed import Unconfirmed

MAX_ON_ITS_WAY_BYTES = 64 * 1024  # of input, between here and the program
MAX_INPUT_BYTES = 16 * 1024  # a frame
TAKEN_S = 0.1  # how late the client may hear that its input was taken
DRAWN_S = 1.0  # how late the host may hear that output was drawn,
DRAWN_BYTES = 128 * 1024  # and how much
ATTACH_TIMEOUT_S = 15.0
OUTPUT = ord("D")
ENV = {"TERM": "xterm-256color", "LANG": "C.UTF-8", "COLORTERM": "truecolor"}


@dataclass(frozen=True)
class SessionPolicy:
    """What holds for a session without a client.

    Attributes:
        grace_s: how long its program waits for a client once the log is full.
        max_detached: how many of them a machine may have.
    """

    grace_s: float = 60.0
    max_detached: int = 16


class SessionOwner(Protocol):
    """What a session's shell tells."""

    def shell_started(self) -> None:
        """The shell is there; input reaches it."""

    def shell_closed(self) -> None:
        """The shell has exited, or the channel to it is lost."""

    def shell_refused(self, error: AetherError) -> None:
        """Another client has the session, or the host cannot serve it."""


class SessionShell:
    """One session, as one terminal sees it.

    Args:
        query: which session, from which offset, for which client, at which size.
        host: the way to the machine's hosts.
        policy: what holds for the session without a client.
        activity: is told of input and output.
        attachment: gets the output.
    """

    def __init__(
        self,
        query: TerminalQuery,
        host: PtyHost,
        policy: SessionPolicy,
        activity: Activity,
        attachment: Attachment,
        owner: SessionOwner,
    ) -> None:
        self._query = query
        self._host = host
        self._policy = policy
        self._activity = activity
        self._attachment = attachment
        self._owner: SessionOwner | None = owner
        self._loop = asyncio.get_running_loop()
        self._client = query.client or str(uuid.uuid4())
        self._resizing = Resizing(query.size, self._send_size)
        self._input = Unconfirmed()
        self.early: list[Input] = []  # typed before there was a shell
        self._channel: HostChannel | None = None
        self._answer: asyncio.Future[bool] | None = None  # whether the host has attached us
        self._is_attached = self._had_shell = False
        self._position = self._until = self._end = 0  # in the log: what has come, what is replayed, what is old
        self._output_bytes = 0  # in the packet that is read now
        self._waiting = 0  # input that the host has and the program has not read
        self._drawn = self._told_drawn = 0
        self._timers: dict[Callable[[], None], asyncio.TimerHandle] = {}
        self.has_exited = False
        self.exit_reason = ""

    # Attaching.

    async def attach(self) -> None:
        """Attach to the session where it is, or start it; again after the channel was lost.

        Raises:
            CannotKeep: the machine keeps no sessions.
            SshError, ProviderTimeout: no shell is attached.
        """
        await self._host.prepare()
        for socket in self._host.earlier():
            with contextlib.suppress(SocketRefused):
                if await self._attach_at(socket):
                    return
        await self._attach_at(None)

    async def _attach_at(self, socket: str | None) -> bool:
        """Attach at an earlier host if the session is there; or at the newest, which starts it."""
        channel = self._channel = HostChannel(self)
        answer = self._answer = self._loop.create_future()
        try:
            await self._host.open(lambda: channel, START_WINDOW_BYTES, socket)
            channel.send(json_frame("O", self._wanted(may_start=socket is None)))
            async with asyncio.timeout(ATTACH_TIMEOUT_S):
                return await answer
        except TimeoutError as error:
            raise ProviderTimeout("the machine's PTY host did not answer in time; try again") from error
        finally:
            if not self._is_attached:
                channel.close()

    def _wanted(self, may_start: bool) -> dict[str, Any]:
        offset, size = self._attachment.offset, self._resizing.size
        return {
            "protocol": PROTOCOL,
            "id": self._query.session,
            "client": self._client,
            "offset": self._query.offset if offset is None else offset,
            "create": may_start,
            "size": [size.cols, size.rows],
            "env": ENV,
            "grace_s": self._policy.grace_s,
            "max_detached": self._policy.max_detached,
        }

    def close(self) -> None:
        """Leave the session, which goes on; the owner is told nothing more. A second call does nothing."""
        self._owner = None  # a circle would keep the buffers until garbage is collected
        self._resizing.close()
        for timer in self._timers.values():
            timer.cancel()
        if self._channel is not None:
            self._tell_drawn()
            self._channel.close()
            self._channel = None

    # Input.

    @property
    def size(self) -> Resize:
        """The window's size."""
        return self._resizing.size

    @property
    def waiting_bytes(self) -> int:
        """How much input the program has not read."""
        return self._input.size + self._waiting

    def is_closing(self) -> bool:
        """Return whether the shell has exited: input goes nowhere."""
        return self.has_exited

    def type(self, message: Input) -> None:
        """Send input on, or keep it for the shell that is attached again."""
        if not self._had_shell:
            self.early.append(message)
            return
        self._resizing.flush()
        self._input.add(message.data, message.offset)
        self._send_input()
        self._activity.note_input()

    def resize(self, size: Resize) -> None:
        """Set the size; of many in a short time the shell gets the first, a few, and the last."""
        self._resizing.resize(size)

    def _send_size(self, size: Resize) -> bool:
        if self._is_attached and self._channel is not None:
            self._channel.send(size_frame(size.cols, size.rows))
        return self._is_attached

    def _send_input(self) -> None:
        """Send what the host takes now; more when it says that the program has read."""
        while self._is_attached and self._channel is not None:
            room = MAX_ON_ITS_WAY_BYTES - self._input.on_its_way - self._waiting
            offset, data = self._input.take(min(room, MAX_INPUT_BYTES)) if room > 0 else (0, b"")
            if not data:
                break
            self._channel.send(input_frame(offset, data))

    # From the host.

    def channel_opened(self, channel: HostChannel) -> None:
        """Take over flow control, before the first output."""
        assert channel.ssh is not None
        self._attachment.begin(ReceiveWindow(channel.ssh))

    def frame_received(self, kind: int, payload: bytes) -> None:
        """Take a frame; raise FrameError if it makes no sense."""
        try:
            if kind == OUTPUT:
                self._take_output(payload)
            else:
                _TAKERS[chr(kind)](self, payload)
        except (KeyError, TypeError, ValueError, struct.error) as error:
            raise FrameError(f"frame {chr(kind)!r}: {error}") from error

    def _take_output(self, payload: bytes) -> None:
        (offset,) = OFFSET.unpack_from(payload)
        if offset != self._position:
            raise FrameError(f"output from {offset}, not {self._position}")
        if offset == self._until:
            self._attachment.flush()
        data = payload[OFFSET.size :]
        self._position += len(data)
        self._output_bytes += len(data)
        self._attachment.take(data)
        if self._position > self._end and not self._resizing.is_redrawing():
            self._activity.note_output()

    def bytes_received(self, size: int) -> None:
        """Count what came in one packet and was no output."""
        self._attachment.add_overhead(size - self._output_bytes)
        self._output_bytes = 0

    def _take_session(self, payload: bytes) -> None:
        session = decode(payload)
        is_new, offset, taken = bool(session["is_new"]), int(session["offset"]), int(session["taken"])
        self._position, self._until, self._end = offset, int(session["until"]), int(session["end"])
        self._attachment.resume(offset, self._note_drawn)
        self._drawn = self._told_drawn = offset
        self._waiting = 0
        self._input.restart(taken, is_same=self._had_shell and not is_new)
        self._resizing.note_sent()
        is_first = not self._had_shell
        self._is_attached = self._had_shell = True
        if is_first or is_new:
            is_another = is_new and (not is_first or self._query.offset is not None or self._query.is_reconnect)
            self._announce(session, offset, taken, is_another)
        elif session["lost"] or session["modes"]:
            self._say_lost(session)
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(True)
        if self._owner is not None:
            self._owner.shell_started()
        early, self.early = self.early, []
        for message in early:
            self.type(message)
        self._send_input()

    def _announce(self, session: dict[str, Any], offset: int, taken: int, is_another: bool) -> None:
        send = self._attachment.client.send
        send(messages.session(self._query.session or "", bool(session["is_new"]), offset, taken))
        if is_another:
            send(messages.reconnected())
        self._say_lost(session)

    def _say_lost(self, session: dict[str, Any]) -> None:
        send = self._attachment.client.send
        if session["lost"]:
            send(messages.lost(int(session["lost"])))
        if session["modes"] is not None or self._until > self._position:
            send(messages.replay(self._until, session["modes"] or ""))

    def _take_size(self, payload: bytes) -> None:
        offset, cols, rows = SIZE.unpack(payload)
        self._attachment.flush()
        self._attachment.client.send(messages.size(cols, rows, offset))

    def _take_taken(self, payload: bytes) -> None:
        taken, self._waiting = TAKEN.unpack(payload)
        self._input.confirm(taken)
        self._later(TAKEN_S, self._tell_taken)
        self._send_input()

    def _tell_taken(self) -> None:
        self._attachment.client.send(messages.taken(self._input.taken))

    def _take_front(self, payload: bytes) -> None:
        front = decode(payload)
        keys = ("is_shell", "echo", "canonical", "ixon")
        self._attachment.client.send(messages.foreground(str(front["command"]), *(bool(front[key]) for key in keys)))

    def _take_exit(self, payload: bytes) -> None:
        end = decode(payload)
        status, signal = end.get("status"), end.get("signal")
        self.has_exited = True
        self.exit_reason = f"shell was ended by signal {signal}" if signal else f"shell exited with status {status}"
        self._attachment.finish()
        self._attachment.client.send(messages.exited(status, signal))

    def _take_replaced(self, _: bytes) -> None:
        if self._owner is not None:
            self._owner.shell_refused(SessionTaken("This terminal was opened in another tab or on another device."))

    def _take_refusal(self, payload: bytes) -> None:
        refusal = decode(payload)
        if self._answer is not None and not self._answer.done():
            if refusal["code"] == "unknown":
                self._answer.set_result(False)
            else:
                self._answer.set_exception(SshError(f"the machine's PTY host refused: {refusal['message']}; try again"))
        elif self._owner is not None:
            self._owner.shell_refused(SshError(f"the machine's PTY host gave up: {refusal['message']}; reconnect"))

    def channel_closed(self, channel: HostChannel) -> None:
        """Note that the channel is lost, or that the shell has exited."""
        self._is_attached = False
        if self._answer is not None and not self._answer.done():
            self._host.forget()
            self._answer.set_exception(SshError("the machine's PTY host did not answer; try again"))
            return
        self._attachment.restart()
        if self._owner is not None:
            self._owner.shell_closed()

    # What may be told a little later.

    def _note_drawn(self, offset: int) -> None:
        self._drawn = offset
        if offset - self._told_drawn >= DRAWN_BYTES:
            self._tell_drawn()
        else:
            self._later(DRAWN_S, self._tell_drawn)

    def _tell_drawn(self) -> None:
        if self._is_attached and self._channel is not None and self._drawn > self._told_drawn:
            self._told_drawn = self._drawn
            self._channel.send(drawn_frame(self._drawn))

    def _later(self, delay_s: float, call: Callable[[], None]) -> None:
        """Call once after a delay, unless that is planned already."""
        if call not in self._timers:
            self._timers[call] = self._loop.call_later(delay_s, self._fire, call)

    def _fire(self, call: Callable[[], None]) -> None:
        del self._timers[call]
        call()


_TAKERS: dict[str, Callable[[SessionShell, bytes], None]] = {
    "S": SessionShell._take_session,
    "Z": SessionShell._take_size,
    "T": SessionShell._take_taken,
    "F": SessionShell._take_front,
    "X": SessionShell._take_exit,
    "G": SessionShell._take_replaced,
    "E": SessionShell._take_refusal,
}
