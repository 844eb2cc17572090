"""host: the memory of a machine's PTY host, alone and with sessions whose logs are full."""

import asyncio
import contextlib

import psutil

from benchlib.aether_server import Aether
from benchlib.contenders import Contender
from benchlib.processes import rss_bytes
from benchlib.report import columns
from benchlib.stage import MIB, Figures, Stage
from benchlib.terminal import Terminal

SESSIONS = 20
LOG_BYTES = 1_100_000  # more than a session's log has room for
COLUMNS = columns("""
    base_mib     alone: MiB        1
    session_mib  a session: MiB  2
    count        sessions        0
""")


async def host(stage: Stage, contender: Contender) -> Figures:
    """Measure a new machine's host after its first session has ended, then with sessions that have written a lot."""
    assert isinstance(contender, Aether)
    await contender.restart()
    first = await contender.open()
    try:
        if not contender.dial["is_kept"]:
            return {}
        found = await asyncio.to_thread(hosts_below, contender)
    finally:
        await first.close()
    if len(found) != 1:
        raise RuntimeError(f"{len(found)} PTY hosts run on one machine")
    before = rss_bytes(found)
    opened: list[Terminal] = []
    try:
        for _ in range(SESSIONS):
            opened.append(await contender.open())
            await opened[-1].run(f"head -c {LOG_BYTES} /dev/zero | tr '\\0' x; echo")
        full = rss_bytes(found)
    finally:
        await asyncio.gather(*(terminal.close() for terminal in opened))
    return {"base_mib": before / MIB, "session_mib": (full - before) / MIB / SESSIONS, "count": float(SESSIONS)}


def hosts_below(contender: Aether) -> list[int]:
    """Return the PTY hosts of a server's machines, which are processes on this computer."""
    found = []
    for process in psutil.Process(contender.server.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            words = process.cmdline()
            if {"start", "serve"} & set(words) and any("/pty-host-" in word for word in words):
                found.append(process.pid)
    return found
