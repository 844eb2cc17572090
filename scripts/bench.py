#!/usr/bin/env python3
"""Measure aether. `python scripts/bench.py cold` prints how long it takes from POST /machines to the first prompt.

The server runs in a process of its own on loopback, with a state folder that is removed afterwards.
"""

import argparse
import asyncio
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path

from tornado.httpclient import AsyncHTTPClient
from tornado.websocket import websocket_connect

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


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["cold"], help="cold: POST /machines → first prompt, and its parts")
    parser.add_argument("--rounds", type=int, default=15, help="counted rounds (15)")
    asyncio.run(cold(parser.parse_args().rounds))


if __name__ == "__main__":
    main()
