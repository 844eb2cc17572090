#!/usr/bin/env python3
"""Take the README's pictures: real machines, a real browser. `python scripts/screenshots.py [FOLDER]`."""

import asyncio
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from playwright.async_api import Browser, Page

from benchlib.aether_server import Aether
from benchlib.page import NoBrowser, new_machine, open_browser

FOLDER = Path(__file__).resolve().parents[1] / "tests" / "screenshots"
DESK = {"viewport": {"width": 1100, "height": 620}, "reduced_motion": "reduce"}
PHONE = {
    "viewport": {"width": 390, "height": 660},
    "device_scale_factor": 1.5,
    "has_touch": True,
    "is_mobile": True,
    "reduced_motion": "reduce",
}
PROGRAM = '''\
"""Where do the primes hide?"""

from itertools import count, takewhile


def primes():
    """Yield 2, 3, 5, 7 … without end."""
    found = []
    for number in count(2):
        if all(number % p for p in takewhile(lambda p: p * p <= number, found)):
            found.append(number)
            yield number


def spiral(size: int = 41) -> list[str]:
    """Draw Ulam's spiral: a dot for each prime, on a walk around the middle."""
    grid = [[" "] * size for _ in range(size)]
    x = y = size // 2
    dx, dy = 1, 0
    last = size * size
    hidden = set(takewhile(lambda p: p <= last, primes()))
    for number in range(1, last + 1):
        if number in hidden:
            grid[y][x] = "▪"
        # turn left at each corner: żółw
        ...
    return ["".join(row) for row in grid]
'''
LIST = "mkdir -p photos src; ln -sf src/primes.py primes; seq 500 > numbers.txt; clear; ls -l --color"
AT_PROMPT = r"""() => {
  if (!aether.term || !aether.facts.isAttached || !aether.facts.isAllSent) return false;
  const buffer = aether.term.buffer.active;
  return /[$] ?$/.test(buffer.getLine(buffer.baseY + buffer.cursorY).translateToString(true));
}"""
ON_SCREEN = """text => {
  const buffer = aether.term.buffer.active;
  const lines = Array.from({ length: buffer.length }, (_, row) => buffer.getLine(row).translateToString(true));
  return lines.join("\\n").includes(text);
}"""


async def enter(page: Page, url: str) -> None:
    """Open a machine's terminal and wait for its prompt and its round trip."""
    await page.goto(url)
    await page.wait_for_function(AT_PROMPT)
    await page.wait_for_function("() => aether.facts.roundTripMs !== null")


async def run(page: Page, command: str, sign: str) -> None:
    """Run a command until the screen shows `sign`."""
    await page.evaluate("text => aether.term.input(text)", f"{command}\r")
    await page.wait_for_function(ON_SCREEN, arg=sign)


async def terminal(page: Page, url: str) -> None:
    """An editor, in the dark."""
    await enter(page, url)
    await run(
        page, "mkdir -p src; clear; printf rea; echo dy; stty -echo; cat > src/primes.py; stty echo; clear", "ready"
    )
    await page.evaluate("text => aether.term.input(text.replaceAll('\\n', '\\r') + '\\x04')", PROGRAM)
    await page.wait_for_function(AT_PROMPT)
    await run(page, "vim -N -u NONE -c 'syntax on' -c 'set nu ruler hls bg=dark' -c 6 src/primes.py", '"""Yield')


async def start(page: Page, url: str) -> None:
    """The start page, with machines in several states."""
    await page.goto(url.partition("?")[0])
    await page.locator("#list tbody tr").nth(2).wait_for()
    await page.locator("#list tbody [data-status=stopped]").wait_for()


async def stopped(page: Page, url: str) -> None:
    """A machine that was stopped."""
    await enter(page, url)
    await run(page, LIST, "numbers.txt")
    await page.wait_for_function(AT_PROMPT)
    await page.locator("#power").click()
    await page.locator("#status[data-status=stopped]").wait_for()


async def phone(page: Page, url: str) -> None:
    """A phone with its key bar; the machine was stopped for another picture."""
    await page.goto(url)
    await page.locator("#notice-action").tap()
    await page.wait_for_function(AT_PROMPT)
    await run(page, LIST, "numbers.txt")
    await page.wait_for_function(AT_PROMPT)
    await run(page, "clear; ls --color; head -n 14 primes", "found = []")
    await page.wait_for_function(AT_PROMPT)


SCENES: list[tuple[Callable[[Page, str], Awaitable[None]], str, dict[str, object]]] = [
    (terminal, "dark", DESK),
    (stopped, "light", DESK),
    (start, "light", {**DESK, "viewport": {"width": 1100, "height": 660}}),
    (phone, "dark", PHONE),
]


async def take(browser: Browser, folder: Path, url: str) -> None:
    """Take all pictures, each in a browser of its own."""
    for scene, scheme, look in SCENES:
        context = await browser.new_context(color_scheme=scheme, **look)
        page = await context.new_page()
        await scene(page, url)
        path = folder / f"{scene.__name__}.png"
        await page.screenshot(path=path)
        print(f"{path.name}: {path.stat().st_size // 1024} KB")
        await context.close()
        if scene is stopped:
            await new_machine(
                url.partition("/terminal")[0], name="build", cpu_kind="performance", cpus=2, memory_mb=4096
            )
            await new_machine(url.partition("/terminal")[0], name="notes", region="ams")


async def main(folder: Path) -> None:
    """Start a server and a machine, take the pictures, end both."""
    with tempfile.TemporaryDirectory(prefix="aether-pictures-") as state:
        aether = Aether("aether", Path(state), "auto", has_acks=False)
        try:
            await aether.start_server()
            machine = await new_machine(aether.url, name="demo")
            async with open_browser("--disable-3d-apis") as browser:
                await take(browser, folder, f"{aether.url}/terminal.html?machine={machine}")
        finally:
            await aether.stop()


if __name__ == "__main__":
    try:
        asyncio.run(main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER))
    except NoBrowser as error:
        sys.exit(f"screenshots: {error}")
