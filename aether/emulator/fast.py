"""Machines without a process, for thousands of them: a running machine is a state and an SSH port only a number."""

import asyncio
import socket
from collections.abc import Mapping

from aether.emulator.record import Json
from aether.emulator.requests import ApiError
from aether.emulator.rootfs import Rootfs


class FastGuest:
    """Stands for the process of a running machine."""

    is_oom_killed = False

    def __init__(self) -> None:
        self._ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def listen(self) -> None:
        """Nothing listens."""

    def stop(self, grace_s: float) -> None:
        """End at once, in good order."""
        self._end(0)

    def signal(self, number: int) -> None:
        """End by a signal."""
        self._end(-number)

    def _end(self, code: int) -> None:
        if not self._ended.done():
            self._ended.set_result(code)

    async def wait(self) -> int:
        """Wait for the end and answer the exit code."""
        return await asyncio.shield(self._ended)

    async def run(self, command: list[str], stdin: str) -> Json:
        """Refuse: there is nothing a command could run in."""
        raise ApiError(501, "unimplemented: the emulator's fast runtime cannot run commands")


class FastRuntime:
    """How machines without processes are run; nothing of theirs but the record is on disk."""

    is_contained = False

    async def boot(
        self, rootfs: Rootfs, listener: socket.socket | None, environment: Mapping[str, str], config: Json
    ) -> FastGuest:
        """Start what stands for a guest."""
        return FastGuest()

    async def sweep(self, machine_id: str) -> None:
        """Nothing can be left behind."""

    async def remove(self, machine_id: str) -> None:
        """Nothing is anywhere else."""
