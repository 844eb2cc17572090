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
        self._has_news = False
        self._publishing: asyncio.Task[None] | None = None

    def flush(self) -> None:
        """Publish what came since the last time; called once a sweep, so that the last word gets out, too."""
        if self._has_news and (self._publishing is None or self._publishing.done()):
            self._publishing = asyncio.create_task(self._send(), name=f"publish {self._machine.id}")

    def note_input(self) -> None:
        """The user typed, or started the machine."""
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
        self._has_news = True
        if now - self._published_at >= PUBLISH_EVERY_S and (self._publishing is None or self._publishing.done()):
            self._publishing = asyncio.create_task(self._send(), name=f"publish {self._machine.id}")

    async def _send(self) -> None:
        """Publish, and once more what came meanwhile if that took long."""
        is_first = True
        while is_first or self._machine.last_activity_at - self._published_at >= PUBLISH_EVERY_S:
            is_first = self._has_news = False
            self._published_at = self._machine.last_activity_at
            text = f"{self._published_at:.0f}"
            try:
                await self._transitions.set_metadata(self._machine.fly_machine_id, META_LAST_ACTIVITY, text)
            except AetherError as error:
                self._has_news = True  # the next sweep tries again
                log.info("machine %s: its activity could not be published: %s", self._machine.id, error)
