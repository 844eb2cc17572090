"""What is compared, each behind one small interface: start, open a terminal, whose memory and CPU count."""

import importlib.util
import json
import os
import shutil
import sys
import urllib.parse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tornado.httpclient import AsyncHTTPClient

from benchlib.processes import Server, clean_env, free_port
from benchlib.sshd import Sshd, write_shell
from benchlib.terminal import INSIDE, Terminal
from benchlib.terminals import AetherTerminal, AsyncsshTerminal, PtyTerminal, TerminadoTerminal, WebsshTerminal

REPOSITORY = Path(__file__).resolve().parents[2]


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
            return await AetherTerminal.open(how["url"], "off" if how["is_ack_refused"] else how["acks"])
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

    def pids(self, terminals: Sequence[Terminal]) -> list[int]:
        """The server; not its machines, not its shells."""
        return [self.server.pid]


class Aether(ServerContender):
    """`python server.py` with local machines.

    Args:
        name: `aether`, or `aether@PATH` for the server.py of another checkout.
        folder: for its state.
        runtime: the emulator's runtime.
        has_acks: whether its client acknowledges what it has drawn.
    """

    def __init__(self, name: str, folder: Path, runtime: str, has_acks: bool) -> None:
        super().__init__(name)
        self._folder = folder
        self._runtime = runtime
        self._has_acks = has_acks
        self._http = AsyncHTTPClient(force_instance=True, max_clients=50)
        self._machine_id = ""

    async def start(self) -> None:
        """Start the server and a machine; find out whether it knows acks."""
        await self.start_server()
        self.dial = await self.new_machine()
        terminal = await self.open()
        try:
            assert isinstance(terminal, AetherTerminal)
            self.dial["is_ack_refused"] = terminal.is_ack_refused or not self._has_acks
            refused = "the server does not know acks; measured without"
            chosen = "with acks" if self._has_acks else "measured without acks, as asked for"
            self.note += f"; {refused if terminal.is_ack_refused else chosen}"
            self.inside = "python3 -SE " + await terminal.install_inside("$HOME")
        finally:
            await terminal.close()

    async def start_server(self) -> None:
        """Start the server alone."""
        _, _, path = self.name.partition("@")
        program = Path(path) if path else REPOSITORY / "server.py"
        env = clean_env(
            AETHER_EMULATOR_RUNTIME=self._runtime, AETHER_MAX_SESSIONS="5000", PYTHONPATH=str(program.parent)
        )
        argv = [sys.executable, str(program), "--port=0", f"--state-dir={self._folder / 'state'}"]
        self.server = Server(argv, self._folder, env)
        await self.server.start()
        line = await self.server.until_line("aether: open ")
        self.url = line.partition("open ")[2].partition("/ ")[0]
        self.about = line.partition(" — ")[2].strip()
        self.note = f"runtime {self._runtime} asked for; the server says: {self.about}"

    async def new_machine(self) -> dict[str, Any]:
        """Create a machine, wait until it runs; return how to dial it."""
        answer = await self._http.fetch(f"{self.url}/machines", method="POST", body="", request_timeout=60)
        machine = json.loads(answer.body)
        url = f"{self.url.replace('http', 'ws', 1)}/machines/{machine['id']}/terminal"
        return {"kind": "aether", "url": url, "is_ack_refused": not self._has_acks}

    async def prepare(self, terminal: Terminal) -> None:
        """Replace the machine's shell by the one that all have."""
        await terminal.prepare()

    async def stop(self) -> None:
        """End the server and with it its machines."""
        self._http.close()
        await super().stop()


class Terminado(ServerContender):
    """terminado, as its documentation shows it."""

    def __init__(self, folder: Path) -> None:
        super().__init__("terminado")
        self._folder = folder

    async def start(self) -> None:
        """Start the server."""
        require("terminado")
        port = free_port()
        program = Path(__file__).with_name("terminado_server.py")
        argv = [sys.executable, str(program), str(port), str(write_shell(self._folder))]
        self.server = Server(argv, self._folder, clean_env())
        await self.server.start()
        await self.server.until_port(port)
        self.dial = {"kind": "terminado", "url": f"ws://127.0.0.1:{port}/websocket"}


class Webssh(ServerContender):
    """webssh, on the same sshd as OpenSSH's client."""

    def __init__(self, folder: Path, sshd: Sshd) -> None:
        super().__init__("webssh")
        self._folder = folder
        self._sshd = sshd

    async def start(self) -> None:
        """Start the server."""
        require("webssh")
        port = free_port()
        known = self._folder / "known_hosts"
        known.touch()
        flags = ["--address=127.0.0.1", f"--port={port}", "--xsrf=False", "--policy=autoadd", "--maxconn=5000"]
        flags += [f"--hostfile={known}", f"--syshostfile={known}", "--timeout=20", "--delay=20"]
        code = "from webssh.main import main; main()"
        self.server = Server([sys.executable, "-c", code, *flags], self._folder, clean_env())
        await self.server.start()
        await self.server.until_port(port)
        form = {"hostname": "127.0.0.1", "port": self._sshd.port, "username": self._sshd.user, "password": ""}
        form["privatekey"] = self._sshd.key.read_text()
        self.dial = {"kind": "webssh", "url": f"http://127.0.0.1:{port}/", "form": urllib.parse.urlencode(form)}


def require(module: str) -> None:
    """Raise NotAvailable unless a peer is installed."""
    if importlib.util.find_spec(module) is None:
        raise NotAvailable(f"not installed: pip install {module}")
