"""resume: from a cut to the next byte drawn, for one terminal and for many at once, and every byte compared.

The WebSockets are cut, or the server is killed, each time just behind a key. The terminal comes back, types what the
session has not taken, and draws its echo. It tries again every RETRY_S, where a page would wait longer.
"""

import asyncio
import contextlib
import re
import statistics
import sys
import tempfile
import time
import urllib.parse
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import asyncssh

from benchlib.aether_server import REPOSITORY, Aether
from benchlib.aether_terminal import AetherTerminal
from benchlib.echo import KEYS, start_echo
from benchlib.processes import Server, clean_env, cpu_s, rss_bytes
from benchlib.stage import MIB, say
from benchlib.websocket import WebSocketRefused

RETRY_S = 0.02
AT_ONCE = 8  # are opened
WAIT_S = 60.0
Runs = dict[str, list[dict[str, float]]]


class ResumedTerminal(AetherTerminal):
    """A session whose program echoes, and all that was typed into it and drawn since."""

    typed: bytes
    drawn: bytearray

    async def begin(self) -> None:
        """Have each key echoed, from here on."""
        await self.until_any_prompt()
        if not self.is_kept:
            raise RuntimeError("the machine keeps no sessions")
        await start_echo(self, "cat")
        self._before, self.typed, self.drawn = self._typed, b"", bytearray()
        self.tap = self.drawn.extend

    def cut(self, key: bytes) -> None:
        """Type a key, and hang up at once."""
        self.typed += key
        self.send(key)
        self.socket.close()

    def other(self, decoded: dict[str, Any]) -> None:
        """Type again what the session has not taken."""
        super().other(decoded)
        if decoded["type"] == "session" and hasattr(self, "typed"):
            self._is_new = decoded["is_new"]
            taken = self._typed = decoded["taken"]
            self.send(self.typed[taken - self._before :])

    async def come_back(self, began: float) -> float:
        """Connect until it succeeds; return milliseconds to the echo of all that was typed."""
        self._lost_reason = ""
        while time.perf_counter() < began + WAIT_S:
            with contextlib.suppress(OSError, WebSocketRefused, TimeoutError):
                await self.attach()
                break
            await asyncio.sleep(RETRY_S)
        await self.until(self.typed[-1:], WAIT_S)
        took_ms = (time.perf_counter() - began) * 1000
        if self._is_new or self.drawn != self.typed:
            raise RuntimeError(
                f"{'a new' if self._is_new else 'the'} session: typed {self.typed!r}, drawn {bytes(self.drawn)!r}"
            )
        return took_ms


@contextlib.asynccontextmanager
async def outside(folder: Path, runtime: str) -> AsyncIterator[Aether]:
    """Run a server beside an emulator, which goes on when the server is killed."""
    argv = ["-m", "aether.emulator", "--port=0", "--token=T", f"--runtime={runtime}", f"--state-dir={folder / 'fly'}"]
    emulator = Server([sys.executable, *argv], folder, clean_env(PYTHONPATH=str(REPOSITORY)))
    aether = Aether("aether", folder, runtime, has_acks=True)
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(folder / "key")
    try:
        await emulator.start()
        line = await emulator.until_line("http://127.0.0.1")
        aether.settings = {
            "FLY_API_TOKEN": "T",
            "FLY_APP_NAME": "bench",
            "FLY_FLAPS_BASE_URL": re.findall(r"http://[\d.:]+\d", line)[0],
            "AETHER_SSH_HOST": "127.0.0.1",
            "AETHER_SSH_PRIVATE_KEY_FILE": str(folder / "key"),
        }
        await aether.start_server()
        aether.port = urllib.parse.urlsplit(aether.url).port or 0
        yield aether
    finally:
        await aether.stop()
        await emulator.stop()


async def cut_once(aether: Aether, terminals: list[ResumedTerminal], key: bytes, is_killed: bool) -> dict[str, float]:
    """Cut all at once; return how long they took to be back, and what it cost the server."""
    began = time.perf_counter()
    for terminal in terminals:
        terminal.cut(key)
    before_s = 0.0 if is_killed else cpu_s([aether.server.pid])
    back = asyncio.gather(*(terminal.come_back(began) for terminal in terminals))
    found: dict[str, float] = {}
    if is_killed:
        await aether.server.kill()
        await aether.start_server()
        found["listens_ms"] = (time.perf_counter() - began) * 1000
    highest = 0
    while not back.done():
        highest = max(highest, rss_bytes([aether.server.pid]))
        await asyncio.wait([back], timeout=0.1)
    times = await back
    found |= {"min_ms": min(times), "median_ms": statistics.median(times), "max_ms": max(times)}
    return {**found, "cpu_s": cpu_s([aether.server.pid]) - before_s, "mib": highest / MIB}


async def open_all(url: str, count: int) -> list[ResumedTerminal]:
    """Open sessions that echo."""
    limit = asyncio.Semaphore(AT_ONCE)
    terminals = [ResumedTerminal(url, is_kept=True) for _ in range(count)]

    async def one(terminal: ResumedTerminal) -> None:
        async with limit:
            await terminal.attach()
            await terminal.begin()

    await asyncio.gather(*(one(terminal) for terminal in terminals))
    return terminals


async def resume(rounds: int, counts: list[int], runtime: str) -> Runs:
    """Print medians over the rounds; return all."""
    runs: Runs = {}
    with tempfile.TemporaryDirectory(prefix="aether-bench-") as name:
        folder = Path(name)
        async with outside(folder, runtime) as aether:
            url = (await aether.new_machine())["url"]
            for count in counts:
                terminals = await open_all(url, count)
                for number in range(rounds):
                    for title, is_killed in (("connections cut", False), ("server killed", True)):
                        say(f"resume: round {number + 1}/{rounds}, {count}, {title}")
                        run = await cut_once(aether, terminals, KEYS[number % 26 : number % 26 + 1], is_killed)
                        runs.setdefault(f"{title}, {count}", []).append(run)
                for terminal in terminals:
                    await terminal.close()
    say("")
    show(runs)
    return runs


COLUMNS: list[tuple[str, str, Callable[[list[float]], float], int]] = [
    ("min_ms", "min ms", min, 0),
    ("median_ms", "median ms", statistics.median, 0),
    ("max_ms", "max ms", max, 0),
    ("listens_ms", "listens after ms", statistics.median, 0),
    ("cpu_s", "CPU s", statistics.median, 2),
    ("mib", "peak MiB", max, 0),
]


def show(runs: Runs) -> None:
    """Print a row for each scene: the first, the middle and the last terminal to be back."""
    print(f"\n  {'cut to next byte drawn':<24}" + "".join(f"{title:>18}" for _, title, _, _ in COLUMNS))
    for scene, found in runs.items():
        cells = []
        for key, _, combine, decimals in COLUMNS:
            values = [run[key] for run in found if key in run]
            cells.append(f"{combine(values):.{decimals}f}" if values else "–")
        print(f"  {scene:<24}" + "".join(f"{text:>18}" for text in cells))
