"""cpu: processor seconds of the server for 10,000 keys and for 64 MiB."""

from benchlib.contenders import Contender
from benchlib.echo import echo_times, start_echo
from benchlib.inside import DONE, READY
from benchlib.processes import cpu_s
from benchlib.report import columns
from benchlib.stage import MIB, Figures, Stage

KEYS = 10_000
BULK_MIB = 64
COLUMNS = columns("""
    keys_s  10,000 keys: s  2  / openssh
    bulk_s  64 MiB: s       2  / openssh
""")


async def cpu(stage: Stage, contender: Contender) -> Figures:
    """Count what the processes between client and machine use; a short run is counted up to the whole."""
    terminal = await contender.open()
    try:
        pids = contender.pids([terminal])
        if not pids:
            return {}
        await start_echo(terminal, "cat")
        before = cpu_s(pids)
        await echo_times(terminal, stage.options.cpu_keys, "cat")
        keys_s = (cpu_s(pids) - before) * KEYS / (stage.options.cpu_keys + 30)
    finally:
        await terminal.close()
    terminal = await contender.open()
    try:
        pids = contender.pids([terminal])
        size = int(stage.options.mib * MIB)
        await terminal.type(f"{contender.inside} bulk {size} 65536\r".encode())
        await terminal.until(READY)
        before = cpu_s(pids)
        await terminal.type(b"g")
        await terminal.until(DONE, 180)
        bulk_s = (cpu_s(pids) - before) * BULK_MIB / stage.options.mib
    finally:
        await terminal.close()
    return {"keys_s": keys_s, "bulk_s": bulk_s}
