"""Which tests belong together: on one worker, in one Python only, or among those that need nothing but Python.

The order is `pytest-randomly`'s, whose seed the run prints; `-p "randomly_seed=…"` repeats it.
"""

import os
import sys
from typing import Any

import pytest

ROOM_OF_ITS_OWN = "tests/page/"  # one browser and one server for all of them: they stay together
SAME_IN_EACH_PYTHON = (  # what they test does not run in the Python that runs them, or is a script of ours
    "tests/page/",
    "tests/test_bench.py",
    "tests/test_build_image.py",
    "tests/test_deploy.py",
    "tests/test_image.py",
    "tests/test_infra.py",
    "tests/test_machine_sshd.py",
)
OUTSIDE = frozenset(
    {"os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "socket.bind", "socket.connect", "subprocess.Popen"}
)
"""What a `quick` test does not do, as the interpreter's audit events (docs.python.org, "Audit events table")."""


class Audit:
    """Notes what a quick test does that it may not."""

    def __init__(self) -> None:
        self.is_on = False
        self.seen: list[str] = []
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.is_on and event in OUTSIDE:
            self.seen.append(event)


AUDIT = Audit()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "outside: the test itself starts a process or opens a socket, without a fixture")
    config.addinivalue_line("markers", "quick: needs no process, no browser and no socket")
    config.addinivalue_line("markers", "same_in_each_python: runs in one of the Pythons only")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test; keep those together that share a browser."""
    for item in items:
        if item.nodeid.startswith(SAME_IN_EACH_PYTHON):
            item.add_marker("same_in_each_python")
    items.sort(key=lambda item: item.nodeid.startswith(ROOM_OF_ITS_OWN))


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
