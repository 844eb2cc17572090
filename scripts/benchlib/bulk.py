"""bulk: 64 MiB of coloured, multi-byte text; every byte is compared."""

import functools
import hashlib
import time

from benchlib.contenders import Contender
from benchlib.inside import DONE, READY, text
from benchlib.report import Column
from benchlib.stage import MIB, Figures, Stage

CHUNKS = {65536: 1.0, 4096: 1.0, 7: 1 / 16, 1: 1 / 64}  # and the part of the whole that is written so
COLUMNS = [
    Column("wire_mib", "to the client: MiB", 1),
    *(
        column
        for chunk in CHUNKS
        for column in (
            Column(f"mib_s_{chunk}", f"{chunk} B: MiB/s", 1, "asyncssh" if chunk >= 4096 else None),
            Column(f"right_{chunk}", "right", 0, is_fact=True),
        )
    ),
]


@functools.cache
def expected(size: int) -> str:
    """Return the SHA-256 of what must arrive."""
    digest = hashlib.sha256()
    for block in text(size):
        digest.update(block)
    digest.update(DONE)
    return digest.hexdigest()


async def transfer(contender: Contender, size: int, chunk: int) -> tuple[float, bool, int]:
    """Have the known text written in a new terminal; return seconds, whether it arrived as it was, and bytes read."""
    terminal = await contender.open()
    try:
        await terminal.type(f"{contender.inside} bulk {size} {chunk}\r".encode())
        await terminal.until(READY)
        digest = hashlib.sha256()
        terminal.tap = digest.update
        began = time.perf_counter()
        await terminal.type(b"g")
        await terminal.until(DONE, 180)
        took_s, is_right = time.perf_counter() - began, digest.hexdigest() == expected(size)
        return took_s, is_right, terminal.wire.bytes_read if terminal.wire is not None else 0
    finally:
        await terminal.close()


async def bulk(stage: Stage, contender: Contender) -> Figures:
    """MiB a second at each chunk size, and whether the text was right."""
    found: Figures = {}
    for chunk, part in CHUNKS.items():
        size = int(stage.options.mib * MIB * part)
        took_s, is_right, wire_bytes = await transfer(contender, size, chunk)
        if wire_bytes:
            found.setdefault("wire_mib", wire_bytes / MIB)
        found |= {f"mib_s_{chunk}": size / MIB / took_s, f"right_{chunk}": float(is_right)}
    return found
