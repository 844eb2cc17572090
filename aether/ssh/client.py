"""Pinned, retried connection to a machine's SSH server, shared by all terminals of the machine."""

import asyncio
import logging
import time
from collections.abc import Callable

import asyncssh

from aether.errors import ProviderTimeout, SshError

log = logging.getLogger(__name__)

CONNECT_DEADLINE_S = 30.0
ATTEMPT_TIMEOUT_S = 10.0
KEEPALIVE_S = 15
KEEPALIVE_COUNT = 3
WINDOW_BYTES = 256 * 1024
CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com", "aes256-ctr")


class SshLink:
    """One SSH connection to one machine, opened when first needed and again after it was lost.

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
        self._connection: asyncssh.SSHClientConnection | None = None

    async def open_terminal(
        self, factory: Callable[[], asyncssh.SSHClientSession[bytes]], cols: int, rows: int
    ) -> asyncssh.SSHClientChannel[bytes]:
        """Open a shell on a PTY as one more channel of the connection.

        Raises:
            SshError: the machine refused us, or its host key is not the pinned one.
            ProviderTimeout: it did not answer in time.
        """
        connection = await self.connect()
        try:
            channel, _ = await connection.create_session(
                factory,
                term_type="xterm-256color",
                term_size=(cols, rows),
                term_modes={asyncssh.PTY_IUTF8: 1},  # backspace erases a whole character (RFC 8160)
                env={"LANG": "C.UTF-8", "COLORTERM": "truecolor"},
                encoding=None,
                window=WINDOW_BYTES,
            )
        except (asyncssh.Error, OSError) as error:
            raise SshError(f"the machine's SSH server refused a terminal: {error}; try again") from error
        return channel

    async def connect(self) -> asyncssh.SSHClientConnection:
        """Return the living connection, or make one; retry while the SSH server is not up yet."""
        async with self._lock:
            if self._connection is None or self._connection.is_closed():
                self._connection = await self._connect()
            return self._connection

    async def close(self) -> None:
        """End the connection and with it all its terminals."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()
            await connection.wait_closed()

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
        return await asyncio.wait_for(
            asyncssh.connect(
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
            ),
            ATTEMPT_TIMEOUT_S,
        )
