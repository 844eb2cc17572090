"""Connection: one SSH connection to a machine, and the channels on it."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import asyncssh

from aether.errors import ProviderTimeout, SshError
from aether.ssh.internals import AnyChannel

OPEN_TIMEOUT_S = 15.0
LIMIT_CODES = frozenset(
    {asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, asyncssh.OPEN_CONNECT_FAILED, asyncssh.OPEN_RESOURCE_SHORTAGE}
)
FORBIDDEN_CODES = frozenset({asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, asyncssh.OPEN_UNKNOWN_CHANNEL_TYPE})

Session = asyncssh.SSHClientSession[bytes]
Channel = asyncssh.SSHClientChannel[bytes]
SocketSession = asyncssh.SSHUNIXSession[bytes]
SocketChannel = asyncssh.SSHUNIXChannel[bytes]

S = TypeVar("S")
C = TypeVar("C", bound=AnyChannel)


class SocketRefused(SshError, code="ssh_error"):
    """The machine's SSH server did not connect us to a Unix socket.

    `is_certain`: it does so for no path, whether something listens there or not. Else either is possible: OpenSSH 9.2
    answers OPEN_CONNECT_FAILED, "open failed", for a path that is not there, for one that nothing listens on, and for
    each path where forwarding is forbidden (`DisableForwarding`, `AllowStreamLocalForwarding`, `PermitOpen none`).
    asyncssh's server has that code for all three, too.
    """

    def __init__(self, message: str, is_certain: bool) -> None:
        super().__init__(message)
        self.is_certain = is_certain


@dataclass(frozen=True)
class Pty:
    """What a shell is started with: its terminal's size in cells, and its channel's first window in bytes."""

    cols: int
    rows: int
    window: int


class Connection:
    """One SSH connection and the channels on it: shells and commands, and those to Unix sockets."""

    def __init__(self, ssh: asyncssh.SSHClientConnection, open_timeout_s: float = OPEN_TIMEOUT_S) -> None:
        self.ssh = ssh
        self.is_full = False  # the server refuses further sessions on it, or does not answer
        self.is_silent = False  # the server did not answer the last time
        self._open_timeout_s = open_timeout_s
        self._has_opened = False
        self._opening = 0
        self._channels: list[Channel] = []
        self._sockets: list[SocketChannel] = []

    def has_room(self) -> bool:
        """Return whether to try another session on this connection; after a refusal only once one has closed."""
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
        return not self._opening and all(channel.is_closing() for channel in (*self._channels, *self._sockets))

    async def open(self, factory: Callable[[], Session], pty: Pty) -> Channel | None:
        """Start a shell on a PTY; return its channel, None if the server allows no more of them.

        Raises ProviderTimeout if nothing started on the channel in time; asyncssh.Error, OSError for other refusals.
        """
        return await self._open_session(
            factory,
            term_type="xterm-256color",
            term_size=(pty.cols, pty.rows),
            term_modes={asyncssh.PTY_IUTF8: 1},  # backspace erases a whole character (RFC 8160)
            env={"LANG": "C.UTF-8", "COLORTERM": "truecolor"},
            window=pty.window,
        )

    async def open_command(self, factory: Callable[[], Session], command: str, window: int) -> Channel | None:
        """Start a command without a PTY; return and raise as `open` does."""
        return await self._open_session(factory, command=command, window=window)

    async def open_socket(self, factory: Callable[[], SocketSession], path: str, window: int) -> SocketChannel | None:
        """Connect to a Unix socket of the machine: a channel of type direct-streamlocal@openssh.com.

        Returns None if the connection was lost meanwhile, or the server does not answer: try another one.

        Raises SocketRefused; ProviderTimeout as `open` does; asyncssh.Error, OSError for other refusals.
        """
        attempt = _Attempt(factory, asyncssh.SSHUNIXSession[bytes])
        create = self.ssh.create_unix_connection(attempt.session, path, encoding=None, window=window)
        try:
            return await self._open(attempt, create, self._socket_opened)
        except asyncssh.ChannelOpenError as error:
            if self.ssh.is_closed():
                return None
            is_certain = error.code in FORBIDDEN_CODES
            raise SocketRefused(f"the machine's SSH server did not open {path}: {error}", is_certain) from error

    def abort(self) -> None:
        """End the connection and with it all channels, without waiting for what is still to be sent."""
        self.ssh.abort()

    async def wait_closed(self) -> None:
        """Wait until the connection is closed."""
        await self.ssh.wait_closed()

    async def _open_session(self, factory: Callable[[], Session], **options: Any) -> Channel | None:
        attempt = _Attempt(factory, asyncssh.SSHClientSession[bytes])
        try:
            create = self.ssh.create_session(attempt.session, encoding=None, **options)
            return await self._open(attempt, create, self._session_opened)
        except asyncssh.ChannelOpenError as error:
            self._refused(error)
            return None

    async def _open(
        self, attempt: "_Attempt[S]", create: Coroutine[Any, Any, tuple[C, S]], opened: Callable[[C], None]
    ) -> C | None:
        """Wait for a channel; return None if none was opened in time, and abort one that comes later."""
        self._opening += 1
        opening = asyncio.ensure_future(create)
        opening.add_done_callback(lambda _: self._opened(opening, opened))
        try:
            async with asyncio.timeout(self._open_timeout_s):
                # shielded: asyncssh never closes a channel whose opening was cancelled
                channel, _ = await asyncio.shield(opening)
        except asyncio.CancelledError:
            _give_up(attempt, opening)
            raise
        except TimeoutError as error:
            self.is_full = self.is_silent = True
            _give_up(attempt, opening)
            if attempt.has_session:  # another attempt would give one session two channels
                raise ProviderTimeout(
                    f"the machine started nothing in {self._open_timeout_s:g} s; try again"
                ) from error
            return None
        return channel

    def _refused(self, error: asyncssh.ChannelOpenError) -> None:
        """Note that the connection is full; raise `error` where the refusal means something else."""
        if error.code not in LIMIT_CODES or not (self._has_opened or self._opening):
            if self.is_unused():
                self.ssh.abort()
            raise error
        self.is_full = True

    def _opened(self, opening: "asyncio.Future[tuple[C, Any]]", opened: Callable[[C], None]) -> None:
        self._opening -= 1
        if not opening.cancelled() and opening.exception() is None:
            self.is_silent = False
            opened(opening.result()[0])

    def _session_opened(self, channel: Channel) -> None:
        self._has_opened = True
        self._channels.append(channel)

    def _socket_opened(self, channel: SocketChannel) -> None:
        self._sockets = [known for known in self._sockets if not known.is_closing()]
        self._sockets.append(channel)


class _Attempt(Generic[S]):
    """One attempt to open a channel: it has a session if the channel comes in time, else one that does nothing."""

    def __init__(self, factory: Callable[[], S], make_idle: Callable[[], S]) -> None:
        self._factory = factory
        self._make_idle = make_idle
        self.is_late = self.has_session = False

    def session(self) -> S:
        """Make the session of the channel that was opened."""
        self.has_session = not self.is_late
        return self._make_idle() if self.is_late else self._factory()


def _give_up(attempt: "_Attempt[S]", opening: "asyncio.Future[tuple[C, S]]") -> None:
    """Close the channel that is being opened as soon as it is."""
    attempt.is_late = True
    opening.add_done_callback(_abort_late)


def _abort_late(opening: "asyncio.Future[tuple[C, Any]]") -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result()[0].abort()
