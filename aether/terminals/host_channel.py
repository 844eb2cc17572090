"""HostChannel: a channel of SSH to a machine's PTY host, and the frames on it."""

from collections.abc import Callable
from typing import Any, Protocol

import asyncssh

from aether.terminals.frames import FrameError, FrameReader

Channel = asyncssh.SSHUNIXChannel[bytes] | asyncssh.SSHClientChannel[bytes]


class Receiver(Protocol):
    """What a channel tells."""

    def channel_opened(self, channel: "HostChannel") -> None:
        """Frames may be sent."""

    def frame_received(self, kind: int, payload: bytes) -> None:
        """A whole frame has come; raise FrameError if it makes no sense."""

    def bytes_received(self, size: int) -> None:
        """A packet of `size` bytes has come, and the frames that it made whole were told."""

    def channel_closed(self, channel: "HostChannel") -> None:
        """Nothing more comes."""


class HostChannel(asyncssh.SSHUNIXSession[bytes], asyncssh.SSHClientSession[bytes]):
    """One channel: to the host's socket, or to a relay where the machine's SSH server forwards none."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver: Receiver | None = receiver
        self.ssh: Channel | None = None
        self._reader = FrameReader(self._take)

    def send(self, frame: bytes) -> None:
        """Send a frame; does nothing on a channel that is closing."""
        if self.ssh is not None and not self.ssh.is_closing():
            self.ssh.write(frame)

    def is_closing(self) -> bool:
        """Return whether the channel is closing, or closed."""
        return self.ssh is not None and self.ssh.is_closing()

    def close(self) -> None:
        """Close the channel; its receiver is told nothing more."""
        self._receiver = None
        if self.ssh is not None:
            self.ssh.abort()

    # asyncssh's callbacks.

    def connection_made(self, chan: Any) -> None:
        """Take the channel."""
        self.ssh = chan
        if self._receiver is None:
            chan.abort()

    def session_started(self) -> None:
        """Say that frames may be sent."""
        if self._receiver is not None:
            self._receiver.channel_opened(self)

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """Pass on what is whole; what makes no sense ends the channel."""
        if datatype is not None or self._receiver is None:
            return
        try:
            self._reader.feed(data)
        except FrameError:
            if self.ssh is not None:
                self.ssh.abort()
            return
        if self._receiver is not None:
            self._receiver.bytes_received(len(data))

    def _take(self, kind: int, payload: bytes) -> None:
        if self._receiver is not None:
            self._receiver.frame_received(kind, payload)

    def connection_lost(self, exc: Exception | None) -> None:
        """Say that nothing more comes."""
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.channel_closed(self)


class Question:
    """One question to a host, and its answer.

    Args:
        frame: the question.
    """

    def __init__(self, frame: bytes, answer: Callable[[int | None, bytes], None]) -> None:
        self._frame = frame
        self._answer = answer

    def channel_opened(self, channel: HostChannel) -> None:
        """Ask."""
        channel.send(self._frame)

    def frame_received(self, kind: int, payload: bytes) -> None:
        """Take the answer."""
        self._answer(kind, payload)

    def bytes_received(self, size: int) -> None:
        """Count nothing: asyncssh grants what a question's channel may receive."""

    def channel_closed(self, channel: HostChannel) -> None:
        """There is no answer."""
        self._answer(None, b"")
