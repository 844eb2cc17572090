"""Carrier: one SSH connection to a machine, and the terminals that are channels of it."""

import asyncio
from collections.abc import Callable
from typing import Any

import asyncssh

from aether.errors import ProviderTimeout
from aether.flow import START_WINDOW_BYTES

OPEN_TIMEOUT_S = 15.0
LIMIT_CODES = frozenset(
    {asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, asyncssh.OPEN_CONNECT_FAILED, asyncssh.OPEN_RESOURCE_SHORTAGE}
)


class Carrier:
    """One SSH connection and the terminals it carries."""

    def __init__(self, connection: asyncssh.SSHClientConnection) -> None:
        self.connection = connection
        self.is_full = False  # the server allows no more terminals on it, or does not answer
        self._has_carried = False
        self._opening = 0
        self._channels: list[asyncssh.SSHClientChannel[bytes]] = []

    def has_room(self) -> bool:
        """Say whether another terminal may be tried on this connection: after a refusal once one has closed."""
        alive = [channel for channel in self._channels if not channel.is_closing()]
        if len(alive) < len(self._channels):
            self.is_full = False
        self._channels = alive
        return not self.is_full and not self.connection.is_closed()

    def is_empty(self) -> bool:
        """Say whether it carries nothing, and is not about to."""
        return not self._opening and all(channel.is_closing() for channel in self._channels)

    async def open(
        self, factory: Callable[[], asyncssh.SSHClientSession[bytes]], cols: int, rows: int
    ) -> asyncssh.SSHClientChannel[bytes] | None:
        """Open a shell on a PTY, None where no more of them can be had; raise asyncssh.Error, OSError."""
        self._opening += 1
        is_late, has_channel = False, False

        def make() -> asyncssh.SSHClientSession[bytes]:
            nonlocal has_channel
            has_channel = not is_late
            return asyncssh.SSHClientSession() if is_late else factory()

        opening = asyncio.ensure_future(
            self.connection.create_session(
                make,
                term_type="xterm-256color",
                term_size=(cols, rows),
                term_modes={asyncssh.PTY_IUTF8: 1},  # backspace erases a whole character (RFC 8160)
                env={"LANG": "C.UTF-8", "COLORTERM": "truecolor"},
                encoding=None,
                window=START_WINDOW_BYTES,
            )
        )
        opening.add_done_callback(self._opened)
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                # shielded: asyncssh never closes a channel whose opening was cancelled; the session aborts it instead
                channel, _ = await asyncio.shield(opening)
        except TimeoutError as error:
            self.is_full = is_late = True
            opening.add_done_callback(_abort)
            if has_channel:  # a second one would have the session in two shells
                raise ProviderTimeout(f"the machine opened no shell in {OPEN_TIMEOUT_S:.0f} s; try again") from error
            return None
        except asyncssh.ChannelOpenError as error:
            if error.code not in LIMIT_CODES or not (self._has_carried or self._opening):
                if self.is_empty():
                    self.connection.abort()
                raise
            self.is_full = True
            return None
        return channel

    def _opened(self, opening: "asyncio.Task[tuple[asyncssh.SSHClientChannel[Any], Any]]") -> None:
        self._opening -= 1
        if not opening.cancelled() and opening.exception() is None:
            self._has_carried = True
            self._channels.append(opening.result()[0])


def _abort(opening: "asyncio.Task[tuple[asyncssh.SSHClientChannel[Any], Any]]") -> None:
    """Close a channel that came when nobody waited for it any more."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result()[0].abort()
