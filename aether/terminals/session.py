"""SessionShell: a shell that lives in a session of the machine's PTY host, and outlives the channel it is reached by.

It is attached over one channel after the other. What the client lacks of the output comes again from the host's log,
and input that the host has not confirmed is sent again: cut anywhere, nothing is lost and nothing doubled.
"""

import asyncio
import contextlib
import struct
import uuid
from typing import Any, Protocol

from aether.errors import AetherError, ProviderTimeout, SessionTaken, SshError
from aether.messages import Input, Resize, TerminalQuery
from aether.ssh.window import ReceiveWindow
from aether.terminals.attachment import Attachment
from aether.terminals.flow import START_WINDOW_BYTES
from aether.terminals.frames import PROTOCOL, FrameError, decode, json_frame, size_frame
from aether.terminals.host_channel import HostChannel
from aether.terminals.keeping import Keeping
from aether.terminals.resizing import Resizing
from aether.terminals.session_input import SessionInput
from aether.terminals.session_output import SessionOutput
from aether.terminals.shell import Activity

ATTACH_TIMEOUT_S = 15.0
ENV = {"TERM": "xterm-256color", "LANG": "C.UTF-8", "COLORTERM": "truecolor"}


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
        keeping: the way to the machine's hosts, and what holds for the session without a client.
        activity: is told of input and output.
        attachment: gets the output.
    """

    def __init__(
        self,
        query: TerminalQuery,
        keeping: Keeping,
        activity: Activity,
        attachment: Attachment,
        owner: SessionOwner,
    ) -> None:
        self._query = query
        self._host, self._policy = keeping.host, keeping.policy
        self._activity, self._attachment = activity, attachment
        self._owner: SessionOwner | None = owner
        self._client = query.client or str(uuid.uuid4())
        self._resizing = Resizing(query.size, self._send_size)
        self._input = SessionInput(attachment.client, self._send)
        self._output = SessionOutput(query, attachment, self._send)
        self.early: list[Input] = []  # typed before there was a shell
        self._channel: HostChannel | None = None
        self._answer: asyncio.Future[bool] | None = None  # whether the host has attached us
        self._is_attached = self._had_shell = False
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
            with contextlib.suppress(SshError):  # it is gone
                if await self._attach_at(socket):
                    return
        if not await self._attach_at(None):
            raise SshError("the machine's PTY host starts no session; try again")

    async def _attach_at(self, socket: str | None) -> bool:
        """Attach at an earlier host if the session is there; or at the newest, which starts it."""
        channel = self._channel = HostChannel(self)
        answer = self._answer = asyncio.get_running_loop().create_future()
        try:
            await self._host.open(lambda: channel, START_WINDOW_BYTES, socket)
            channel.send(json_frame("O", self._wanted(may_start=socket is None)))
            async with asyncio.timeout(ATTACH_TIMEOUT_S):
                return bool(await answer)
        except TimeoutError as error:
            raise ProviderTimeout("the machine's PTY host did not answer in time; try again") from error
        finally:
            if not self._is_attached:
                channel.close()

    def _wanted(self, may_start: bool) -> dict[str, Any]:
        return {
            "protocol": PROTOCOL,
            "id": self._query.session,
            "client": self._client,
            **self._output.wanted(),
            "create": may_start,
            "size": [*self.size],
            "env": ENV,
            "grace_s": self._policy.grace_s,
            "max_detached": self._policy.max_detached,
        }

    def close(self) -> None:
        """Leave the session, which goes on; the owner is told nothing more. A second call does nothing."""
        self._owner = None  # a circle would keep the buffers until garbage is collected
        self._resizing.close()
        self._input.close()
        self._output.close()
        self._is_attached = False
        if self._channel is not None:
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
        return self._input.waiting_bytes + sum(len(message.data) for message in self.early)

    @property
    def progress(self) -> tuple[int, int]:
        """How far output and input have come; another value where they have moved."""
        return self._output.position, self._input.taken

    def is_closing(self) -> bool:
        """Return whether the shell has exited: input goes nowhere."""
        return self.has_exited

    def type(self, message: Input) -> None:
        """Send input on, or keep it for the shell that is attached next."""
        if not self._had_shell:
            self.early.append(message)
            return
        self._resizing.flush()
        self._input.type(message)
        self._activity.note_input()

    def resize(self, size: Resize) -> None:
        """Set the size; of many in a short time the shell gets the first, a few, and the last."""
        self._resizing.resize(size)

    def _send(self, frame: bytes) -> bool:
        if self._is_attached and self._channel is not None:
            self._channel.send(frame)
        return self._is_attached

    def _send_size(self, size: Resize) -> bool:
        return self._send(size_frame(size.cols, size.rows))

    # From the host.

    def channel_opened(self, channel: HostChannel) -> None:
        """Take over flow control, before the first output."""
        assert channel.ssh is not None
        self._attachment.begin(ReceiveWindow(channel.ssh))

    def frame_received(self, kind: int, payload: bytes) -> None:
        """Take a frame; raise FrameError if it makes no sense."""
        try:
            match kind:
                case 0x44:  # D
                    if self._output.take(payload) and not self._resizing.is_redrawing():
                        self._activity.note_output()
                case 0x54:  # T
                    self._input.confirmed(payload)
                case 0x53:  # S
                    self._attached(decode(payload))
                case 0x5A:  # Z
                    self._output.size_recorded(payload)
                case 0x46:  # F
                    self._output.foreground_changed(payload)
                case 0x58:  # X
                    self.exit_reason = self._output.exited(payload)
                    self.has_exited = True
                case 0x47:  # G
                    self._refused(SessionTaken("This terminal was opened in another tab or on another device."))
                case 0x45:  # E
                    self._complained(decode(payload))
                case _:
                    raise FrameError("unknown")
        except (KeyError, TypeError, ValueError, ArithmeticError, RecursionError, struct.error) as error:
            raise FrameError(f"frame {chr(kind)!r}: {error}") from error

    def bytes_received(self, size: int) -> None:
        """Count what came in one packet."""
        self._output.packet_read(size)

    def _attached(self, session: dict[str, Any]) -> None:
        is_same = self._output.attached(session, self._had_shell)
        self._resizing.note_sent()
        self._is_attached = self._had_shell = True
        self._input.attached(int(session["taken"]), int(session["waiting"]), is_same)
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(True)
        if self._owner is not None:
            self._owner.shell_started()
        early, self.early = self.early, []
        for message in early:
            self.type(message)

    def _complained(self, complaint: dict[str, Any]) -> None:
        code, text = complaint["code"], str(complaint["message"])[:200]
        if self._answer is None or self._answer.done():
            self._refused(SshError(f"the machine's PTY host gave up: {text}; reconnect"))
        elif code == "unknown":
            self._answer.set_result(False)
        else:
            self._host.forget()  # perhaps it is another one now
            self._answer.set_exception(SshError(f"the machine's PTY host refused: {text}; try again"))

    def _refused(self, error: AetherError) -> None:
        self._input.detached()
        if self._owner is not None:
            self._owner.shell_refused(error)

    def channel_closed(self, channel: HostChannel) -> None:
        """Note that the channel is lost, or that the shell has exited."""
        self._is_attached = False
        self._input.detached()
        if self._answer is not None and not self._answer.done():
            self._host.forget()
            self._answer.set_exception(SshError("the machine's PTY host did not answer; try again"))
            return
        self._attachment.restart()
        if self._owner is not None:
            self._owner.shell_closed()
