"""The contenders aether and plain: `python server.py` in a process of its own, its machines on an emulated provider."""

import json
import sys
from pathlib import Path
from typing import Any

import psutil
from tornado.httpclient import AsyncHTTPClient

from benchlib.aether_terminal import AetherTerminal
from benchlib.contenders import ServerContender
from benchlib.processes import Server, clean_env
from benchlib.terminal import Terminal
from benchlib.websocket import WebSocketRefused

REPOSITORY = Path(__file__).resolve().parents[2]


class Aether(ServerContender):
    """`python server.py` with local machines.

    Args:
        name: `aether`, `plain` for terminals that are no sessions, `aether+deflate` with compression, or `aether@PATH`
            for the server.py of another checkout.
        folder: for its state.
        runtime: the emulator's runtime.
        has_acks: whether its client acknowledges what it has drawn.
    """

    def __init__(self, name: str, folder: Path, runtime: str, has_acks: bool) -> None:
        super().__init__(name)
        self._folder = folder
        self._runtime = runtime
        self._has_acks = has_acks
        self._is_compressed = "+deflate" in name
        self._is_kept = name != "plain"
        self.port = 0
        self.settings = {"AETHER_EMULATOR_RUNTIME": runtime}

    async def start(self) -> None:
        """Start the server and a machine; find out whether it knows acks."""
        await self.start_server()
        self.dial = await self.new_machine()
        terminal = await self.open_first()
        try:
            self._is_kept = self.dial["is_kept"] = terminal.is_kept
            self.note += "; sessions" if terminal.is_kept else "; no sessions"
            self.dial["is_ack_refused"] = terminal.is_ack_refused or not self._has_acks
            refused = "the server does not know acks; measured without"
            chosen = "with acks" if self._has_acks else "measured without acks, as asked for"
            self.note += f"; {refused if terminal.is_ack_refused else chosen}"
            self.note += f"; machines answer with {self.ssh_server()}"
            self.inside = "python3 -SE " + await terminal.install_inside("$HOME")
        finally:
            await terminal.close()

    async def open_first(self) -> AetherTerminal:
        """Open a terminal; plain where the server knows no sessions yet."""
        try:
            terminal = await self.open()
        except WebSocketRefused:
            self.dial["is_kept"] = False
            terminal = await self.open()
        assert isinstance(terminal, AetherTerminal)
        return terminal

    def ssh_server(self) -> str:
        """Look at what runs in the machines."""
        family = psutil.Process(self.server.pid).children(recursive=True)
        is_openssh = any(process.name().startswith("sshd") for process in family)
        return "OpenSSH's sshd" if is_openssh else "the emulator's own SSH server, NOT a real sshd: not to be compared"

    async def start_server(self) -> None:
        """Start the server alone."""
        self._http = AsyncHTTPClient(force_instance=True)
        _, _, path = self.name.partition("@")
        program = Path(path) if path else REPOSITORY / "server.py"
        env = clean_env(
            **self.settings,
            AETHER_MAX_SESSIONS="5000",
            AETHER_MAX_DETACHED="1000",
            AETHER_COMPRESSION="on" if self._is_compressed else "off",
            PYTHONPATH=str(program.parent),
        )
        argv = [sys.executable, str(program), f"--port={self.port}", f"--state-dir={self._folder / 'state'}"]
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
        how = {"kind": "aether", "url": url, "is_ack_refused": not self._has_acks}
        return {**how, "is_compressed": self._is_compressed, "is_kept": self._is_kept}

    async def prepare(self, terminal: Terminal) -> None:
        """Replace the machine's shell by the one that all have."""
        await terminal.prepare()

    async def stop(self) -> None:
        """End the server and with it its machines."""
        if hasattr(self, "_http"):
            self._http.close()
        await super().stop()
