"""ActivityPublisher: notes what a terminal's user does, and lets other servers know through the machine's metadata."""

import asyncio
import logging
import time
from collections.abc import Callable

from aether.errors import AetherError
from aether.fly.config import META_LAST_ACTIVITY
from aether.fly.transitions import Transitions
from aether.machines import Machine

log = logging.getLogger(__name__)

PUBLISH_EVERY_S = 60.0


class ActivityPublisher:
    """One machine's activity.

    It is published when it begins anew, and then at most once a minute: another server over the same machines, which
    looks again before it stops one, is never wrong by more than that.
    """

    def __init__(self, machine: Machine, transitions: Transitions, clock: Callable[[], float] = time.time) -> None:
        self._machine = machine
        self._transitions = transitions
        self._clock = clock
        self._published_at = 0.0
        self._publishing: asyncio.Task[None] | None = None

    def note_input(self) -> None:
        """The user typed."""
        self._machine.note_input(now := self._clock())
        self._publish(now)

    def note_output(self) -> None:
        """A program wrote."""
        self._machine.note_output(now := self._clock())
        if self._machine.last_activity_at == now:
            self._publish(now)

    async def close(self) -> None:
        """Publish no more."""
        if self._publishing is not None:
            self._publishing.cancel()
            await asyncio.wait([self._publishing])

    def _publish(self, now: float) -> None:
        if now - self._published_at >= PUBLISH_EVERY_S and (self._publishing is None or self._publishing.done()):
            self._publishing = asyncio.create_task(self._send(), name=f"publish {self._machine.id}")

    async def _send(self) -> None:
        """Publish, and once more what came meanwhile if that took long."""
        while self._machine.last_activity_at - self._published_at >= PUBLISH_EVERY_S:
            self._published_at = self._machine.last_activity_at
            text = f"{self._published_at:.0f}"
            try:
                await self._transitions.set_metadata(self._machine.fly_machine_id, META_LAST_ACTIVITY, text)
            except AetherError as error:
                log.info("machine %s: its activity could not be published: %s", self._machine.id, error)
