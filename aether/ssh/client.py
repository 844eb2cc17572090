"""Pinned, retried connection to a machine's SSH server, shared by all terminals of the machine."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable

import asyncssh
from asyncssh.constants import MSG_IGNORE
from asyncssh.packet import SSHPacketLogger

from aether.errors import ProviderTimeout, SshError
from aether.ssh.carrier import Carrier

log = logging.getLogger(__name__)

CONNECT_DEADLINE_S = 30.0
ATTEMPT_TIMEOUT_S = 10.0
KEEPALIVE_S = 15
KEEPALIVE_COUNT = 3
READ_BYTES = 16 * 1024
CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com", "aes256-ctr")


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
        deadline = time.monotonic() + CONNECT_DEADLINE_S
        while True:
            carrier = await self.connect(deadline)
            try:
                channel = await carrier.open(factory, cols, rows)
            except (asyncssh.Error, OSError) as error:
                raise SshError(f"the machine's SSH server refused a terminal: {error}; try again") from error
            if channel is not None:
                return channel

    async def connect(self, deadline: float | None = None) -> Carrier:
        """Return a living connection with room, or make one; retry while the SSH server is not up yet.

        Args:
            deadline: by time.monotonic(); many that wait for each other all give up at their own.
        """
        deadline = time.monotonic() + CONNECT_DEADLINE_S if deadline is None else deadline
        async with self._lock:
            for carrier in self._carriers[1:]:
                if carrier.is_empty():
                    carrier.connection.abort()
            self._carriers = [carrier for carrier in self._carriers if not carrier.connection.is_closed()]
            for carrier in self._carriers:
                if carrier.has_room():
                    return carrier
            self._carriers.append(Carrier(await self._connect(deadline)))
            return self._carriers[-1]

    async def close(self) -> None:
        """End the connections and with them all terminals."""
        carriers, self._carriers = self._carriers, []
        for carrier in carriers:
            carrier.connection.abort()
        for carrier in carriers:
            await carrier.connection.wait_closed()

    async def _connect(self, deadline: float) -> asyncssh.SSHClientConnection:
        pause_s, reason = 0.02, "others waited for it, too"
        while time.monotonic() + pause_s < deadline:
            try:
                return await self._attempt(min(ATTEMPT_TIMEOUT_S, deadline - time.monotonic()))
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
                reason = str(error)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 1.5, 1.0)
        text = f"the machine's SSH server did not answer in {CONNECT_DEADLINE_S:.0f} s ({reason}); try again"
        raise ProviderTimeout(text)

    async def _attempt(self, timeout_s: float) -> asyncssh.SSHClientConnection:
        host, port = self._address()
        async with asyncio.timeout(timeout_s):  # wait_for of Python 3.11 may lose the connection at a cancel
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
        # asyncssh copies what it has not parsed yet for each packet: asyncio's 256 KiB a read cost a fifth of a flood,
        # and 64 KiB as much again; 8 KiB are too many reads. An echo beside a flood waits for a read's worth, too.
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
