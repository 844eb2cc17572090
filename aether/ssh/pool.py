"""ConnectionPool: the SSH connections to one machine, pinned, retried, and shared by all its terminals."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import asyncssh

from aether.errors import ProviderTimeout, SshError
from aether.ssh import internals
from aether.ssh.command import WINDOW_BYTES, CommandSession, Completed
from aether.ssh.connection import C, Channel, Connection, Pty, Session, SocketChannel, SocketSession

CONNECT_DEADLINE_S = 30.0
ATTEMPT_TIMEOUT_S = 10.0
CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com", "aes256-ctr")


@dataclass(frozen=True)
class Keepalive:
    """How a dead connection is noticed: a request every `interval_s`, closed after `count` without an answer."""

    interval_s: float = 15
    count: int = 3


class ConnectionPool:
    """The SSH connections to one machine, opened when first needed and again after they were lost.

    All terminals of a machine are channels of one connection; where the machine's server allows no more of them
    (OpenSSH's `MaxSessions`, 10 unless it is set), there is a further connection.

    Args:
        address: returns host and port; asked anew for each attempt, as they may change when the machine starts.
        user: whom to log in as.
        user_key: the private key to log in with.
        host_public_key: the only key the machine may show, in OpenSSH's text form.
        keepalive, deadline_s, attempt_timeout_s: how long to wait, for what.
        clock: seconds on a steady clock.
    """

    def __init__(
        self,
        address: Callable[[], tuple[str, int]],
        user: str,
        user_key: asyncssh.SSHKey,
        host_public_key: str,
        keepalive: Keepalive = Keepalive(),
        deadline_s: float = CONNECT_DEADLINE_S,
        attempt_timeout_s: float = ATTEMPT_TIMEOUT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._address = address
        self._user = user
        self._user_key = user_key
        self._host_key = asyncssh.import_public_key(host_public_key)
        self._keepalive = keepalive
        self._deadline_s = deadline_s
        self._attempt_timeout_s = attempt_timeout_s
        self._clock = clock
        self._lock = asyncio.Lock()
        self._closes = 0
        self.connections: list[Connection] = []

    async def open_shell(self, factory: Callable[[], Session], pty: Pty) -> Channel:
        """Start a shell on a PTY, as one more channel of a connection.

        Raises:
            SshError: the machine refused us, or its host key is not the pinned one.
            ProviderTimeout: it did not answer in time.
        """
        return await self._open("a terminal", lambda connection: connection.open(factory, pty))

    async def open_command(self, factory: Callable[[], Session], command: str, window: int) -> Channel:
        """Start a command without a PTY, as one more channel of a connection; raises as `open_shell` does.

        Args:
            window: how many bytes it may send at first.
        """
        return await self._open("a command", lambda connection: connection.open_command(factory, command, window))

    async def open_socket(self, factory: Callable[[], SocketSession], path: str, window: int) -> SocketChannel:
        """Connect to a Unix socket of the machine, as one more channel of a connection.

        The first living connection will do: these channels are not limited as terminals and commands are.

        Raises:
            SocketRefused: nothing listens there, or forwarding is forbidden; mostly the two look alike, see there.
            SshError, ProviderTimeout: as `open_shell` does.
        """
        return await self._open(path, lambda connection: connection.open_socket(factory, path, window), False)

    async def run(self, command: str, data: bytes = b"", timeout_s: float = 15.0) -> Completed:
        """Run a command with `data` as its standard input, and wait for its end.

        Args:
            timeout_s: how long it may take once it has been started; then its channel is closed.

        Raises:
            SshError: as `open_shell` does; or the connection was lost meanwhile, or the command said more than 1 MiB.
            ProviderTimeout: the machine did not answer, or the command did not end in time.
        """
        session = CommandSession()
        try:
            channel = await self.open_command(lambda: session, command, WINDOW_BYTES)
            channel.write(data)
            channel.write_eof()
            async with asyncio.timeout(timeout_s):
                return await session.completed
        except TimeoutError as error:
            raise ProviderTimeout(f"a command in the machine did not end in {timeout_s:g} s; try again") from error
        finally:
            session.close()

    async def _open(
        self, what: str, attempt: Callable[[Connection], Awaitable[C | None]], needs_room: bool = True
    ) -> C:
        deadline = self._clock() + self._deadline_s
        while True:
            connection = await self.connect(deadline, needs_room)
            try:
                channel = await attempt(connection)
            except (asyncssh.Error, OSError) as error:
                raise SshError(f"the machine's SSH server refused {what}: {error}; try again") from error
            if channel is not None:
                return channel

    async def connect(self, deadline: float | None = None, needs_room: bool = True) -> Connection:
        """Return a living connection, or make one; retry while the SSH server is not up yet.

        Args:
            deadline: by `clock`; callers that wait for each other each give up at their own.
            needs_room: whether it has to have room for a session, as a terminal or a command is, too.
        """
        deadline = self._clock() + self._deadline_s if deadline is None else deadline
        async with self._lock:
            for connection in self.connections[1:]:
                if connection.is_unused():
                    connection.abort()
            self.connections = [known for known in self.connections if not known.is_closed()]
            for connection in self.connections:
                if connection.has_room() if needs_room else not connection.is_silent:
                    return connection
            connection = Connection(await self._connect(deadline))
            self.connections.append(connection)  # after the wait, as `close` makes the list anew
            return connection

    def is_connected(self) -> bool:
        """Return whether there is a living connection."""
        return any(not connection.is_closed() for connection in self.connections)

    async def close(self) -> None:
        """End the connections and with them all channels."""
        self._closes += 1
        connections, self.connections = self.connections, []
        for connection in connections:
            connection.abort()
        for connection in connections:
            await connection.wait_closed()

    async def _connect(self, deadline: float) -> asyncssh.SSHClientConnection:
        pause_s, reason = 0.02, "other terminals were connecting at the same time"
        closes = self._closes
        while self._clock() + pause_s < deadline:
            if closes != self._closes:
                raise SshError("the connections to the machine were ended; try again")
            try:
                return await self._attempt(min(self._attempt_timeout_s, deadline - self._clock()))
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
        text = f"the machine's SSH server did not answer in {self._deadline_s:g} s ({reason}); try again"
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
                keepalive_interval=self._keepalive.interval_s,
                keepalive_count_max=self._keepalive.count,
            )
        internals.tune(connection)
        return connection
