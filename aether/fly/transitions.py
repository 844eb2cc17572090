"""Transitions: has Fly start, stop and destroy a machine, and sees it through, with deadlines.

Fly answers each of these calls before the effect; what it refuses in passing is asked again. Sources: Fly docs
"Machine states" and "Machines API, Wait for a machine"; refusals as other projects recorded them.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

from aether.errors import ProviderError, ProviderTimeout
from aether.fly.answers import FlyMachine
from aether.fly.client import FlyClient
from aether.machines import FLY_GONE

START_DEADLINE_S = 300.0  # Fly calls a machine stuck that is `starting` for longer (docs, "Machine states")
STOP_DEADLINE_S = 90.0
STILL_ACTIVE_S = 30.0  # a start may be refused with 412 for some seconds after a stop
WAIT_SLICES_S = (1, 2, 5, 10, 30)


class Transitions:
    """What Fly must be asked, and for how long, to bring a machine into a state.

    Every method raises ProviderError or LimitExceeded when Fly refuses, ProviderTimeout when it does not finish.
    """

    def __init__(
        self,
        client: FlyClient,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._client = client
        self._clock = clock
        self._pause = pause

    async def is_started(self, fly_id: str) -> bool:
        """Say whether the machine runs at Fly now."""
        return (await self._client.get(fly_id)).state == "started"

    async def start(self, fly_id: str, is_launching: bool) -> FlyMachine:
        """Start the machine, unless its creation does that already, and return it once it runs."""
        if not is_launching:
            await self._ask_start(fly_id)
        deadline = self._clock() + START_DEADLINE_S
        slices = iter(WAIT_SLICES_S)
        while self._clock() < deadline:
            is_started = await self._client.wait(fly_id, "started", next(slices, WAIT_SLICES_S[-1]))
            fly = await self._client.get(fly_id)
            if is_started and fly.state == "started":
                return fly
            if fly.state in ("stopped", "failed") or fly.state in FLY_GONE:
                raise ProviderError(f"the machine did not start ({fly.last_error()}); start it again or delete it")
        raise ProviderTimeout(f"the machine did not start within {START_DEADLINE_S:.0f} s; start it again")

    async def ask_stop(self, fly_id: str) -> None:
        """Have the machine stop; answered before it has."""
        await self._client.stop(fly_id)

    async def await_stopped(self, fly_id: str, instance_id: str) -> None:
        """Return once the machine has stopped."""
        deadline = self._clock() + STOP_DEADLINE_S
        while not await self._client.wait(fly_id, "stopped", 30, instance_id):
            if self._clock() > deadline:
                raise ProviderTimeout(f"the machine did not stop within {STOP_DEADLINE_S:.0f} s; stop it again")

    async def destroy(self, fly_id: str) -> None:
        """Destroy the machine, running or not, and return once it is gone."""
        await self._client.destroy(fly_id)
        deadline = self._clock() + STOP_DEADLINE_S
        while not await self._client.wait(fly_id, "destroyed", 30):
            if self._clock() > deadline:
                raise ProviderTimeout("Fly accepted the deletion but did not finish it; delete it again")

    async def _ask_start(self, fly_id: str) -> None:
        """Ask for the start; 412 means "still active" after a stop, or that Fly is at it already."""
        deadline = self._clock() + STILL_ACTIVE_S
        while True:
            try:
                return await self._client.start(fly_id)
            except ProviderError as error:
                if error.status != 412 or self._clock() > deadline:
                    raise
            if (await self._client.get(fly_id)).state in ("created", "starting", "started"):
                return None
            await self._pause(1.0)
