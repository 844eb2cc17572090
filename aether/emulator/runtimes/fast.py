"""Machines without processes, so that there can be thousands: a machine is a state, its SSH port only a number."""

import asyncio
import socket
from collections.abc import Mapping

from aether.emulator.errors import ApiError, Json
from aether.emulator.runtimes.base import Isolation
from aether.emulator.runtimes.rootfs import Rootfs


class FastProcess:
    """Stands for the process of a running machine."""

    is_oom_killed = False

    def __init__(self) -> None:
        self._ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def listen(self) -> None:
        """Do nothing: there is no SSH server."""

    def stop(self, grace_s: float) -> None:
        """End at once, with exit code 0."""
        self._end(0)

    def signal(self, number: int) -> None:
        """End by a signal."""
        self._end(-number)

    def _end(self, code: int) -> None:
        if not self._ended.done():
            self._ended.set_result(code)

    async def wait(self) -> int:
        """Wait for the end; return the exit code."""
        return await asyncio.shield(self._ended)

    async def run(self, command: list[str], stdin: str) -> Json:
        """Refuse: there is nothing to run a command in."""
        raise ApiError(501, "unimplemented: the emulator's fast runtime cannot run commands")


class FastRuntime:
    """Runs machines without processes, of which only the records are on disk."""

    isolation = Isolation.NONE

    async def boot(
        self, rootfs: Rootfs, listener: socket.socket | None, environment: Mapping[str, str], config: Json
    ) -> FastProcess:
        """Return what stands for the process."""
        return FastProcess()

    async def kill_leftovers(self, machine_id: str) -> None:
        """Do nothing: there are no processes."""

    async def remove(self, machine_id: str) -> None:
        """Do nothing: it has nothing outside of its directory."""
