"""Ports that no other run of the tests on this computer uses at the same time, so that none is taken from a machine.

A machine's external port is free while the machine is stopped, and must be there again when it starts. So each
process that runs tests has a slot of its own for as long as it lives, and every port it names is of that slot.
"""

import fcntl
import itertools
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

SLOTS = 25
OF_SERVERS = range(20000, 30000)  # servers draw from these for their machines
OF_TESTS = range(15000, 20000)  # tests name these; both are below the ports that the kernel hands out


class Slot:
    """This process' share of the ports; other processes have other shares while it lives."""

    def __init__(self) -> None:
        self._number, self._lock = next(free_slots())
        self._own = itertools.cycle(self._share(OF_TESTS))

    def _share(self, ports: range) -> range:
        size = len(ports) // SLOTS
        return ports[self._number * size : (self._number + 1) * size]

    @property
    def of_servers(self) -> str:
        """AETHER_SSH_PORTS for a server under test."""
        share = self._share(OF_SERVERS)
        return f"{share[0]}-{share[-1]}"

    def __next__(self) -> int:
        """Return a port that no other test has, and that no other program on the computer listens on."""
        return next(port for port in self._own if is_free(port))

    def close(self) -> None:
        """Leave the slot to others."""
        self._lock.close()


def free_slots() -> Iterator[tuple[int, TextIO]]:
    """Lock the slots that are free, one by one; the lock goes with its process."""
    folder = Path(tempfile.gettempdir()) / "aether-test-ports"
    folder.mkdir(exist_ok=True)
    for number in range(SLOTS):
        lock = (folder / str(number)).open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
        else:
            yield number, lock
    raise RuntimeError(f"{SLOTS} processes run tests on this computer already; wait until one has ended")


def is_free(port: int) -> bool:
    """Say whether no program holds a port."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what has ended is no obstacle
        return sock.connect_ex(("127.0.0.1", port)) != 0
