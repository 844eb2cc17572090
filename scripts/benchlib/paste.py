"""paste: 1 MiB into a program that reads it, at once or slowly, while another user types."""

import asyncio
import hashlib
import time

from benchlib.contenders import Contender
from benchlib.echo import KEYS, start_echo
from benchlib.inside import DONE, READY
from benchlib.report import Column
from benchlib.stage import MIB, Figures, Stage, percentile
from benchlib.terminal import Terminal, TerminalLost

MESSAGE_BYTES = 16 * 1024
SLOW_BYTES_S = 400_000
ASCII = "".join(f"line {n:07d} of what is pasted, plain ASCII\n" for n in range(30_000))[:MIB]
WIDE = ("".join(f"Zeile {n:07d} — Grüße, 世界 🚀\n" for n in range(30_000)).encode()[: MIB - 4]).decode(errors="ignore")
CASES = {
    "ascii_one": ("ASCII", 0, 0),
    "ascii_many": ("ASCII", MESSAGE_BYTES, 0),
    "wide_one": ("wide", 0, 0),
    "wide_many": ("wide", MESSAGE_BYTES, 0),
    "wide_slow": ("wide", MESSAGE_BYTES, SLOW_BYTES_S),
}
COLUMNS = [
    *(Column(f"{name}_right", name.replace("_", ", "), 0, is_fact=True) for name in CASES),
    Column("ascii_one_ms", "one message: ms", 0),
    Column("beside_p99_ms", "echo beside, p99 ms", 2, "openssh"),
    Column("beside_max_ms", "max ms", 1),
]


def pieces(text: str, size: int) -> list[bytes]:
    """Cut text into messages of about `size` bytes, whole characters each; 0: one message."""
    data = text.encode()
    if not size:
        return [data]
    found, begin = [], 0
    while begin < len(data):
        end = min(begin + size, len(data))
        while end < len(data) and data[end] & 0xC0 == 0x80:
            end -= 1
        found.append(data[begin:end])
        begin = end
    return found


async def paste(stage: Stage, contender: Contender) -> Figures:
    """Paste in every way; type in another session meanwhile."""
    found: Figures = {}
    other = await contender.open()
    times: list[float] = []
    try:
        await start_echo(other, "cat")
        for name, (kind, size, bytes_s) in CASES.items():
            text = ASCII if kind == "ASCII" else WIDE
            typing = asyncio.create_task(type_on(other, times), name="typing beside")
            began = time.perf_counter()
            try:
                is_right = await paste_once(contender, text, size, bytes_s)
            finally:
                typing.cancel()
                await asyncio.wait([typing])
            if not typing.cancelled() and typing.exception() is not None:
                raise TerminalLost(f"the other session during {name}: {typing.exception()}")
            found |= {f"{name}_right": float(is_right), f"{name}_ms": (time.perf_counter() - began) * 1000}
    finally:
        await other.close()
    return {**found, "beside_p99_ms": percentile(times, 0.99), "beside_max_ms": max(times)}


async def paste_once(contender: Contender, text: str, size: int, bytes_s: int) -> bool:
    """Paste into a raw reader in a new terminal; return whether it has read what was pasted."""
    data = text.encode()
    terminal = await contender.open()
    try:
        await terminal.type(f"{contender.inside} sink {len(data)} {bytes_s}\r".encode())
        await terminal.until(READY)
        seen = bytearray()
        terminal.tap = seen.extend
        for piece in pieces(text, size):
            await terminal.type(piece)
        try:
            await terminal.until(DONE, 20)
        except (TerminalLost, TimeoutError):
            return False
        return hashlib.sha256(data).hexdigest().encode() in seen
    finally:
        await terminal.close()


async def type_on(terminal: Terminal, times: list[float]) -> None:
    """Type a key every few milliseconds for as long as it lasts."""
    number = 0
    while True:
        key = KEYS[number % 26 : number % 26 + 1]
        number += 1
        began = time.perf_counter()
        terminal.send(key)
        await terminal.until(key, 20)
        times.append((time.perf_counter() - began) * 1000)
        await asyncio.sleep(0.002)
