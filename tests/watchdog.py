"""A watchdog for every test: what takes a minute fails, and says what it was waiting for.

It says where each task and each thread stands, and how the logs end. SIGALRM brings it, so it finds the one thread of
the tests wherever that is: in the event loop, in a `wait` for a process or in a loop of its own.
"""

import asyncio
import contextlib
import io
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest

from tests.patience import AGAIN_S

BEGUN_AT = pytest.StashKey[float]()
PATIENCE_S = 60.0
LOG_TAIL = 3000  # characters of each log that was written to meanwhile


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "patience(seconds): the watchdog gives this test so long instead of a minute")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    with watched(item, "its fixtures are made"):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    with watched(item, "it runs"):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    with watched(item, "its fixtures end"):
        return (yield)


@contextmanager
def watched(item: pytest.Item, phase: str) -> Iterator[None]:
    """Fail the test with all that is known where it takes too long."""
    marker = item.get_closest_marker("patience")
    seconds = marker.args[0] if marker else PATIENCE_S
    since = item.stash.setdefault(BEGUN_AT, time.time())

    def bark(number: int, frame: FrameType | None) -> None:
        said = f"{item.nodeid}: {seconds:g} s have passed while {phase}\n{report(item, frame, since)}"
        pytest.fail(said, pytrace=False)

    before = signal.signal(signal.SIGALRM, bark)
    signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def report(item: pytest.Item, frame: FrameType | None, since: float) -> str:
    """Say where everything stands, and what the logs say since a time (seconds since the epoch)."""
    fixtures: dict[str, Any] = getattr(item, "funcargs", {})
    text = io.StringIO()
    for title, lines in (
        ("the tests' thread", traceback.format_stack(frame)),
        *other_threads(),
        *tasks(fixtures.get("io_loop")),
        *logs(fixtures, item, since),
    ):
        text.write(f"\n--- {title}\n{''.join(lines)}")
    return text.getvalue()


def other_threads() -> Iterator[tuple[str, list[str]]]:
    """Yield the stack of each thread but ours."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for ident, frame in sys._current_frames().items():
        if ident != threading.get_ident():
            yield f"thread {names.get(ident, ident)}", traceback.format_stack(frame)


def tasks(io_loop: Any) -> Iterator[tuple[str, list[str]]]:
    """Yield where each task of the running event loop, or the test's, stands: its coroutine down to what it awaits."""
    loop = asyncio._get_running_loop() or (io_loop and io_loop.asyncio_loop)
    for task in asyncio.all_tasks(loop) if loop else ():
        yield f"task {task.get_name()}", [*awaiting(task.get_coro()), f"  waits for {task._fut_waiter!r}\n"]


def awaiting(coroutine: Any) -> Iterator[str]:
    """Yield a line for each coroutine that awaits the next one."""
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "ag_frame", None)
        if frame is not None:
            yield from traceback.format_list(traceback.StackSummary.extract([(frame, frame.f_lineno)]))
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "ag_await", None)


def logs(fixtures: dict[str, Any], item: pytest.Item, since: float) -> Iterator[tuple[str, list[str]]]:
    """Yield the end of this process' log and of each log file that has grown in the tests' folders."""
    if (caplog := fixtures.get("caplog")) is not None:
        yield "log", [caplog.text[-LOG_TAIL:]]
    # where the fixture of that name has it from, which a test that hangs need not have asked for
    folders: pytest.TempPathFactory = item.config._tmp_path_factory  # type: ignore[attr-defined]
    for path in sorted(folders.getbasetemp().rglob("*log")):
        with contextlib.suppress(OSError):  # gone between two looks
            if path.is_file() and path.stat().st_mtime >= since:
                yield path.name, [path.read_text(errors="replace")[-LOG_TAIL:]]
