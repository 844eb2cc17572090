"""The runtimes: their names, how isolated their machines are, and what each of them can do."""

import enum
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from aether.emulator.errors import Json
from aether.emulator.runtimes.rootfs import Rootfs


class Isolation(enum.Enum):
    """What separates a machine from the computer it runs on; the value says to users what machines are."""

    NONE = "processes on this computer, not separated from your files: a terminal can read and change whatever you can"
    NAMESPACES = "processes on this computer, separated from each other by bubblewrap, which is not a security sandbox"
    CONTAINER = "containers on this computer"


@dataclass(frozen=True)
class RuntimeInfo:
    """One runtime that can be chosen by name; `isolation` is None where it depends on the computer."""

    name: str
    description: str
    isolation: Isolation | None


AUTO, BWRAP, PLAIN, SSHD = "auto", "bwrap", "plain", "sshd"
FAST = "fast"  # for tests and measurements: its machines serve no SSH
RUNTIMES = (
    RuntimeInfo(AUTO, "bwrap where it works, else plain", None),
    RuntimeInfo(BWRAP, "processes in namespaces of their own", Isolation.NAMESPACES),
    RuntimeInfo(PLAIN, "ordinary processes", Isolation.NONE),
    RuntimeInfo(SSHD, "bwrap, with OpenSSH's server", Isolation.NAMESPACES),
    RuntimeInfo("podman", "containers of their image", Isolation.CONTAINER),
    RuntimeInfo("docker", "containers of their image", Isolation.CONTAINER),
    RuntimeInfo(FAST, "states only, without processes", Isolation.NONE),
)
WITH_SSH = tuple(info for info in RUNTIMES if info.name != FAST)
ENGINES = tuple(info.name for info in RUNTIMES if info.isolation is Isolation.CONTAINER)


class MachineProcess(Protocol):
    """The main process of a running machine, or what stands for it."""

    is_oom_killed: bool  # known once it has ended

    def listen(self) -> None:
        """Let the SSH server accept connections."""

    def stop(self, grace_s: float) -> None:
        """Ask it to end within the grace period, then kill it."""

    def signal(self, number: int) -> None:
        """Send a signal."""

    async def wait(self) -> int:
        """Wait for the end; return the exit code, or a signal's number, negative."""

    async def run(self, command: list[str], stdin: str) -> Json:
        """Run a command inside; return its outcome as the API's `exec` answers it."""


class Runtime(Protocol):
    """How the machines of one emulator are run."""

    isolation: Isolation

    async def boot(
        self, rootfs: Rootfs, listener: socket.socket | None, environment: Mapping[str, str], config: Json
    ) -> MachineProcess:
        """Start the process of a machine, whose SSH port is bound to `listener`; raises BootError, OSError."""

    async def kill_leftovers(self, machine_id: str) -> None:
        """Kill the processes of a machine that has no main process any more."""

    async def remove(self, machine_id: str) -> None:
        """Remove what a destroyed machine has outside of its directory."""
