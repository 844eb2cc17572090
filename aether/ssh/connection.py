"""Connection: one SSH connection to a machine, and the channels on it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import asyncssh

from aether.errors import ProviderTimeout

OPEN_TIMEOUT_S = 15.0
LIMIT_CODES = frozenset(
    {asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, asyncssh.OPEN_CONNECT_FAILED, asyncssh.OPEN_RESOURCE_SHORTAGE}
)

Session = asyncssh.SSHClientSession[bytes]
Channel = asyncssh.SSHClientChannel[bytes]


@dataclass(frozen=True)
class Pty:
    """What a shell is started with: its terminal's size in cells, and its channel's first window in bytes."""

    cols: int
    rows: int
    window: int


class Connection:
    """One SSH connection and the channels on it, a shell each."""

    def __init__(self, ssh: asyncssh.SSHClientConnection, open_timeout_s: float = OPEN_TIMEOUT_S) -> None:
        self.ssh = ssh
        self.is_full = False  # the server refuses further channels on it, or does not answer
        self._open_timeout_s = open_timeout_s
        self._has_opened = False
        self._opening = 0
        self._channels: list[Channel] = []

    def has_room(self) -> bool:
        """Return whether to try another channel on this connection; after a refusal only once one has closed."""
        alive = [channel for channel in self._channels if not channel.is_closing()]
        if len(alive) < len(self._channels):
            self.is_full = False
        self._channels = alive
        return not self.is_full and not self.ssh.is_closed()

    def is_closed(self) -> bool:
        """Return whether the connection is lost or was ended."""
        return self.ssh.is_closed()

    def is_unused(self) -> bool:
        """Return whether no channel is open or opening on it."""
        return not self._opening and all(channel.is_closing() for channel in self._channels)

    async def open(self, factory: Callable[[], Session], pty: Pty) -> Channel | None:
        """Start a shell on a PTY; return its channel, None if the server allows no more of them.

        Raises ProviderTimeout if no shell started on the channel in time; asyncssh.Error, OSError for other refusals.
        """
        self._opening += 1
        attempt = _Attempt(factory)
        opening = asyncio.ensure_future(self._create_session(attempt.session, pty))
        opening.add_done_callback(self._opened)
        try:
            async with asyncio.timeout(self._open_timeout_s):
                # shielded: asyncssh never closes a channel whose opening was cancelled; its session aborts it instead
                channel, _ = await asyncio.shield(opening)
        except TimeoutError as error:
            self.is_full = attempt.is_late = True
            opening.add_done_callback(_abort_late)
            if attempt.has_session:  # another attempt would give one session two shells
                raise ProviderTimeout(
                    f"the machine opened no shell in {self._open_timeout_s:g} s; try again"
                ) from error
            return None
        except asyncssh.ChannelOpenError as error:
            self._refused(error)
            return None
        return channel

    def abort(self) -> None:
        """End the connection and with it all channels, without waiting for what is still to be sent."""
        self.ssh.abort()

    async def wait_closed(self) -> None:
        """Wait until the connection is closed."""
        await self.ssh.wait_closed()

    def _create_session(self, make: Callable[[], Session], pty: Pty) -> "Awaitable[tuple[Channel, Session]]":
        return self.ssh.create_session(
            make,
            term_type="xterm-256color",
            term_size=(pty.cols, pty.rows),
            term_modes={asyncssh.PTY_IUTF8: 1},  # backspace erases a whole character (RFC 8160)
            env={"LANG": "C.UTF-8", "COLORTERM": "truecolor"},
            encoding=None,
            window=pty.window,
        )

    def _refused(self, error: asyncssh.ChannelOpenError) -> None:
        """Note that the connection is full; raise `error` where the refusal means something else."""
        if error.code not in LIMIT_CODES or not (self._has_opened or self._opening):
            if self.is_unused():
                self.ssh.abort()
            raise error
        self.is_full = True

    def _opened(self, opening: "asyncio.Future[tuple[Channel, Any]]") -> None:
        self._opening -= 1
        if not opening.cancelled() and opening.exception() is None:
            self._has_opened = True
            self._channels.append(opening.result()[0])


class _Attempt:
    """One attempt to open a channel: it has a session if the channel comes in time, else one that does nothing."""

    def __init__(self, factory: Callable[[], Session]) -> None:
        self._factory = factory
        self.is_late = self.has_session = False

    def session(self) -> Session:
        """Make the session of the channel that was opened."""
        self.has_session = not self.is_late
        return asyncssh.SSHClientSession() if self.is_late else self._factory()


def _abort_late(opening: "asyncio.Future[tuple[Channel, Any]]") -> None:
    """Close a channel that was opened after its time-out."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result()[0].abort()
