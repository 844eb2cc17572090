"""sessions: opening times, twenty at once, and what idle sessions cost."""

import asyncio
import time

from benchlib.aether_server import Aether
from benchlib.contenders import Contender, dial
from benchlib.flood import idle_bytes, settle
from benchlib.processes import cpu_s
from benchlib.report import columns
from benchlib.stage import Figures, Stage, median, pause, say
from benchlib.terminal import Terminal

LATER = 15
AT_ONCE = 20
PROBES = 20
COLUMNS = columns("""
    first_ms          first: ms      0
    second_ms         second: ms     1
    later_p50_ms      later p50: ms  1       / openssh
    at_once_ok        of 20 at once  0
    at_once_ms        all after ms   0
    idle_wanted       idle: wanted   0
    idle_count        open           0
    idle_kib          KiB each       1
    idle_cpu_percent  CPU % of all   2
    work              all work       yes/no
""")


async def sessions(stage: Stage, contender: Contender) -> Figures:
    """Open many that do nothing on a new server; then one after the other, and twenty at once."""
    await contender.restart()
    found: Figures = {}
    opened: list[Terminal] = []
    try:
        found |= await idle(stage, contender, opened)
        await close_all(opened)
        await timed_open(contender.dial, opened)  # a server may be long at ending those just closed
        how = await contender.new_machine() if isinstance(contender, Aether) else contender.dial
        times = [await timed_open(how, opened) for _ in range(2 + LATER)]
        found |= {"first_ms": times[0], "second_ms": times[1], "later_p50_ms": median(times[2:])}
        began = time.perf_counter()
        results = await asyncio.gather(*(timed_open(how, opened) for _ in range(AT_ONCE)), return_exceptions=True)
        found["at_once_ok"] = float(sum(isinstance(result, float) for result in results))
        for error in [result for result in results if isinstance(result, BaseException)][:1]:
            stage.trouble(f"sessions, {contender.name}: of {AT_ONCE} at once, the first that failed", error)
        found["at_once_ms"] = (time.perf_counter() - began) * 1000
    finally:
        await close_all(opened)
    return found


async def idle(stage: Stage, contender: Contender, opened: list[Terminal]) -> Figures:
    """Open many; measure memory and processor time while nothing happens; then type in some."""
    count = stage.options.sessions if isinstance(contender, Aether) else min(stage.options.sessions, 50)
    await timed_open(contender.dial, opened)  # what only the first one costs
    await close_all(opened)
    await settle(contender)
    before = idle_bytes(contender, [])
    limit = asyncio.Semaphore(10)

    async def one(number: int) -> None:
        async with limit:
            say(f"sessions: {contender.name}, opening {number}/{count}")
            await timed_open(contender.dial, opened)

    results = await asyncio.gather(*(one(number) for number in range(1, count + 1)), return_exceptions=True)
    errors = [result for result in results if isinstance(result, BaseException)]
    if errors:
        stage.trouble(f"sessions, {contender.name}: {len(errors)} of {count} idle ones, the first", errors[0])
    await settle(contender)
    found: Figures = {"idle_wanted": float(count), "idle_count": float(len(opened))}
    pids = contender.pids(opened)
    if pids and opened:
        found["idle_kib"] = (idle_bytes(contender, opened) - before) / 1024 / len(opened)
        used_s, began = cpu_s(pids), time.perf_counter()
        await pause(stage.options.idle_s)
        found["idle_cpu_percent"] = (cpu_s(pids) - used_s) / (time.perf_counter() - began) * 100
    for terminal in opened[:: max(1, count // PROBES)]:
        await terminal.type(b"echo it-'wor'ks\r")
        await terminal.until(b"it-works", 20)
    found["work"] = float(len(opened) == count)
    return found


async def timed_open(how: dict[str, object], opened: list[Terminal]) -> float:
    """Open a terminal; return milliseconds to its prompt."""
    began = time.perf_counter()
    terminal = await dial({"acks": "on", **how})
    try:
        await terminal.until_any_prompt()
    except BaseException:
        await terminal.close()
        raise
    opened.append(terminal)
    return (time.perf_counter() - began) * 1000


async def close_all(opened: list[Terminal]) -> None:
    """Hang up all, and forget them."""
    terminals = opened.copy()
    opened.clear()
    await asyncio.gather(*(terminal.close() for terminal in terminals))
