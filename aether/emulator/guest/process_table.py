"""The process table of a machine (proc(5)): who leads the session of a terminal, and how such a shell is hung up.

A PTY host's shells are found here: a client that is lost hangs up none of them, so the end of the machine does. Without
a /proc, as on macOS, there are none.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

_CONNECTED = "03"  # the state of a socket, in /proc/net/unix


class Process(NamedTuple):
    """One line of the process table."""

    pid: int
    name: str
    is_asleep: bool
    parent: int
    session: int
    terminal: int  # its device number, 0 without one
    foreground: int  # process group of its terminal, -1 without one


def processes() -> dict[int, Process]:
    """Read the process table (proc(5), /proc/pid/stat)."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            head, _, tail = path.read_text(errors="replace").rpartition(")")
            pid, _, name = head.partition(" (")
            fields = tail.split()
            parent, _, session, terminal, foreground = map(int, fields[1:6])
            found[int(pid)] = Process(int(pid), name, fields[0] == "S", parent, session, terminal, foreground)
    return found


def leaders(table: Mapping[int, Process]) -> Iterator[Process]:
    """Find the shells: each leads the session of a terminal."""
    for process in table.values():
        if process.terminal and process.session == process.pid:
            yield process


def below(table: Mapping[int, Process], pid: int) -> dict[int, Process]:
    """Find the descendants of a process."""
    found: dict[int, Process] = {}
    parents = {pid}
    while parents:
        children = {process.pid: process for process in table.values() if process.parent in parents}
        parents = children.keys() - found.keys()
        found |= children
    return found


def hang_up(shell: Process) -> None:
    """Send SIGHUP to a shell and the foreground job of its terminal, unless they are another user's (sudo)."""
    for group in {shell.pid, shell.foreground} - {-1, 0}:
        for number in (signal.SIGHUP, signal.SIGCONT):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(group, number)


def wake(shell: Process) -> None:
    """Send SIGWINCH to a shell that may have missed its SIGHUP."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(shell.pid, signal.SIGWINCH)


def end_of(pid: int) -> "asyncio.Future[None]":
    """Return a future that is done when the process has ended."""
    loop = asyncio.get_running_loop()
    end: asyncio.Future[None] = loop.create_future()
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        end.set_result(None)
        return end

    def done(_: "asyncio.Future[None]") -> None:
        loop.remove_reader(fd)
        os.close(fd)

    loop.add_reader(fd, end.set_result, None)
    end.add_done_callback(done)
    return end


def serve_clients(pids: Iterable[int]) -> bool:
    """Say whether any of the processes has a client on a Unix socket: one that it accepted has the listener's path."""
    sockets = set()
    with contextlib.suppress(OSError):
        for line in Path("/proc/net/unix").read_text(errors="replace").splitlines():
            fields = line.split(maxsplit=7)  # number, references, protocol, flags, type, state, inode, path
            if len(fields) > 7 and fields[5] == _CONNECTED:
                sockets.add(f"socket:[{fields[6]}]")
    return any(link in sockets for pid in pids for link in _descriptors(pid))


def _descriptors(pid: int) -> Iterator[str]:
    with contextlib.suppress(OSError):
        for path in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                yield str(path.readlink())
