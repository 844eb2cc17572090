"""Completed: a command that has run in a machine, and the session that collects what it says."""

import asyncio
from dataclasses import dataclass

import asyncssh

from aether.errors import SshError

MAX_OUTPUT_BYTES = 1 << 20
WINDOW_BYTES = 64 * 1024


@dataclass(frozen=True)
class Completed:
    """How a command ended, and what it said; `status` is None if a signal or the loss of the connection ended it."""

    status: int | None
    stdout: bytes
    stderr: bytes


class CommandSession(asyncssh.SSHClientSession[bytes]):
    """Collects the output of one command, at most MAX_OUTPUT_BYTES: a machine is its user's, and may send for ever."""

    def __init__(self) -> None:
        self._channel: asyncssh.SSHClientChannel[bytes] | None = None
        self._status: int | None = None
        self._outputs = {None: bytearray(), asyncssh.EXTENDED_DATA_STDERR: bytearray()}
        self.completed: asyncio.Future[Completed] = asyncio.get_running_loop().create_future()

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        """Take the channel."""
        self._channel = chan

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """Collect output; end the command when it says too much."""
        self._outputs[datatype] += data
        if sum(map(len, self._outputs.values())) > MAX_OUTPUT_BYTES and not self.completed.done():
            self.completed.set_exception(SshError("a command in the machine said more than 1 MiB; it was ended"))
            assert self._channel is not None
            self._channel.abort()

    def exit_status_received(self, status: int) -> None:
        """Note how the command exited."""
        self._status = status

    def connection_lost(self, exc: Exception | None) -> None:
        """Say that the command has ended, or the connection."""
        if not self.completed.done():
            stdout, stderr = map(bytes, self._outputs.values())
            self.completed.set_result(Completed(self._status, stdout, stderr))
