"""ActivityPublisher: notes when a machine is used, and shares that with other servers in the machine's metadata."""

import asyncio
import logging
import time
from collections.abc import Callable

from aether.errors import AetherError, ProviderError
from aether.fly.answers import FlyMachine
from aether.fly.operations import Operations
from aether.fly.template import META_LAST_ACTIVITY
from aether.machines import Machine

log = logging.getLogger(__name__)

PUBLISH_EVERY_S = 60.0


class ActivityPublisher:
    """One machine's activity.

    It is published when it begins anew, and then at most once in PUBLISH_EVERY_S: what another server over the same
    machines reads, before it stops one, is at most so old.
    """

    def __init__(self, machine: Machine, operations: Operations, clock: Callable[[], float] = time.time) -> None:
        self._machine = machine
        self._operations = operations
        self._clock = clock
        self._published_at = 0.0
        self._has_news = False
        self._publishing: asyncio.Task[None] | None = None

    def note_input(self) -> None:
        """Note that the user typed, or started the machine."""
        self._machine.note_input(now := self._clock())
        self._publish(now)

    def note_output(self) -> None:
        """Note that a program wrote."""
        self._machine.note_output(now := self._clock())
        if self._machine.last_activity_at == now:
            self._publish(now)

    def flush(self) -> None:
        """Publish what is not published yet; called once a sweep, so that a minute's last activity gets out, too."""
        if self._has_news and not self._is_publishing():
            self._begin()

    def take(self, fly: FlyMachine) -> None:
        """Count what users of other servers do; metadata can be forged, so a time in the future counts as now."""
        text = fly.metadata.get(META_LAST_ACTIVITY, "")
        if text.isascii() and text.isdecimal():
            self._machine.last_activity_at = max(self._machine.last_activity_at, min(float(text), self._clock()))

    async def refresh(self) -> None:
        """Read what other servers have published; raise ProviderError where that is unknown."""
        fly = await self._operations.get(self._machine.fly_machine_id)
        if fly is None:
            raise ProviderError("the machine is gone from Fly")
        if not fly.is_reachable:
            raise ProviderError("Fly does not reach the machine's host, so whether it is used elsewhere is unknown")
        self.take(fly)

    async def published(self) -> None:
        """Wait until nothing is being published."""
        if self._publishing is not None:
            await asyncio.wait([self._publishing])

    async def close(self) -> None:
        """Publish no more."""
        if self._publishing is not None:
            self._publishing.cancel()
            await asyncio.wait([self._publishing])

    def _publish(self, now: float) -> None:
        self._has_news = True
        if now - self._published_at >= PUBLISH_EVERY_S and not self._is_publishing():
            self._begin()

    def _is_publishing(self) -> bool:
        return self._publishing is not None and not self._publishing.done()

    def _begin(self) -> None:
        self._publishing = asyncio.create_task(self._send(), name=f"publish {self._machine.id}")

    async def _send(self) -> None:
        """Publish, and once more what came meanwhile if that took long."""
        is_first = True
        while is_first or self._machine.last_activity_at - self._published_at >= PUBLISH_EVERY_S:
            is_first = self._has_news = False
            self._published_at = self._machine.last_activity_at
            text = f"{self._published_at:.0f}"
            try:
                await self._operations.set_metadata(self._machine.fly_machine_id, META_LAST_ACTIVITY, text)
            except AetherError as error:
                self._has_news = True  # the next sweep tries again
                log.info("machine %s: its activity could not be published: %s", self._machine.id, error)
