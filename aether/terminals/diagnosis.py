"""Diagnosis: why a machine's shells are gone, or cannot be opened."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Protocol

from aether.errors import AetherError
from aether.terminals.shell import Activity

DIAGNOSES = 3
PAUSE_S = 0.5


class TerminalMachine(Protocol):
    """What terminals need of their machine."""

    @property
    def activity(self) -> Activity:
        """Where input and output are noted."""

    async def until_running(self) -> None:
        """Return once the machine runs; raise MachineNotRunning if it will not."""

    def ended_error(self) -> AetherError | None:
        """Return why a machine has no terminals any more, None while it runs."""

    async def check(self) -> None:
        """Ask the provider for the machine's state now; raise AetherError if it does not say."""

    def note_sessions(self, are_kept: bool, reason: str | None) -> None:
        """Note whether the machine keeps sessions, and why not."""


class Diagnosis:
    """Asks the provider, once for all terminals of a machine that want to know at the same time.

    Args:
        pause: how to wait between two questions.
    """

    def __init__(self, machine: TerminalMachine, pause: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._machine = machine
        self._pause = pause
        self._checking: asyncio.Task[None] | None = None

    async def ended_error(self) -> AetherError | None:
        """Return why the machine has no terminals any more, None if it runs, as far as the provider knows."""
        if self._checking is None or self._checking.done():
            self._checking = asyncio.create_task(self._check(), name="check a machine")
        await asyncio.shield(self._checking)
        return self._machine.ended_error()

    async def why_gone(self) -> AetherError | None:
        """Return why a machine's shell is gone that did not exit, None if only the connection was lost.

        Fly may notice the end of a machine later than we do, so it is asked up to DIAGNOSES times.
        """
        for number in range(DIAGNOSES):
            if number:
                await self.pause()
            if (error := await self.ended_error()) is not None:
                return error
        return None

    async def pause(self) -> None:
        """Wait a little before the next attempt."""
        await self._pause(PAUSE_S)

    async def _check(self) -> None:
        with contextlib.suppress(AetherError):
            await self._machine.check()
