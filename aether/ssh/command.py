"""Completed: a command that has run in a machine, and the session that collects what it says."""

import asyncio
from dataclasses import dataclass

import asyncssh

from aether.errors import SshError

MAX_OUTPUT_BYTES = 1 << 20
WINDOW_BYTES = 64 * 1024


@dataclass(frozen=True)
class Completed:
    """How a command ended, and what it said; `status` is None if a signal ended it."""

    status: int | None
    stdout: bytes
    stderr: bytes


class CommandSession(asyncssh.SSHClientSession[bytes]):
    """Collects the output of one command, at most MAX_OUTPUT_BYTES: a machine is its user's, and may send for ever."""

    def __init__(self) -> None:
        self._channel: asyncssh.SSHClientChannel[bytes] | None = None
        self._status: int | None = None
        self._has_ended = False
        self._outputs = {None: bytearray(), asyncssh.EXTENDED_DATA_STDERR: bytearray()}
        self.completed: asyncio.Future[Completed] = asyncio.get_running_loop().create_future()

    def close(self) -> None:
        """Close the command's channel, whether it has ended or not; its end is of no interest any longer."""
        self.completed.cancel()
        if self._channel is not None:
            self._channel.abort()

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        """Take the channel."""
        self._channel = chan

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """Collect output; end the command when it says too much."""
        self._outputs[datatype] += data
        if sum(map(len, self._outputs.values())) > MAX_OUTPUT_BYTES and not self.completed.done():
            self.completed.set_exception(SshError("a command in the machine said more than 1 MiB; it was ended"))

    def exit_status_received(self, status: int) -> None:
        """Note how the command exited."""
        self._status = status
        self._has_ended = True

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:
        """Note that a signal ended the command."""
        self._has_ended = True

    def connection_lost(self, exc: Exception | None) -> None:
        """Say that the command has ended, or the connection before it."""
        if self.completed.done():
            return
        if not self._has_ended:
            self.completed.set_exception(SshError("the SSH connection was lost while a command ran; try again"))
        else:
            stdout, stderr = map(bytes, self._outputs.values())
            self.completed.set_result(Completed(self._status, stdout, stderr))
