"""Which tests belong together: on one worker, in one Python only, or among those that need nothing but Python.

The order is `pytest-randomly`'s, whose seed the run prints; `--randomly-seed` repeats it.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

ROOM_OF_ITS_OWN = "tests/page/"  # one browser and one server for all of them: they stay together
SAME_IN_EACH_PYTHON = (  # they test scripts, images and what runs in a browser; the Python below is tested elsewhere
    "tests/page/",
    "tests/test_bench.py",
    "tests/test_build_image.py",
    "tests/test_deploy.py",
    "tests/test_image.py",
    "tests/test_infra.py",
    "tests/test_machine_sshd.py",
)
OUTSIDE = frozenset(
    {
        *("os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.system", "subprocess.Popen"),
        *("socket.bind", "socket.connect"),
    }
)
"""What a `quick` test does not do, as the interpreter's audit events (docs.python.org, "Audit events table")."""


OUTSIDE_FIXTURES = frozenset(
    {
        *("aether", "boot", "connect", "emulate", "emulator", "engine", "flooded", "http_server", "install"),
        *(
            "machine_image",
            "make_pool",
            "need",
            "open_emulator",
            "run",
            "runtime",
            "scripted_client",
            "serve",
            "server",
        ),
        *("serve", "sharing", "spawn_emulator", "ssh", "world"),
    }
)
"""What starts processes or opens sockets for its test; a test that does so itself is marked `outside`."""


class Audit:
    """Notes what a quick test does that it may not."""

    def __init__(self) -> None:
        self.is_on = False
        self.seen: list[str] = []
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.is_on and event in OUTSIDE:
            self.seen.append(event)

    @contextmanager
    def of(self, item: pytest.Item) -> Iterator[None]:
        """Fail a quick test that is none."""
        self.seen.clear()
        self.is_on = item.get_closest_marker("quick") is not None
        try:
            yield
        finally:
            self.is_on = False
        if self.seen:
            pytest.fail(f"mark {item.nodeid} as `outside`, or name its fixture in grouping.py: {self.seen}", False)


AUDIT = Audit()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "outside: the test itself starts a process or opens a socket, without a fixture")
    config.addinivalue_line("markers", "quick: needs no process, browser or socket; given by tests/grouping.py")
    config.addinivalue_line("markers", "same_in_each_python: runs in one of the Pythons; given by tests/grouping.py")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test; keep those together that share a browser."""
    for item in items:
        if item.nodeid.startswith(SAME_IN_EACH_PYTHON):
            item.add_marker("same_in_each_python")
        if item.get_closest_marker("outside") is None and OUTSIDE_FIXTURES.isdisjoint(item.fixturenames):
            item.add_marker("quick")
    items.sort(key=lambda item: item.nodeid.startswith(ROOM_OF_ITS_OWN))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    with AUDIT.of(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    with AUDIT.of(item):
        return (yield)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give whole files to the workers, those with most tests first."""
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return ROOM_OF_ITS_OWN if nodeid.startswith(ROOM_OF_ITS_OWN) else super()._split_scope(nodeid)

    return ByFile(config, log)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Have one more than there are processors: each waits at times, for a process or the network."""
    return (os.cpu_count() or 1) + 1
