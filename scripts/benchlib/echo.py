"""echo and load: from a key to its echo, alone, beside 50 busy sessions and beside a flood."""

import asyncio
import json
import sys
import time
from pathlib import Path

from benchlib.contenders import Contender
from benchlib.contenders import dial as dial_up
from benchlib.report import columns
from benchlib.stage import Figures, Stage, percentile
from benchlib.terminal import Terminal, TerminalLost

KEYS = b"abcdefghijklmnopqrstuvwxyz"
WARM_UP_KEYS = 30
BUSY_BYTES_S = 20_000
COLUMNS = columns("""
    p50_ms  p50 ms  3  / openssh
    p99_ms  p99 ms  3  / openssh
    max_ms  max ms  2
""")
LOAD_COLUMNS = columns("""
    busy_p50_ms  p50 ms, busy   3  / openssh
    busy_p99_ms  p99 ms, busy   3  / openssh
    yes_p50_ms   p50 ms, `yes`  3  / openssh
    yes_p99_ms   p99 ms, `yes`  3  / openssh
""")


async def start_echo(terminal: Terminal, where: str) -> None:
    """Make the terminal echo each key: `cat` on a raw PTY, or the prompt as it is."""
    if where == "cat":
        await terminal.type(b"stty raw -echo; printf 're''ady'; exec cat\r")
        await terminal.until(b"ready")


async def echo_times(terminal: Terminal, keys: int, where: str, pause_ms: float = 0) -> list[float]:
    """Type keys, each `pause_ms` after the one before it has come back; return milliseconds."""
    times = []
    for number in range(-WARM_UP_KEYS, keys):
        key = KEYS[number % 26 : number % 26 + 1]
        began = time.perf_counter()
        terminal.send(key)
        await terminal.until(key, 20)
        if number >= 0:
            times.append((time.perf_counter() - began) * 1000)
        if pause_ms:
            await asyncio.sleep(pause_ms / 1000)
        if where == "prompt" and number % 60 == 59:
            await terminal.type(b"\x15")  # kill the line before it wraps
            await asyncio.sleep(0.01)
    return times


async def echo(stage: Stage, contender: Contender) -> Figures:
    """One session, nothing else."""
    terminal = await contender.open()
    try:
        await start_echo(terminal, stage.options.echo_at)
        times = await echo_times(terminal, stage.options.keys, stage.options.echo_at, stage.options.pause_ms)
    finally:
        await terminal.close()
    return {"p50_ms": percentile(times, 0.5), "p99_ms": percentile(times, 0.99), "max_ms": max(times)}


async def load(stage: Stage, contender: Contender) -> Figures:
    """The same beside busy sessions, then beside one `yes`, whose clients are in a process of their own."""
    found: Figures = {}
    busy = f"{contender.inside} busy {BUSY_BYTES_S}"
    for kind, count, command in (("busy", stage.options.busy, busy), ("yes", 1, "yes")):
        terminal = await contender.open()
        others = Others(contender, count, command)
        try:
            await others.start()
            await start_echo(terminal, "cat")
            times = await echo_times(terminal, stage.options.keys, "cat", stage.options.pause_ms)
        finally:
            await terminal.close()
            await others.stop()
        found |= {f"{kind}_p50_ms": percentile(times, 0.5), f"{kind}_p99_ms": percentile(times, 0.99)}
    return found


class Others:
    """Sessions beside the measured one; asyncssh's are in this process, because there it is the server."""

    def __init__(self, contender: Contender, count: int, command: str) -> None:
        self._contender = contender
        self._count = count
        self._command = command
        self._terminals: list[Terminal] = []
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Open them and let them begin."""
        if self._contender.dial["kind"] == "asyncssh":
            self._terminals = await open_busy(self._contender.dial, self._count, self._command)
            return
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(Path(__file__).parents[1] / "bench.py"),
            "_others",
            json.dumps([self._contender.dial, self._count, self._command]),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), 120)
        if line != b"ready\n":
            raise TerminalLost("the busy sessions could not be opened")

    async def stop(self) -> None:
        """Hang up all."""
        for terminal in self._terminals:
            await terminal.close()
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            try:
                await asyncio.wait_for(self._process.wait(), 20)
            except TimeoutError:
                self._process.kill()
                await self._process.wait()


async def open_busy(dial: dict[str, str], count: int, command: str) -> list[Terminal]:
    """Open terminals, eight at a time, and start a command in each."""
    limit = asyncio.Semaphore(8)

    async def one() -> Terminal:
        async with limit:
            terminal = await dial_up({"acks": "on", **dial})
            await terminal.until_any_prompt()
            before = terminal.bytes_received
            await terminal.type(command.encode() + b"\r")
            while terminal.bytes_received < before + len(command) + 2000:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            return terminal

    return list(await asyncio.gather(*(one() for _ in range(count))))


async def serve_others(text: str) -> None:
    """Be the process of the other sessions: read what they show until standard input ends."""
    dial, count, command = json.loads(text)
    terminals = await open_busy(dial, count, command)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for terminal in terminals:
        await terminal.close()
