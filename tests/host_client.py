"""The PTY host as a process, and a client that speaks its frames over its Unix socket."""

import contextlib
import functools
import importlib.util
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import time
import uuid
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from aether.terminals.frames import (
    HEAD,
    OFFSET,
    PROTOCOL,
    SIZE,
    TAKEN,
    drawn_frame,
    input_frame,
    json_frame,
    size_frame,
)
from tests.processes import alive

SOURCE = Path(__file__).parent.parent / "infra/images/base/pty_host.py"
TIMEOUT_S = 30
ACK_BYTES = 64 << 10


class HostProcess:
    """A PTY host of its own, for a user whose home is `home`.

    Args:
        changes: of the program's constants, by name.
    """

    def __init__(self, home: Path, **changes: Any) -> None:
        self.home = home
        (home / ".bash_profile").write_text("PS1='$ '; bind 'set enable-bracketed-paste off'\n")
        self.file = home / "pty-host-0abcdef0.py"
        text = SOURCE.read_text()
        for name, value in changes.items():
            assert f"\n{name} = " in text
            text = text.replace(f"\n{name} = ", f"\n{name} = {value}  # ", 1)
        self.file.write_text(text)
        self.env = {"HOME": str(home), "PATH": os.environ["PATH"], "SHELL": "/bin/bash", "USER": "u", "SHLVL": "3"}
        self.folder = Path(f"/tmp/aether-{os.getuid()}-{zlib.crc32(os.fsencode(str(home))):08x}")

    def run(self, *arguments: str, **options: Any) -> "subprocess.CompletedProcess[str]":
        """Run the program in the foreground."""
        argv = [sys.executable, "-ISOO", str(self.file), *arguments]
        return subprocess.run(argv, env=self.env, capture_output=True, text=True, check=False, timeout=60, **options)

    def start(self, **options: Any) -> str:
        """See that the host runs; return its socket's path."""
        done = self.run("start", **options)
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        self.path: str = answer["sockets"][answer["own"]]
        return self.path

    @property
    def process(self) -> psutil.Process:
        """The host, once it is in the background."""
        while len(found := self._processes()) != 1 or os.getsid(found[0].pid) == found[0].pid:
            time.sleep(0.005)
        return found[0]

    def _processes(self) -> list[psutil.Process]:
        """Return what serves a socket in our folder."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if any(word.startswith(f"{self.folder}/") for word in process.cmdline()):
                    found.append(process)
        return alive(found)

    def close(self) -> None:
        """Kill the host and with it its shells; remove what it made outside of its home."""
        for process in self._processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                inside = process.children(recursive=True)
                process.kill()
                wait_for(functools.partial(are_gone, [process, *inside]))
        shutil.rmtree(self.folder, ignore_errors=True)


def load() -> Any:
    """Return the program as a module."""
    spec = importlib.util.spec_from_file_location("pty_host", SOURCE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class HostClient:
    """One connection to a host."""

    def __init__(self, path: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(TIMEOUT_S)
        self.socket.connect(path)
        self._inbox = b""
        self.output = b""  # all that came
        self.unread = b""  # what `until` has not seen
        self.offset = 0  # after the output that came
        self.typed = 0
        self.name = ""
        self.draws, self._told = True, 0
        self.seen: list[tuple[str, Any]] = []  # frames but output

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()

    def send(self, frame: bytes) -> None:
        """Send a frame, or what a test takes for one."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # what it said is still to be read
            self.socket.sendall(frame)

    def open(self, name: str | None = None, **wanted: Any) -> dict[str, Any]:
        """Attach to a session; return what the host says first."""
        self.name = name or str(uuid.uuid4())
        size = [80, 24]
        usual = {"protocol": PROTOCOL, "id": self.name, "client": "one", "size": size, "offset": None, "create": True}
        self.send(json_frame("O", {**usual, "env": {}, "grace_s": 3600, "max_detached": 16, **wanted}))
        kind, answer = self.read()
        assert kind in "SE", kind
        self.typed = answer.get("taken", 0)
        return answer

    def type(self, data: bytes) -> None:
        """Send input."""
        self.send(input_frame(self.typed, data))
        self.typed += len(data)

    def resize(self, cols: int, rows: int) -> None:
        """Send a size."""
        self.send(size_frame(cols, rows))

    def drawn(self) -> None:
        """Say that all output was drawn."""
        self._told = self.offset
        self.send(drawn_frame(self.offset))

    def read(self) -> tuple[str, Any]:
        """Return the next frame's kind, and what it says; ("", None) after the last one."""
        while not self._has_frame():
            try:
                data = self.socket.recv(1 << 16)
            except ConnectionResetError:
                data = b""
            if not data:
                return "", None
            self._inbox += data
        size, kind = HEAD.unpack_from(self._inbox)
        payload, self._inbox = self._inbox[HEAD.size : HEAD.size + size], self._inbox[HEAD.size + size :]
        return self._take(chr(kind), payload)

    def _has_frame(self) -> bool:
        return len(self._inbox) >= HEAD.size and len(self._inbox) >= HEAD.size + HEAD.unpack_from(self._inbox)[0]

    def _take(self, kind: str, payload: bytes) -> tuple[str, Any]:
        if kind == "D":
            (offset,) = OFFSET.unpack_from(payload)
            assert offset == self.offset, f"output from {offset}, not {self.offset}"
            self.output += payload[8:]
            self.unread += payload[8:]
            self.offset += len(payload) - 8
            if self.draws and self.offset - self._told > ACK_BYTES:
                self.drawn()
            return kind, payload[8:]
        if kind == "S":
            said = json.loads(payload)
            self.offset = self._told = said["offset"]
        elif kind in "TZ":
            said = {"T": TAKEN, "Z": SIZE}[kind].unpack(payload)
        else:
            said = json.loads(payload or "null")
        self.seen.append((kind, said))
        return kind, said

    def until(self, sentinel: bytes) -> bytes:
        """Read until `sentinel` has come; return what came up to it and forget it."""
        while sentinel not in self.unread:
            kind, _ = self.read()
            assert kind, f"closed before {sentinel!r}: {self.seen} {self.unread[-500:]!r}"
        seen, _, self.unread = self.unread.partition(sentinel)
        return seen

    def until_kind(self, kind: str) -> Any:
        """Read until a frame of this kind has come; return what it says."""
        while (frame := self.read())[0] != kind:
            assert frame[0], f"closed before {kind}: {self.seen}"
        return frame[1]

    def until_front(self, **wanted: Any) -> dict[str, Any]:
        """Read until what is in front is as wanted."""
        while True:
            front: dict[str, Any] = self.until_kind("F")
            if {key: front[key] for key in wanted} == wanted:
                return front

    def until_closed(self) -> list[tuple[str, Any]]:
        """Read to the end; return the last frames but output."""
        while self.read()[0]:
            pass
        return self.seen

    def run(self, command: str) -> str:
        """Run a command in a shell that shows its prompt; return what it printed."""
        self.type(f"{command}; printf '%s_' done_; echo $?\n".encode())
        self.until(b"\r\n")
        seen = self.until(b"done__")
        self.until(b"$ ")
        return seen.decode().replace("\r\n", "\n")

    def sessions(self) -> list[dict[str, Any]]:
        """Return the host's list."""
        self.send(HEAD.pack(0, ord("L")))
        listed: list[dict[str, Any]] = self.until_kind("L")["sessions"]
        return listed


def are_gone(processes: list[psutil.Process]) -> bool:
    """Return whether processes have ended: a zombie only waits for its parent."""
    return not alive(processes)


def wait_for(is_true: Callable[[], Any]) -> None:
    """Wait for what has no event of its own; the watchdog ends a test that waits in vain."""
    while not is_true():
        time.sleep(0.005)


def forged(kind: str, payload: bytes = b"", size: int | None = None) -> bytes:
    """Return a frame whose head says what the test wants."""
    return struct.pack(">IB", len(payload) if size is None else size, ord(kind)) + payload
