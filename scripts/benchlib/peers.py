"""Other servers that bring a terminal to the browser, where they are installed, and the floor of them all."""

import importlib.util
import sys
import urllib.parse
from pathlib import Path

from benchlib.contenders import NotAvailable, ServerContender
from benchlib.processes import Server, clean_env, free_port
from benchlib.sshd import Sshd, write_shell


class ClientFloor(ServerContender):
    """The measuring client with aether's protocol, on a server that only answers: what no server can undercut."""

    note = "a server that only answers: what the measuring client itself takes"

    def __init__(self, folder: Path) -> None:
        super().__init__("client")
        self._folder = folder

    async def start(self) -> None:
        """Start the server."""
        port = free_port()
        env = clean_env(PYTHONPATH=str(Path(__file__).parents[1]))
        self.server = Server([sys.executable, "-m", "benchlib.floor_server", str(port)], self._folder, env)
        await self.server.start()
        await self.server.until_port(port)
        self.dial = {"kind": "aether", "url": f"ws://127.0.0.1:{port}/", "is_ack_refused": True}


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
