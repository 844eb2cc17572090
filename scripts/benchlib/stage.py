"""Stage: the contenders that could be started, and the interleaved rounds they are measured in."""

import asyncio
import contextlib
import math
import os
import re
import statistics
import sys
import tempfile
from argparse import Namespace
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable
from pathlib import Path

from benchlib.aether_server import Aether
from benchlib.contenders import Asyncssh, Contender, LocalPty, NotAvailable, OpenSsh
from benchlib.peers import ClientFloor, Terminado, Webssh
from benchlib.processes import ServerFailed
from benchlib.sshd import Sshd

NAMES = ("client", "pty", "openssh", "asyncssh", "aether", "plain", "terminado", "webssh")
Figures = dict[str, float]
Measure = Callable[["Stage", Contender], Awaitable[Figures]]
MIB = 1024 * 1024


class Stage:
    """What is measured, with what options; also the list of what could not be."""

    def __init__(self, options: Namespace) -> None:
        self.options = options
        self.contenders: list[Contender] = []
        self.troubles: list[str] = []
        self.failed: set[str] = set()  # contenders that are there, but broke
        self.raw: dict[str, dict[str, list[Figures]]] = {}

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator["Stage"]:
        """Start everything in a folder of its own; end everything, whatever happens."""
        async with contextlib.AsyncExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aether-bench-")))
            folder.chmod(0o755)  # noqa: ASYNC240
            sshd = Sshd(_subfolder(folder, "sshd"))
            if set(self.options.only) & {"openssh", "asyncssh", "webssh"}:
                stack.push_async_callback(sshd.stop)
                try:
                    await sshd.start()
                except ServerFailed as error:
                    self.trouble("sshd", error)
            for name in self.options.only:
                await self._start(self._make(name, _subfolder(folder, name), sshd), stack)
            yield self

    async def rounds(self, title: str, measure: Measure, rounds: int, only: Iterable[str] = NAMES) -> None:
        """Measure contender after contender, `rounds` times; a trouble of one is noted, and the others go on."""
        chosen = [one for one in self.contenders if re.split("[@+]", one.name)[0] in only]
        found = self.raw.setdefault(title, {})
        for number in range(1, rounds + 1):
            for contender in list(chosen):
                say(f"{title}: round {number}/{rounds}, {contender.name}")
                try:
                    figures = await measure(self, contender)
                except Exception as error:
                    self.trouble(f"{title}, {contender.name}", error)
                    self.failed.add(contender.name)
                    chosen.remove(contender)
                    continue
                found.setdefault(contender.name, []).append(figures)
        say("")

    def medians(self, title: str, facts: Collection[str] = ()) -> dict[str, Figures]:
        """Return the medians over the rounds of a benchmark; of `facts`, the worst round."""
        return {
            name: {key: (min if key in facts else median)([run[key] for run in runs if key in run]) for key in runs[0]}
            for name, runs in self.raw.get(title, {}).items()
        }

    def _make(self, name: str, folder: Path, sshd: Sshd) -> Contender:
        options = self.options
        known: dict[str, Callable[[], Contender]] = {
            "client": lambda: ClientFloor(folder),
            "pty": lambda: LocalPty(folder),
            "openssh": lambda: OpenSsh(sshd),
            "asyncssh": lambda: Asyncssh(sshd),
            "terminado": lambda: Terminado(folder),
            "webssh": lambda: Webssh(folder, sshd),
        }
        if name in known:
            return known[name]()
        return Aether(name, folder, options.aether_runtime, options.acks)

    async def _start(self, contender: Contender, stack: contextlib.AsyncExitStack) -> None:
        say(f"starting {contender.name}")
        stack.push_async_callback(contender.stop)
        try:
            await contender.start()
        except NotAvailable as error:
            say("")
            print(f"  {contender.name}: {error}", file=sys.stderr)
            self.troubles.append(f"{contender.name}: {error}")
            return
        except Exception as error:
            self.trouble(contender.name, error)
            self.failed.add(contender.name)
            return
        self.contenders.append(contender)

    def trouble(self, where: str, error: BaseException) -> None:
        """Note what could not be measured, and why."""
        text = f"{where}: {type(error).__name__}: {str(error).strip()[-400:]}"
        say("")
        print(f"  {text}", file=sys.stderr)
        self.troubles.append(text)
        if os.environ.get("AETHER_BENCH_TRACE"):
            import traceback  # noqa: PLC0415

            traceback.print_exception(error)


def say(text: str) -> None:
    """Show what goes on, on one line that is written over."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text[:110]}", end="", file=sys.stderr, flush=True)
    elif text:
        print(f"… {text}", file=sys.stderr, flush=True)


def median(values: list[float]) -> float:
    """Return the median; of a figure that was never reached in half of the rounds or more, infinity."""
    return statistics.median(values) if values else math.nan


def percentile(values: list[float], part: float) -> float:
    """Return the value that `part` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(part * len(ordered)) - 1)]


async def or_never(awaitable: Awaitable[None]) -> bool:
    """Await; return whether it came before its time-out."""
    try:
        await awaitable
    except TimeoutError:
        return False
    return True


async def pause(seconds: float) -> None:
    """Let a flood flow; the only use of time in place of a sentinel."""
    await asyncio.sleep(seconds)


def _subfolder(folder: Path, name: str) -> Path:
    path = folder / name.replace("/", "_")
    path.mkdir(mode=0o755)
    return path
