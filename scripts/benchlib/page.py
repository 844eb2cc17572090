"""page: a running machine's page in headless Chromium, from the address to a prompt that can be seen."""

import contextlib
import json
import shutil
import statistics
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tornado.httpclient import AsyncHTTPClient

from benchlib.aether_server import Aether
from benchlib.stage import say

try:
    from playwright.async_api import Browser, Page, async_playwright
except ImportError:  # the other benchmarks need no browser
    async_playwright = None  # type: ignore[assignment]

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
WATCH = r"""
  window.seen = {};
  const note = (name) => { window.seen[name] ??= performance.now(); };
  const line = () => {
    const buffer = aether.term.buffer.active;
    return buffer.getLine(buffer.baseY + buffer.cursorY).translateToString(true);
  };
  const look = () => {
    if (window.aether?.term) note("xterm.js ready");
    if (window.aether?.facts.isOpen) note("WebSocket open");
    if (window.aether?.term && /[$#] ?$/.test(line())) note("prompt");
    if (!window.seen.prompt) requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
"""
FIGURES = """() => ({
  "first paint": performance.getEntriesByName("first-paint")[0]?.startTime ?? window.seen["xterm.js ready"],
  ...window.seen,
})"""
STEPS = ("first paint", "xterm.js ready", "WebSocket open", "prompt", "first paint to prompt")


class NoBrowser(Exception):
    """There is no Chromium, or no Playwright to drive it; the message says what to install."""


@contextlib.asynccontextmanager
async def open_browser(*flags: str) -> AsyncIterator["Browser"]:
    """Run headless Chromium; raise NoBrowser where there is none."""
    path = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if path is None or async_playwright is None:
        raise NoBrowser("needs Chromium and Playwright: apt-get install chromium; pip install playwright")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=[*FLAGS, *flags])
        try:
            yield browser
        finally:
            await browser.close()


async def new_machine(url: str, **wanted: Any) -> str:
    """Create a machine; return its id."""
    body = json.dumps(wanted)
    answer = await AsyncHTTPClient().fetch(f"{url}/machines", method="POST", body=body, request_timeout=60)
    found: str = json.loads(answer.body)["id"]
    return found


async def _figures(tab: "Page") -> dict[str, float]:
    """Wait for the prompt; return milliseconds since the address was entered."""
    await tab.wait_for_function("() => window.seen.prompt")
    found: dict[str, float] = await tab.evaluate(FIGURES)
    found["first paint to prompt"] = found["prompt"] - found["first paint"]
    return {step: found[step] for step in STEPS}


async def visit_twice(browser: "Browser", url: str) -> tuple[dict[str, float], dict[str, float]]:
    """Open a page in a browser that has never seen it, then again; return the figures of both."""
    context = await browser.new_context()
    tab = await context.new_page()
    await tab.add_init_script(WATCH)
    await tab.goto(url)
    first = await _figures(tab)
    await tab.reload()
    again = await _figures(tab)
    await context.close()
    return first, again


async def page(rounds: int, runtime: str) -> dict[str, list[dict[str, float]]]:
    """Print medians of `rounds` first and second visits; return all."""
    runs: dict[str, list[dict[str, float]]] = {"first visit": [], "again": []}
    with tempfile.TemporaryDirectory(prefix="aether-bench-") as folder:
        aether = Aether("aether", Path(folder), runtime, has_acks=False)
        try:
            await aether.start_server()
            print(f"page: {aether.about}")
            url = f"{aether.url}/terminal.html?machine={await new_machine(aether.url)}"
            async with open_browser() as browser:
                for number in range(rounds + 1):
                    first, again = await visit_twice(browser, url)
                    say(f"  round {number}/{rounds}: prompt after {first['prompt']:.0f} ms")
                    if number:  # the first one warms up
                        runs["first visit"].append(first)
                        runs["again"].append(again)
        finally:
            await aether.stop()
    say("")
    print(
        f"\n  {'since the address':<24}{'first visit':>24}{'again':>24}\n  {'':<24}"
        + f"{'median':>8}{'min':>8}{'max':>8}" * 2
        + "   ms"
    )
    for step in STEPS:
        columns = [[run[step] for run in of_kind] for of_kind in runs.values()]
        print(
            f"  {step:<24}" + "".join(f"{f(column):8.0f}" for column in columns for f in (statistics.median, min, max))
        )
    return runs
