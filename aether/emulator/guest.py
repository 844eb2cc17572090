"""The SSH server inside a machine; the emulator runs it as a child process, one a machine.

Its standard input is a socket on which the emulator tells it what to do (`process`); it ends when that does.
"""

import argparse
import asyncio
import json
import logging
import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import asyncssh

from aether.emulator.children import Children
from aether.emulator.command import LINE_LIMIT, Command
from aether.emulator.shell import Shell

log = logging.getLogger(__name__)

USER = "coder"
_GRACE_S = 5.0  # fly.io docs, app configuration: kill_timeout
_GOODBYE_S = 0.5


class Guest:
    """The shells of one machine and the connections they belong to."""

    def __init__(self, root: Path, environment: Mapping[str, str]) -> None:
        self.root = root
        self.is_stopping = False
        self.connections: set[asyncssh.SSHServerConnection] = set()
        self._children = Children()
        self._environment = environment
        self._shells: set[Shell] = set()
        self._commands: dict[int, Command] = {}

    def run(self, number: int, argv: list[str], stdin: str, tell: Callable[[dict[str, Any]], None]) -> None:
        """Run a command of the API and tell its outcome."""

        def done(outcome: dict[str, Any]) -> None:
            self._commands.pop(number)
            tell({"exec": number, **outcome})

        self._commands[number] = Command(self._children, done)
        self._commands[number].start(argv, stdin, self._environment)

    def kill(self, number: int) -> None:
        """Kill a command of the API, if it still runs."""
        if number in self._commands:
            self._commands[number].kill()

    def open_shell(self) -> Shell:
        """Make the session for a new channel."""
        shell = Shell(self._children, self._environment, self._shells.discard)
        self._shells.add(shell)
        return shell

    def authorized_keys(self) -> asyncssh.SSHAuthorizedKeys | None:
        """Read the keys that may log in, anew for each login, so that an edit counts at once."""
        paths = [
            self.root / f"home/{USER}/.ssh/authorized_keys",
            self.root / f"etc/ssh/authorized_keys.d/{USER}",
        ]
        lines = [line for path in paths for line in _key_lines(path)]
        return asyncssh.import_authorized_keys("\n".join(lines)) if lines else None

    async def stop(self, grace_s: float) -> None:
        """Hang up every shell, give them time, then kill whatever is left."""
        self.is_stopping = True
        for shell in self._shells:
            shell.hang_up()
        await self._children.wait(grace_s)
        for connection in self.connections:
            connection.disconnect(asyncssh.DISC_BY_APPLICATION, "the machine stops")
        if self.connections:
            waiters = [asyncio.ensure_future(c.wait_closed()) for c in self.connections]
            await asyncio.wait(waiters, timeout=_GOODBYE_S)
        self._children.kill_descendants()


def _key_lines(path: Path) -> Iterator[str]:
    """Read the lines that are keys; what the machine's user has made unreadable must not lock others out."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError as error:
        log.info("no key is taken from %s: %s", path, error)
        return
    for line in lines:
        try:
            asyncssh.import_authorized_keys(line)
        except ValueError as error:
            log.info("a line of %s is no key: %s", path, error)
        else:
            yield line


class NoThread(ThreadPoolExecutor):
    """Runs at once what asyncssh would do in a thread (parse options): a process that forks must have one thread."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call the function and answer its outcome."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class Login(asyncssh.SSHServer):
    """One connection: only `coder`, only with a public key."""

    def __init__(self, guest: Guest) -> None:
        self._guest = guest

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        """Count the connection."""
        self._connection = conn
        self._guest.connections.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._guest.connections.discard(self._connection)

    def begin_auth(self, username: str) -> bool:
        """Load the keys of `coder`; nobody else has any."""
        keys = self._guest.authorized_keys() if username == USER else None
        if keys is not None:
            self._connection.set_authorized_keys(keys)
        return True

    def session_requested(self) -> "Shell | bool":
        """Open a shell unless the machine stops."""
        return False if self._guest.is_stopping else self._guest.open_shell()


def host_key(root: Path) -> asyncssh.SSHKey:
    """Read the machine's host key, or make one that lasts as long as its root filesystem."""
    path = root / "etc/ssh/ssh_host_ed25519_key"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        asyncssh.generate_private_key("ssh-ed25519").write_private_key(path)
    return asyncssh.read_private_key(path)


def login_environment(home: str, machine: Mapping[str, str]) -> dict[str, str]:
    """Build the environment a login starts with: nothing of the server's own."""
    shell = shutil.which("bash", path="/bin:/usr/bin:/usr/local/bin") or "/bin/sh"
    return {
        **machine,
        "HOME": home,
        "USER": "coder",
        "LOGNAME": "coder",
        "SHELL": shell,
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "en_US.UTF-8" if sys.platform == "darwin" else "C.UTF-8",
    }


async def serve(root: Path, listen_fd: int | None) -> None:
    """Do what the emulator says until it says stop or is gone, then stop the machine."""
    environment = login_environment(str(root / f"home/{USER}"), json.loads(os.environ["AETHER_GUEST_ENV"]))
    if root != Path("/"):
        environment["TMPDIR"] = str(root / "tmp")
    guest = Guest(root, environment)
    listener = socket.socket(fileno=listen_fd) if listen_fd is not None else socket.create_server(("127.0.0.1", 0))
    reader, writer = await asyncio.open_unix_connection(sock=socket.socket(fileno=0), limit=LINE_LIMIT)
    server, grace_s = None, _GRACE_S

    def tell(message: dict[str, Any]) -> None:
        writer.write(json.dumps(message).encode() + b"\n")

    while line := await _read(reader):
        message = json.loads(line)
        if "stop" in message:
            grace_s = message["stop"]
            break
        if "listen" in message:
            server = await _listen(guest, listener)
        elif "exec" in message:
            guest.run(message["exec"], message["command"], message["stdin"], tell)
        else:
            guest.kill(message["kill"])
    if server is not None:
        server.close()
    await guest.stop(grace_s)


async def _read(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readline()
    except ConnectionError:
        return b""


async def _listen(guest: Guest, listener: socket.socket) -> asyncssh.SSHAcceptor:
    asyncio.get_running_loop().set_default_executor(NoThread())
    return await asyncssh.listen(
        sock=listener,
        server_factory=lambda: Login(guest),
        server_host_keys=[host_key(guest.root)],
        config=None,
        encoding=None,
        line_editor=False,
        gss_host=None,
        agent_forwarding=False,
        keepalive_interval=15,
        keepalive_count_max=3,
    )


def main() -> None:
    """Run the guest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--listen-fd", type=int)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(asctime)s %(message)s")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.umask(0o022)
    asyncio.run(serve(arguments.root, arguments.listen_fd))


if __name__ == "__main__":
    main()
