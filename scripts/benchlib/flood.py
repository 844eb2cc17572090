"""flood and ctrl-c: `yes` to clients that are fast, slow, stopped or silent."""

import asyncio
import contextlib
import math
import os
import time
import uuid

from benchlib.contenders import Contender
from benchlib.processes import cpu_s, find_by_name, own_bytes, rss_bytes
from benchlib.report import columns
from benchlib.stage import MIB, Figures, Stage, pause
from benchlib.terminal import PROMPT, Terminal

SLOW_BYTES_S = 200_000
NEVER_S = 20.0
FLOODS = {
    "fast": ("on", None),
    "slow": ("on", SLOW_BYTES_S),
    "stopped": ("on", 0.0),
    "noack": ("off", SLOW_BYTES_S),
    "never": ("never", None),
}
AETHER_ONLY = ("noack", "never")
COLUMNS = columns("""
    fast_mib     fast client        1
    slow_mib     200 KB/s           1
    stopped_mib  stops reading      1
    noack_mib    200 KB/s, no acks  1
    never_mib    never acks         1
    fast_mib_s   fast: MiB/s        1
""")
CTRL_C_COLUMNS = columns("""
    fast_dead_ms     fast: dead ms      1
    fast_prompt_ms   prompt ms          1
    slow_dead_ms     200 KB/s: dead ms  1
    slow_prompt_ms   prompt ms          1
    noack_dead_ms    no acks: dead ms   1
    noack_prompt_ms  prompt ms          1
""")


async def start_yes(terminal: Terminal) -> str:
    """Start `yes` under a name of its own; return the name, by which its process is found."""
    name = f"yes-{uuid.uuid4().hex[:12]}"
    await terminal.type(f"(exec -a {name} yes)\r".encode())
    await terminal.until(b"y\r\ny\r\n")
    return name


def has_acks(contender: Contender) -> bool:
    """Whether this contender's protocol knows acks, and its server too."""
    return contender.dial.get("is_ack_refused") is False


def scenes(contender: Contender) -> list[str]:
    """Name the clients that make a difference for a contender."""
    return [name for name in FLOODS if name not in AETHER_ONLY or has_acks(contender)]


async def flood(stage: Stage, contender: Contender) -> Figures:
    """Growth of the server's memory, at its highest, in each scene; a client program's own where it is one."""
    found: Figures = {}
    for scene in scenes(contender):
        acks, bytes_s = FLOODS[scene]
        await contender.restart()  # memory that was used before would hide growth
        terminal = await contender.open(acks)
        try:
            pids = contender.pids([terminal])
            before, received = rss_bytes(pids), terminal.bytes_received
            terminal.pace(bytes_s)
            await terminal.type(b"yes\r")
            highest, began = before, time.perf_counter()
            while time.perf_counter() - began < stage.options.seconds:
                await pause(0.25)
                highest = max(highest, rss_bytes(pids))
            took_s = time.perf_counter() - began
        finally:
            await terminal.close()
        if pids:
            found[f"{scene}_mib"] = (highest - before) / MIB
        if scene == "fast":
            found["fast_mib_s"] = (terminal.bytes_received - received) / MIB / took_s
        await settle(contender)
    return found


async def settle(contender: Contender) -> None:
    """Let a server that still works through a flood come to rest, five seconds at most."""
    pids = contender.pids([])
    if os.getpid() in pids:
        return
    for _ in range(20):
        before = cpu_s(pids)
        await pause(0.25)
        if cpu_s(pids) - before < 0.05:
            return


async def ctrl_c(stage: Stage, contender: Contender) -> Figures:
    """Time from Ctrl-C to the death of `yes` and to the prompt on the screen."""
    found: Figures = {}
    for scene in ("fast", "slow", "noack"):
        if scene not in scenes(contender):
            continue
        acks, bytes_s = FLOODS[scene]
        dead_s, prompt_s = await interrupt(contender, acks, bytes_s, stage.options.flow_s)
        found |= {f"{scene}_dead_ms": dead_s * 1000, f"{scene}_prompt_ms": prompt_s * 1000}
        await settle(contender)
    return found


async def interrupt(contender: Contender, acks: str, bytes_s: float | None, flow_s: float) -> tuple[float, float]:
    """Flood for `flow_s`, then interrupt; return seconds, infinity for what did not come in `NEVER_S`."""
    terminal = await contender.open(acks)
    try:
        name = await start_yes(terminal)
        terminal.pace(bytes_s)
        await pause(flow_s)
        pid = await asyncio.to_thread(find_by_name, name)
        if pid is None:
            raise RuntimeError("`yes` is not among the processes")
        death = asyncio.create_task(until_dead(os.pidfd_open(pid)), name="wait for death")
        await asyncio.sleep(0)  # until it waits
        began = time.perf_counter()
        await terminal.type(b"\x03")
        try:
            await terminal.until(PROMPT, NEVER_S)
            prompt_s = time.perf_counter() - began
        except TimeoutError:
            prompt_s = math.inf
        died = await asyncio.wait_for(death, 1) if death.done() or prompt_s < math.inf else None
        death.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await death
        return (math.inf if died is None else died - began), prompt_s
    finally:
        await terminal.close()


async def until_dead(process: int) -> float:
    """Wait for the end of the process that this descriptor stands for; return when it was."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    try:
        loop.add_reader(process, ended.set)
        await ended.wait()
        return time.perf_counter()
    finally:
        loop.remove_reader(process)
        os.close(process)


def idle_bytes(contender: Contender, terminals: list[Terminal]) -> int:
    """Return what idle terminals cost: the server's resident memory, or client programs' own pages."""
    pids = contender.pids(terminals)
    is_programs = bool(terminals) and terminals[0].pid is not None
    return own_bytes(pids) if is_programs else rss_bytes(pids)
