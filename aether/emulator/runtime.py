"""What a life runs in: what every runtime can do, and what all machines of one emulator share."""

import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from aether.emulator.edge import Edge
from aether.emulator.faults import Faults
from aether.emulator.options import Options
from aether.emulator.record import Json
from aether.emulator.rootfs import Rootfs, Trash


class Guest(Protocol):
    """The process of a running machine, or what stands for it."""

    is_oom_killed: bool  # once it has ended

    def listen(self) -> None:
        """Let SSH be answered."""

    def stop(self, grace_s: float) -> None:
        """Ask it to end."""

    def signal(self, number: int) -> None:
        """Send a signal."""

    async def wait(self) -> int:
        """Wait for the end and answer the exit code."""

    async def run(self, command: list[str], stdin: str) -> Json:
        """Run a command inside."""


class Runtime(Protocol):
    """How machines are run: as processes (`sandbox`), as containers (`containers`) or only as states (`fast`)."""

    is_contained: bool  # whether all that a machine started ends with its first process

    async def boot(
        self, rootfs: Rootfs, listener: socket.socket | None, environment: Mapping[str, str], config: Json
    ) -> Guest:
        """Start a guest."""

    async def sweep(self, machine_id: str) -> None:
        """End what a machine left behind."""

    async def remove(self, machine_id: str) -> None:
        """Remove what a destroyed machine has outside of its directory."""


@dataclass(frozen=True)
class Host:
    """What the machines of one emulator share."""

    runtime: Runtime
    trash: Trash
    options: Options
    faults: Faults
    sleep: Callable[[float], Awaitable[None]]
    edge: Edge
