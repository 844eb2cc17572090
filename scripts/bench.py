#!/usr/bin/env python3
"""Measure aether: figures of one run on one machine, to be compared with each other rather than with other machines'.

cold   POST /machines → first prompt, and its parts; the server is a process of its own
fleet  time and memory of one sweep over many machines, on the emulator's fast mode (no child processes)

Everything is on loopback, in folders that are removed afterwards.
"""

import argparse
import asyncio
import gc
import json
import os
import signal
import statistics
import sys
import tempfile
import time
import tracemalloc
import uuid
from pathlib import Path

import asyncssh
from tornado.httpclient import AsyncHTTPClient
from tornado.websocket import websocket_connect

from aether.emulator.api import Emulator
from aether.fleet import Fleet
from aether.fly.answers import FlyMachine
from aether.fly.client import FlyClient
from aether.fly.config import Birth, SshNetwork, fly_name
from aether.machines import Guest, Machine
from aether.reconcile import Reconciler
from aether.ssh.keys import make_host_key, public_text

ROOT = Path(__file__).parent.parent
PROMPT = "coder@aether:~$ "


class Server:
    """`python server.py` on a free port, stopped and cleaned up at the end."""

    async def __aenter__(self) -> "Server":
        self._folder = tempfile.TemporaryDirectory(prefix="aether-bench-")
        env = {key: value for key, value in os.environ.items() if not key.startswith(("FLY_", "AETHER_"))}
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(ROOT / "server.py"),
            "--port=0",
            f"--state-dir={self._folder.name}",
            env=env,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert self._process.stdout is not None
        line = (await self._process.stdout.readline()).decode()
        self.url = line.partition("open ")[2].partition("/ ")[0]
        self.about = line.partition(" — ")[2].strip()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        await self._process.wait()
        self._folder.cleanup()


async def cold_once(url: str) -> dict[str, float]:
    """Create a machine and open its terminal at once; return seconds since POST for each step."""
    http = AsyncHTTPClient()
    began = time.perf_counter()
    response = await http.fetch(f"{url}/machines", method="POST", body="")
    machine_id = json.loads(response.body)["id"]
    created = time.perf_counter()
    socket = await websocket_connect(f"{url.replace('http', 'ws', 1)}/machines/{machine_id}/terminal")
    upgraded = time.perf_counter()
    first_byte, text = 0.0, ""
    while PROMPT not in text:
        message = await socket.read_message()
        assert message is not None, "the terminal closed before its prompt"
        text += json.loads(message).get("data", "")
        first_byte = first_byte or time.perf_counter()
    prompt = time.perf_counter()
    socket.close()
    await http.fetch(f"{url}/machines/{machine_id}", method="DELETE")
    return {
        "POST answered": created - began,
        "WebSocket open": upgraded - began,
        "first output": first_byte - began,
        "prompt": prompt - began,
    }


async def cold(rounds: int) -> None:
    """Print medians of `rounds` cold starts."""
    async with Server() as server:
        print(f"cold: {server.about}")
        runs = []
        for number in range(rounds + 1):
            run = await cold_once(server.url)
            print(f"\r  round {number}/{rounds}: prompt after {run['prompt'] * 1000:.0f} ms ", end="", flush=True)
            if number:  # the first one warms up
                runs.append(run)
    print(f"\n\n  {'since POST /machines':<22}{'median':>9}{'min':>9}{'max':>9}   ms")
    for step in runs[0]:
        values = [run[step] * 1000 for run in runs]
        print(f"  {step:<22}{statistics.median(values):9.0f}{min(values):9.0f}{max(values):9.0f}")


async def fleet(sizes: list[int]) -> None:
    """Print what one sweep costs with each number of machines."""
    print(f"  {'machines':>9}{'sweep ms':>10}{'per machine µs':>16}{'KiB per machine':>17}{'list calls':>12}")
    for size in sizes:
        with tempfile.TemporaryDirectory(prefix="aether-bench-") as folder:
            await fleet_once(Path(folder), size)


async def fleet_once(folder: Path, size: int) -> None:
    """Fill an emulator with `size` machines, adopt them, sweep five times; print one row."""
    emulator = Emulator(state_dir=folder, token="T", runtime="fast")
    await emulator.start()
    filler = FlyClient(emulator.url, "bench", "T")
    key = asyncssh.generate_private_key("ssh-ed25519")
    birth = Birth("default", "image", 8, "coder", public_text(key), SshNetwork("public", "127.0.0.1"))
    host_key = make_host_key()
    for number in range(size):
        machine = a_machine(number, host_key.public)
        await filler.create(fly_name(machine), "", birth.config(machine, host_key.private))
        if number % 100 == 0:
            print(f"\r  creating {number}/{size} ", end="", flush=True)
    await filler.close()
    client = CountingClient(emulator.url, "bench", "T")
    many = Fleet(client, birth, key, "", size, 1)
    reconciler = Reconciler(many, client, "default")
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


class CountingClient(FlyClient):
    """Counts how often the list is asked for."""

    lists = 0

    async def list(self, metadata: dict[str, str]) -> list[FlyMachine]:
        """List, and count."""
        self.lists += 1
        return await super().list(metadata)


def a_machine(number: int, host_public_key: str) -> Machine:
    """Return machine `number`."""
    guest = Guest("shared", 1, 512)
    now = time.time()
    name = f"bench-{number}"
    return Machine(str(uuid.uuid4()), name, "iad", "image", guest, now, now, now, 30000 + number, host_public_key)


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["cold", "fleet"])
    parser.add_argument("--rounds", type=int, default=15, help="cold: counted rounds (15)")
    parser.add_argument("--sizes", type=int, nargs="+", default=[250, 500, 1000], help="fleet: numbers of machines")
    args = parser.parse_args()
    asyncio.run(cold(args.rounds) if args.what == "cold" else fleet(args.sizes))


if __name__ == "__main__":
    main()
