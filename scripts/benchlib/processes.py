"""Servers as processes of their own: started with a line to wait for or a port that answers, ended for certain."""

import asyncio
import contextlib
import ctypes
import gc
import os
import signal
import socket
import sys
import time
from pathlib import Path

import psutil

STOP_S = 20.0


class ServerFailed(Exception):
    """A server did not start."""


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


class Server:
    """A child process whose output goes to a file, so that a full pipe never stops it.

    Args:
        argv: the command line.
        folder: where its log is written.
        env: its environment.
    """

    def __init__(self, argv: list[str], folder: Path, env: dict[str, str] | None = None) -> None:
        self._argv = argv
        self._env = env
        self._log = folder / f"{Path(argv[0]).name}-{time.monotonic_ns()}.log"
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """The server's process id."""
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Start it; it may not answer yet."""
        with self._log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._argv,
                env=self._env,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def until_line(self, word: str, timeout_s: float = 60.0) -> str:
        """Wait for a line of its output that has `word`; return the line."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            for line in self.log().splitlines():
                if word in line:
                    return line
            self._check()
            await asyncio.sleep(0.02)
        raise ServerFailed(f"{self._argv[0]} did not say {word!r} in {timeout_s:g} s: {self.log()[-500:]}")

    async def until_port(self, port: int, timeout_s: float = 20.0) -> None:
        """Wait until it takes connections."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            self._check()
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
                continue
            writer.close()
            return
        raise ServerFailed(f"{self._argv[0]} took no connection in {timeout_s:g} s: {self.log()[-500:]}")

    def log(self) -> str:
        """Return what it has printed."""
        return self._log.read_text(errors="replace")

    async def stop(self) -> None:
        """End it and all it started."""
        if self._process is None:
            return
        family = []
        with contextlib.suppress(psutil.Error):
            family = psutil.Process(self._process.pid).children(recursive=True)
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(self._process.wait(), STOP_S)
            except TimeoutError:
                self._process.kill()
                await self._process.wait()
        for process in family:
            with contextlib.suppress(psutil.Error):  # psutil knows a process id that was given anew
                process.kill()

    async def kill(self) -> None:
        """Kill it, and nothing that it started."""
        assert self._process is not None
        self._process.kill()
        await self._process.wait()

    def _check(self) -> None:
        assert self._process is not None
        if self._process.returncode is not None:
            raise ServerFailed(f"{self._argv[0]} exited with {self._process.returncode}: {self.log()[-500:]}")


def clean_env(**more: str) -> dict[str, str]:
    """Return this process's environment without aether's and Fly's settings."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("FLY_", "AETHER_"))}
    return {**kept, "PYTHONUNBUFFERED": "1", **more}


def rss_bytes(pids: list[int]) -> int:
    """Return the resident memory of these processes; of this process after giving back what is free."""
    if os.getpid() in pids:
        gc.collect()
        if sys.platform == "linux":
            with contextlib.suppress(OSError, AttributeError):
                ctypes.CDLL(None).malloc_trim(0)
    total = 0
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            total += psutil.Process(pid).memory_info().rss
    return total


def own_bytes(pids: list[int]) -> int:
    """Return the memory that is theirs alone."""
    total = 0
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            total += psutil.Process(pid).memory_full_info().uss
    return total


def cpu_s(pids: list[int]) -> float:
    """Return the processor time of these processes, user and system."""
    total = 0.0
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            times = psutil.Process(pid).cpu_times()
            total += times.user + times.system
    return total


def find_by_name(name: str) -> int | None:
    """Return the process whose argv[0] is `name`, wherever it runs on this computer."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.cmdline()[:1] == [name]:
                return int(process.pid)
    return None
