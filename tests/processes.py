"""Processes below a test, looked at while they come and go: one that has ended between two looks is no error."""

import contextlib
import os
from collections.abc import Iterable

import psutil


def below(name: str = "", argument: str = "", pid: int | None = None) -> list[psutil.Process]:
    """Return the descendants of a process, ours by default, whose name begins so and that have such an argument."""
    found = []
    for process in psutil.Process(pid or os.getpid()).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.name().startswith(name) and (not argument or argument in process.cmdline()):
                found.append(process)
    return found


def supervisor() -> psutil.Process:
    """Return the supervisor of the one machine that runs below us; a child of it looks like one until its exec."""
    found = below("python", "aether.emulator.guest.supervisor")
    pids, first = {process.pid for process in found}, []
    for process in found:
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.ppid() not in pids:
                first.append(process)
    [process] = first
    return process


def alive(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Return those that still run; a zombie only waits for its parent to notice."""
    found = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found
