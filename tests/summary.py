"""What a run says at its end: where the time went, and how to run a part of the tests."""

import sys
from collections import Counter
from pathlib import Path

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the seconds of each folder; the slowest tests are pytest's own `--durations`."""
    seconds: Counter[str] = Counter()
    tests: dict[str, set[str]] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                folder = str(Path(report.nodeid.partition("::")[0]).parent)
                seconds[folder] += report.duration
                tests.setdefault(folder, set()).add(report.nodeid)
    if len(tests) < 2:  # one file or folder, which the one who asked for it knows
        return
    terminalreporter.section("seconds per folder")
    for folder, spent in seconds.most_common():
        terminalreporter.write_line(f"{spent:8.1f} s  {len(tests[folder]):5} tests  {folder}")
    minor = f"{sys.version_info.major}{sys.version_info.minor}"
    terminalreporter.write_line(f"one file on this Python: TOX_ENV=py{minor} ./scripts/test tests/test_machines.py")
    terminalreporter.write_line("what needs no process, browser or socket: ./scripts/test -x -m quick")
