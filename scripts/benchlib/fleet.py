"""fleet: time and memory of one sweep over many machines, on the emulator's fast mode (no child processes)."""

import gc
import statistics
import tempfile
import time
import tracemalloc
import uuid
from pathlib import Path

import asyncssh

from aether.emulator.server import Emulator
from aether.fleet.assembly import FleetOptions, assemble
from aether.fly.answers import FlyMachine
from aether.fly.client import FlyClient
from aether.fly.operations import Operations
from aether.fly.template import MachineTemplate, SshNetwork, fly_name
from aether.machines import Machine, MachineSize
from aether.ssh.keys import make_host_key, public_text


async def fleet(sizes: list[int]) -> list[dict[str, float]]:
    """Print what one sweep costs with each number of machines; return it."""
    rows = []
    print(f"  {'machines':>9}{'sweep ms':>10}{'per machine µs':>16}{'KiB per machine':>17}{'list calls':>12}")
    for size in sizes:
        with tempfile.TemporaryDirectory(prefix="aether-bench-") as folder:
            rows.append(await fleet_once(Path(folder), size))
    return rows


async def fleet_once(folder: Path, size: int) -> dict[str, float]:
    """Fill an emulator with `size` machines, adopt them, sweep five times; print one row."""
    emulator = Emulator(state_dir=folder, token="T", runtime="fast")
    await emulator.start()
    filler = FlyClient(emulator.url, "bench", "T")
    key = asyncssh.generate_private_key("ssh-ed25519")
    template = MachineTemplate("default", "image", 8, "coder", public_text(key), SshNetwork("public", "127.0.0.1"))
    host_key = make_host_key()
    for number in range(size):
        machine = a_machine(number, host_key.public)
        await filler.create(fly_name(machine), "", template.config(machine, host_key.private))
        if number % 100 == 0:
            print(f"\r  creating {number}/{size} ", end="", flush=True)
    await filler.close()
    client = CountingClient(emulator.url, "bench", "T")
    assembly = assemble(Operations(client), template, key, FleetOptions(max_machines=size))
    many, reconciler = assembly.fleet, assembly.reconciler
    gc.collect()
    tracemalloc.start()
    await reconciler.reconcile()
    gc.collect()
    memory_kib = tracemalloc.get_traced_memory()[0] / 1024
    tracemalloc.stop()
    assert len(many.list()) == size, "not every machine was adopted"
    client.lists, sweeps = 0, []
    for _ in range(5):
        began = time.perf_counter()
        await reconciler.reconcile()
        sweeps.append(time.perf_counter() - began)
    median = statistics.median(sweeps)
    row = f"{size:9}{median * 1e3:10.1f}{median / size * 1e6:16.1f}{memory_kib / size:17.1f}{client.lists / 5:12.0f}"
    print(f"\r  {row}  ")
    await many.close()
    await client.close()
    await emulator.stop()
    return {"machines": size, "sweep_ms": median * 1e3, "kib_per_machine": memory_kib / size}


class CountingClient(FlyClient):
    """Counts how often the list is asked for."""

    lists = 0

    async def list(self, metadata: dict[str, str]) -> list[FlyMachine]:
        """List, and count."""
        self.lists += 1
        return await super().list(metadata)


def a_machine(number: int, host_public_key: str) -> Machine:
    """Return machine `number`."""
    size = MachineSize("shared", 1, 512)
    now = time.time()
    name = f"bench-{number}"
    return Machine(str(uuid.uuid4()), name, "iad", "image", size, now, now, now, 30000 + number, host_public_key)
