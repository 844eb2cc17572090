"""The supervisor inside a machine; the emulator runs it as a child process, one a machine.

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
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from aether.emulator.children import Children
from aether.emulator.command import LINE_LIMIT, Command

_GRACE_S = 5.0  # fly.io docs, app configuration: kill_timeout


class SshServer(Protocol):
    """What lets people into the machine: `logins`, or OpenSSH's (`sshd`)."""

    async def listen(self, listener: socket.socket) -> None:
        """Answer SSH on a bound socket."""

    async def stop(self, grace_s: float) -> None:
        """Let nobody in any more, hang up every shell, give all children time, end the connections."""


class Guest:
    """The commands of one machine's API, and its SSH server."""

    def __init__(self, children: Children, environment: Mapping[str, str], ssh: SshServer) -> None:
        self._children = children
        self._environment = environment
        self._ssh = ssh
        self._commands: dict[int, Command] = {}

    async def obey(self, message: dict[str, Any], listener: socket.socket, tell: Callable[[Any], None]) -> None:
        """Do what one message says."""
        if "listen" in message:
            await self._ssh.listen(listener)
        elif "exec" in message:
            self._run(message["exec"], message["command"], message["stdin"], tell)
        elif message["kill"] in self._commands:
            self._commands[message["kill"]].kill()

    def _run(self, number: int, argv: list[str], stdin: str, tell: Callable[[Any], None]) -> None:
        """Run a command of the API and tell its outcome."""

        def done(outcome: dict[str, Any]) -> None:
            self._commands.pop(number)
            tell({"exec": number, **outcome})

        self._commands[number] = Command(self._children, done)
        self._commands[number].start(argv, stdin, self._environment)

    async def stop(self, grace_s: float) -> None:
        """End everything: in good order within the grace, else hard."""
        await self._ssh.stop(grace_s)
        self._children.kill_descendants()


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


def ssh_server(sshd: str | None, root: Path, children: Children, environment: Mapping[str, str]) -> SshServer:
    """Import and make the SSH server; asyncssh's import takes longer than all the rest of a boot with `sshd`."""
    if sshd is not None:
        from aether.emulator.sshd import Sshd  # noqa: PLC0415

        return Sshd(sshd, children, environment)
    from aether.emulator.logins import Logins  # noqa: PLC0415

    return Logins(root, children, environment)


async def serve(root: Path, listen_fd: int | None, sshd: str | None) -> None:
    """Do what the emulator says until it says stop or is gone, then stop the machine."""
    environment = login_environment(str(root / "home/coder"), json.loads(os.environ["AETHER_GUEST_ENV"]))
    if root != Path("/"):
        environment["TMPDIR"] = str(root / "tmp")
    children = Children()
    guest = Guest(children, environment, ssh_server(sshd, root, children, environment))
    listener = socket.socket(fileno=listen_fd) if listen_fd is not None else socket.create_server(("127.0.0.1", 0))
    reader, writer = await asyncio.open_unix_connection(sock=socket.socket(fileno=0), limit=LINE_LIMIT)
    grace_s = _GRACE_S

    def tell(message: Any) -> None:
        writer.write(json.dumps(message).encode() + b"\n")

    tell({"ready": True})
    while line := await _read(reader):
        message = json.loads(line)
        if "stop" in message:
            grace_s = message["stop"]
            break
        await guest.obey(message, listener, tell)
    await guest.stop(grace_s)


async def _read(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readline()
    except ConnectionError:
        return b""


def main() -> None:
    """Run the guest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--listen-fd", type=int)
    parser.add_argument("--sshd", help="program to let people in, instead of the built-in SSH server")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(asctime)s %(message)s")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.umask(0o022)
    asyncio.run(serve(arguments.root, arguments.listen_fd, arguments.sshd))


if __name__ == "__main__":
    main()
