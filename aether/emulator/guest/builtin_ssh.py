"""The built-in SSH server of a machine: its connections, their keys and their sessions."""

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import asyncssh

from aether.emulator.guest.children import DRAIN_S, WAKE_AFTER_S, Children
from aether.emulator.guest.process_table import Process, below, end_of, hang_up, leaders, processes, wake
from aether.emulator.guest.shell import Shell
from aether.emulator.guest.streamlocal import BUFFER_BYTES, StreamLocal

log = logging.getLogger(__name__)

USER = "coder"
_DISCONNECT_S = 0.5


class BuiltinSshServer:
    """The connections of one machine and the sessions on them."""

    def __init__(self, root: Path, children: Children, environment: Mapping[str, str]) -> None:
        self.is_stopping = False
        self.connections: set[asyncssh.SSHServerConnection] = set()
        self._root = root
        self._children = children
        self._environment = environment
        self._sessions: set[Shell] = set()
        self._streams: set[StreamLocal] = set()
        self._acceptor: asyncssh.SSHAcceptor | None = None

    async def listen(self, listener: socket.socket) -> None:
        """Serve SSH on a bound socket."""
        asyncio.get_running_loop().set_default_executor(NoThread())
        self._acceptor = await asyncssh.listen(
            sock=listener,
            server_factory=lambda: SshConnection(self),
            server_host_keys=[host_key(self._root)],
            config=None,
            encoding=None,
            line_editor=False,
            gss_host=None,
            agent_forwarding=False,
            keepalive_interval=15,
            keepalive_count_max=3,
        )

    def open_session(self) -> Shell:
        """Create the session of a new channel."""
        session = Shell(self._children, self._environment, self._sessions.discard)
        self._sessions.add(session)
        return session

    def connect(self, path: str) -> StreamLocal:
        """Connect a new channel to a Unix socket; raises ChannelOpenError."""
        try:
            stream = StreamLocal(path, self._streams.discard)
        except (OSError, ValueError) as error:
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, f"{path}: {error}") from error
        self._streams.add(stream)
        return stream

    def authorized_keys(self) -> asyncssh.SSHAuthorizedKeys | None:
        """Read the keys that may log in; this is done for each login, so that an edit takes effect at once."""
        paths = [
            self._root / f"home/{USER}/.ssh/authorized_keys",
            self._root / f"etc/ssh/authorized_keys.d/{USER}",
        ]
        lines = [line for path in paths for line in _key_lines(path)]
        return asyncssh.import_authorized_keys("\n".join(lines)) if lines else None

    async def stop(self, grace_s: float) -> None:
        """Send SIGHUP to every shell, wait for all children, send the rest of their output, disconnect."""
        self.is_stopping = True
        if self._acceptor is not None:
            self._acceptor.close()
        for session in self._sessions:
            session.hang_up()
        kept = {end_of(shell.pid): shell for shell in _kept_shells()}
        for shell in kept.values():
            hang_up(shell)
        await self._wait(kept, min(WAKE_AFTER_S, grace_s))
        for session in self._sessions:
            session.signal_received("WINCH")
        for ending, shell in kept.items():
            if not ending.done():
                wake(shell)
        await self._wait(kept, max(grace_s - WAKE_AFTER_S, 0))
        closing = [session.closed for session in self._sessions if session.exit_code is not None]
        if any(ending.done() for ending in kept):  # their host sends the rest, and closes its connections
            closing += [stream.closed for stream in self._streams]
        if closing:
            await asyncio.wait(closing, timeout=DRAIN_S)
        for connection in self.connections:
            connection.disconnect(asyncssh.DISC_BY_APPLICATION, "the machine stops")
        if self.connections:
            waiters = [asyncio.ensure_future(c.wait_closed()) for c in self.connections]
            await asyncio.wait(waiters, timeout=_DISCONNECT_S)

    async def _wait(self, endings: Collection["asyncio.Future[None]"], timeout_s: float) -> None:
        """Wait for our children, and for other processes."""
        others = [asyncio.wait(endings, timeout=timeout_s)] if endings else []
        await asyncio.gather(self._children.wait(timeout_s), *others)


def _kept_shells() -> list[Process]:
    """Find the shells of this machine that are on no session of ours: those of a PTY host."""
    mine = below(processes(), os.getpid())
    return [shell for shell in leaders(mine) if shell.parent != os.getpid()]


def _key_lines(path: Path) -> Iterator[str]:
    """Read the lines that are keys; a file or line that cannot be read must not make the other keys useless."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError as error:
        log.info("no key is read from %s: %s", path, error)
        return
    for line in lines:
        try:
            asyncssh.import_authorized_keys(line)
        except ValueError as error:
            log.info("a line of %s is not a key: %s", path, error)
        else:
            yield line


class NoThread(ThreadPoolExecutor):
    """Runs at once what asyncssh would run in a thread (parsing options): a process that forks must have one thread."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call the function and return its outcome."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class SshConnection(asyncssh.SSHServer):
    """One connection: only `coder`, only with a public key; sessions, and channels to Unix sockets."""

    def __init__(self, server: BuiltinSshServer) -> None:
        self._server = server

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        """Register the connection."""
        self._connection = conn
        self._server.connections.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._server.connections.discard(self._connection)

    def begin_auth(self, username: str) -> bool:
        """Load the keys of `coder`; no other user has any."""
        keys = self._server.authorized_keys() if username == USER else None
        if keys is not None:
            self._connection.set_authorized_keys(keys)
        return True

    def session_requested(self) -> "Shell | bool":
        """Open a session unless the machine stops."""
        return False if self._server.is_stopping else self._server.open_session()

    def unix_connection_requested(self, dest_path: str) -> Any:
        """Reach a Unix socket, unless the machine stops; asyncssh forwards nothing that it is not told to."""
        if self._server.is_stopping:
            return False
        return self._connection.create_unix_channel(window=BUFFER_BYTES), self._connect(dest_path)

    async def _connect(self, path: str) -> StreamLocal:
        """Connect once the channel is about to be opened: a client may be gone by then."""
        if self._connection.is_closed():
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, "the connection is closed")
        return self._server.connect(path)


def host_key(root: Path) -> asyncssh.SSHKey:
    """Read the machine's host key, or create one, which lasts as long as its root filesystem."""
    path = root / "etc/ssh/ssh_host_ed25519_key"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        asyncssh.generate_private_key("ssh-ed25519").write_private_key(path)
    return asyncssh.read_private_key(path)
