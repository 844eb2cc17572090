"""The supervisor: the first process of a machine, which the emulator starts and controls.

Its standard input is the control socket (see `runtimes.supervisor_process`); it ends when that is closed.
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
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from aether.emulator.guest.children import Children
from aether.emulator.guest.command import LINE_LIMIT, Command

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_GRACE_S = 5.0  # fly.io docs, app configuration: kill_timeout


class SshServer(Protocol):
    """The SSH server of a machine: the built-in one or OpenSSH's."""

    async def listen(self, listener: socket.socket) -> None:
        """Serve SSH on a bound socket."""

    async def stop(self, grace_s: float) -> None:
        """Stop accepting, send SIGHUP to every shell, wait for all children, end the connections."""


class Supervisor:
    """Executes the commands of the API, and starts and stops the SSH server."""

    def __init__(self, children: Children, environment: Mapping[str, str], ssh: SshServer) -> None:
        self._children = children
        self._environment = environment
        self._ssh = ssh
        self._commands: dict[int, Command] = {}

    async def handle(self, message: dict[str, Any], listener: socket.socket, send: Callable[[Any], None]) -> None:
        """Do what one message of the emulator asks for."""
        if "listen" in message:
            await self._ssh.listen(listener)
        elif "exec" in message:
            self._run(message["exec"], message["command"], message["stdin"], send)
        elif message["kill"] in self._commands:
            self._commands[message["kill"]].kill()

    def _run(self, number: int, argv: list[str], stdin: str, send: Callable[[Any], None]) -> None:
        """Run a command of the API and send its outcome."""

        def done(outcome: dict[str, Any]) -> None:
            self._commands.pop(number)
            send({"exec": number, **outcome})

        self._commands[number] = Command(self._children, done)
        self._commands[number].start(argv, stdin, self._environment)

    async def stop(self, grace_s: float) -> None:
        """End everything: by SIGHUP within the grace period, then by SIGKILL."""
        await self._ssh.stop(grace_s)
        self._children.kill_descendants()


def login_environment(
    home: str, machine: Mapping[str, str], which: Callable[..., str | None] = shutil.which
) -> dict[str, str]:
    """Build the environment of a login; it has none of the server's own variables.

    A computer may have no Python but ours, and the PTY host needs one: then ours is the last on the PATH.
    """
    shell = shutil.which("bash", path="/bin:/usr/bin:/usr/local/bin") or "/bin/sh"
    return {
        **machine,
        "HOME": home,
        "USER": "coder",
        "LOGNAME": "coder",
        "SHELL": shell,
        "PATH": _PATH if which("python3", path=_PATH) else f"{_PATH}:{sys.base_prefix}/bin",
        "LANG": "en_US.UTF-8" if sys.platform == "darwin" else "C.UTF-8",
    }


def ssh_server(sshd: str | None, root: Path, children: Children, environment: Mapping[str, str]) -> SshServer:
    """Create the SSH server; without asyncssh, whose import takes longer than the rest of a boot, where it is sshd."""
    if sshd is not None:
        from aether.emulator.guest.openssh import OpenSshServer  # noqa: PLC0415

        return OpenSshServer(sshd, children, environment)
    from aether.emulator.guest.builtin_ssh import BuiltinSshServer  # noqa: PLC0415

    return BuiltinSshServer(root, children, environment)


async def serve(root: Path, listen_fd: int | None, sshd: str | None) -> None:
    """Handle the emulator's messages until it says stop or closes the socket, then stop the machine."""
    environment = login_environment(str(root / "home/coder"), json.loads(os.environ["AETHER_GUEST_ENV"]))
    if root != Path("/"):
        environment["TMPDIR"] = str(root / "tmp")
    children = Children()
    supervisor = Supervisor(children, environment, ssh_server(sshd, root, children, environment))
    listener = socket.socket(fileno=listen_fd) if listen_fd is not None else socket.create_server(("127.0.0.1", 0))
    reader, writer = await asyncio.open_unix_connection(sock=socket.socket(fileno=0), limit=LINE_LIMIT)
    grace_s = _GRACE_S

    def send(message: Any) -> None:
        writer.write(json.dumps(message).encode() + b"\n")

    send({"ready": True})
    while line := await _read(reader):
        message = json.loads(line)
        if "stop" in message:
            grace_s = message["stop"]
            break
        await supervisor.handle(message, listener, send)
    await supervisor.stop(grace_s)


async def _read(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readline()
    except ConnectionError:
        return b""


def main() -> None:
    """Run the supervisor."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--listen-fd", type=int)
    parser.add_argument("--sshd", help="OpenSSH's server, to be used instead of the built-in one")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(asctime)s %(message)s")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.umask(0o022)
    asyncio.run(serve(arguments.root, arguments.listen_fd, arguments.sshd))


if __name__ == "__main__":
    main()
