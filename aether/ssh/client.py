"""Pinned, retried connection to a machine's SSH server, shared by all terminals of the machine."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any

import asyncssh
from asyncssh.constants import MSG_IGNORE
from asyncssh.packet import SSHPacketLogger

from aether.errors import ProviderTimeout, SshError
from aether.flow import START_WINDOW_BYTES

log = logging.getLogger(__name__)

CONNECT_DEADLINE_S = 30.0
ATTEMPT_TIMEOUT_S = 10.0
OPEN_TIMEOUT_S = 15.0
KEEPALIVE_S = 15
KEEPALIVE_COUNT = 3
LIMIT_CODES = frozenset(
    {asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, asyncssh.OPEN_CONNECT_FAILED, asyncssh.OPEN_RESOURCE_SHORTAGE}
)
READ_BYTES = 64 * 1024
CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com", "aes256-ctr")


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
        opening = asyncio.ensure_future(
            self.connection.create_session(
                factory,
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
        except TimeoutError:
            self.is_full = True
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


class SshLink:
    """The SSH connection to one machine, opened when first needed and again after it was lost.

    All terminals of a machine are channels of one connection; where the machine's server allows no more of them
    (OpenSSH's `MaxSessions`, 10 unless it is set), there is a further connection.

    Args:
        address: returns host and port; asked anew for each attempt, as they may change when the machine starts.
        user: whom to log in as.
        user_key: what opens the machine.
        host_public_key: the only key the machine may show, in OpenSSH's text form.
    """

    def __init__(
        self,
        address: Callable[[], tuple[str, int]],
        user: str,
        user_key: asyncssh.SSHKey,
        host_public_key: str,
    ) -> None:
        self._address = address
        self._user = user
        self._user_key = user_key
        self._host_key = asyncssh.import_public_key(host_public_key)
        self._lock = asyncio.Lock()
        self._carriers: list[Carrier] = []

    async def open_terminal(
        self, factory: Callable[[], asyncssh.SSHClientSession[bytes]], cols: int, rows: int
    ) -> asyncssh.SSHClientChannel[bytes]:
        """Open a shell on a PTY as one more channel of the connection.

        Raises:
            SshError: the machine refused us, or its host key is not the pinned one.
            ProviderTimeout: it did not answer in time.
        """
        while True:
            carrier = await self.connect()
            try:
                channel = await carrier.open(factory, cols, rows)
            except (asyncssh.Error, OSError) as error:
                raise SshError(f"the machine's SSH server refused a terminal: {error}; try again") from error
            if channel is not None:
                return channel

    async def connect(self) -> Carrier:
        """Return a living connection with room, or make one; retry while the SSH server is not up yet."""
        async with self._lock:
            for carrier in self._carriers[1:]:
                if carrier.is_empty():
                    carrier.connection.abort()
            self._carriers = [carrier for carrier in self._carriers if not carrier.connection.is_closed()]
            for carrier in self._carriers:
                if carrier.has_room():
                    return carrier
            self._carriers.append(Carrier(await self._connect()))
            return self._carriers[-1]

    async def close(self) -> None:
        """End the connections and with them all terminals."""
        carriers, self._carriers = self._carriers, []
        for carrier in carriers:
            carrier.connection.abort()
        for carrier in carriers:
            await carrier.connection.wait_closed()

    async def _connect(self) -> asyncssh.SSHClientConnection:
        deadline = time.monotonic() + CONNECT_DEADLINE_S
        pause_s = 0.02
        while True:
            try:
                return await self._attempt()
            except asyncssh.HostKeyNotVerifiable as error:
                raise SshError(
                    "another SSH host key than the machine's answered, so nothing was sent; try again, and if it stays "
                    "so, do not trust this machine"
                ) from error
            except asyncssh.PermissionDenied as error:
                raise SshError(
                    f"the machine refuses our SSH key for user {self._user}; was it made with another key?"
                ) from error
            except (asyncssh.Error, OSError, TimeoutError) as error:
                if time.monotonic() + pause_s > deadline:
                    raise ProviderTimeout(
                        f"the machine's SSH server did not answer in {CONNECT_DEADLINE_S:.0f} s ({error}); try again"
                    ) from error
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 1.5, 1.0)

    async def _attempt(self) -> asyncssh.SSHClientConnection:
        host, port = self._address()
        async with asyncio.timeout(ATTEMPT_TIMEOUT_S):  # wait_for of Python 3.11 may lose the connection at a cancel
            connection = await asyncssh.connect(
                host,
                port,
                username=self._user,
                client_keys=[self._user_key],
                known_hosts=([self._host_key], [], []),
                config=None,
                agent_path=None,
                gss_host=None,
                password=None,
                preferred_auth="publickey",
                encryption_algs=CIPHERS,
                compression_algs=None,
                keepalive_interval=KEEPALIVE_S,
                keepalive_count_max=KEEPALIVE_COUNT,
            )
        _send_no_ignored_packets(connection)
        _keep_timer(connection)
        # asyncssh copies what it has not parsed yet for each packet: asyncio's 256 KiB at once cost a fifth of a flood
        with contextlib.suppress(AttributeError):  # another event loop than asyncio's
            setattr(connection._transport, "max_size", READ_BYTES)  # noqa: B010 - in no type
        return connection


def _send_no_ignored_packets(connection: asyncssh.SSHClientConnection) -> None:
    """Send each key as one packet.

    asyncssh puts an empty MSG_IGNORE before each, which protects ciphers in CBC mode (RFC 4253, section 9.3.1). We use
    none, and it doubles what both ends do for a key: a write, a wake-up, an encryption.
    """
    send_packet = connection.send_packet

    def send(pkttype: int, *args: bytes, handler: SSHPacketLogger | None = None) -> None:
        if pkttype != MSG_IGNORE:
            send_packet(pkttype, *args, handler=handler)

    connection.send_packet = send  # type: ignore[method-assign]


def _keep_timer(connection: asyncssh.SSHClientConnection) -> None:
    """Ask for a sign of life every KEEPALIVE_S, busy or not; every packet is one.

    asyncssh puts the question off with each packet it gets: a timer cancelled and another made for each echo.
    """

    def note_alive() -> None:
        connection._keepalive_count = 0

    connection._reset_keepalive_timer = note_alive  # type: ignore[method-assign]
