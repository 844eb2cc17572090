"""cold: create → prompt, and its parts; the server is a process of its own."""

import json
import statistics
import tempfile
import time
from pathlib import Path

from tornado.httpclient import AsyncHTTPClient
from tornado.websocket import websocket_connect

from benchlib.aether_server import Aether
from benchlib.stage import say
from benchlib.terminal import ANY_PROMPT


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
    while not ANY_PROMPT.search(text.encode()):
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


async def cold(rounds: int, runtime: str) -> dict[str, list[dict[str, float]]]:
    """Print medians of `rounds` cold starts; return all."""
    runs: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory(prefix="aether-bench-") as folder:
        aether = Aether("aether", Path(folder), runtime, has_acks=False)
        try:
            await aether.start_server()
            print(f"cold: {aether.about}")
            for number in range(rounds + 1):
                run = await cold_once(aether.url)
                say(f"  round {number}/{rounds}: prompt after {run['prompt'] * 1000:.0f} ms")
                if number:  # the first one warms up
                    runs.append(run)
        finally:
            await aether.stop()
    say("")
    print(f"\n  {'since POST /machines':<22}{'median':>9}{'min':>9}{'max':>9}   ms")
    for step in runs[0]:
        values = [run[step] * 1000 for run in runs]
        print(f"  {step:<22}{statistics.median(values):9.0f}{min(values):9.0f}{max(values):9.0f}")
    return {"aether": runs}
