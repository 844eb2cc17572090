"""What is compared, each behind one small interface: start, open a terminal, whose memory and CPU count."""

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchlib.aether_terminal import AetherTerminal
from benchlib.processes import Server
from benchlib.sshd import Sshd, write_shell
from benchlib.terminal import INSIDE, Terminal
from benchlib.terminals import AsyncsshTerminal, PtyTerminal, TerminadoTerminal, WebsshTerminal


class NotAvailable(Exception):
    """A contender is not installed; says how to get it."""


class Contender:
    """One way to a shell.

    Attributes:
        name: as it is chosen and printed.
        note: what the reader of the figures should know.
        dial: what a process needs to open another terminal of a running contender, as JSON.
        inside: the command that starts the inside program in its terminals.
    """

    note = ""

    def __init__(self, name: str) -> None:
        self.name = name
        self.dial: dict[str, Any] = {}
        self.inside = f"{sys.executable} -SE {INSIDE}"

    async def start(self) -> None:
        """Start servers; raise NotAvailable."""

    async def stop(self) -> None:
        """End them."""

    async def open(self, acks: str = "on") -> Terminal:
        """Open a terminal, and wait for its first prompt."""
        terminal = await dial({**self.dial, "acks": acks})
        try:
            await terminal.until_any_prompt()
            await self.prepare(terminal)
        except BaseException:
            await terminal.close()
            raise
        return terminal

    async def restart(self) -> None:
        """End the server and start a new one, whose memory no earlier measurement has touched."""

    async def prepare(self, terminal: Terminal) -> None:
        """Make the shell the one that all have."""

    def pids(self, terminals: Sequence[Terminal]) -> list[int]:
        """Return the processes between the client and the machine."""
        return [terminal.pid for terminal in terminals if terminal.pid]


async def dial(how: dict[str, Any]) -> Terminal:
    """Open a terminal by a contender's `dial`."""
    match how["kind"]:
        case "program":
            return PtyTerminal(how["argv"])
        case "asyncssh":
            return await AsyncsshTerminal.open("127.0.0.1", how["port"], how["user"], how["key"])
        case "aether":
            acks = "off" if how["is_ack_refused"] else how["acks"]
            return await AetherTerminal.open(
                how["url"], acks, how.get("is_compressed", False), how.get("is_kept", False)
            )
        case "terminado":
            return await TerminadoTerminal.open(how["url"])
        case _:
            return await WebsshTerminal.open(how["url"], how["form"])


class LocalPty(Contender):
    """The floor: no network, no server."""

    def __init__(self, folder: Path) -> None:
        super().__init__("pty")
        self.dial = {"kind": "program", "argv": [str(write_shell(folder))]}

    def pids(self, terminals: Sequence[Terminal]) -> list[int]:
        """Nothing stands between."""
        return []


class OpenSsh(Contender):
    """The floor over SSH: OpenSSH's client in a PTY."""

    def __init__(self, sshd: Sshd) -> None:
        super().__init__("openssh")
        self._sshd = sshd

    async def start(self) -> None:
        """See that the client is there."""
        if shutil.which("ssh") is None:
            raise NotAvailable("ssh is not installed (Debian: apt-get install openssh-client)")
        self.dial = {"kind": "program", "argv": self._sshd.client()}


class Asyncssh(Contender):
    """asyncssh alone, in the measuring process: there is nothing it could be slowed down by."""

    note = "runs in the measuring process, whose memory and CPU are counted"

    def __init__(self, sshd: Sshd) -> None:
        super().__init__("asyncssh")
        self._sshd = sshd

    async def start(self) -> None:
        """Say where sshd is."""
        self.dial = {
            "kind": "asyncssh",
            "port": self._sshd.port,
            "user": self._sshd.user,
            "key": str(self._sshd.key),
        }

    def pids(self, terminals: Sequence[Terminal]) -> list[int]:
        """asyncssh runs here."""
        return [os.getpid()]


class ServerContender(Contender):
    """One whose server is a process of its own."""

    server: Server

    async def stop(self) -> None:
        """End the server."""
        if hasattr(self, "server"):
            await self.server.stop()

    async def restart(self) -> None:
        """End it, start a new one."""
        await self.stop()
        await self.start()

    def pids(self, terminals: Sequence[Terminal]) -> list[int]:
        """The server; not its machines, not its shells."""
        return [self.server.pid]
