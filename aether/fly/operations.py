"""Operations: what aether asks Fly to do with a machine, seen through to its end, with deadlines.

Fly answers each of these calls before the effect; what it refuses only for the moment is asked again. Sources: Fly docs
"Machine states" and "Machines API, Wait for a machine"; refusals as other projects recorded them.
"""

import asyncio
import contextlib
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any

from aether.errors import AetherError, LimitExceeded, ProviderError, ProviderTimeout
from aether.fly.answers import FlyMachine
from aether.fly.client import FlyClient
from aether.machines import FLY_GONE, FLY_HALTED

START_DEADLINE_S = 300.0  # Fly calls a machine stuck that is `starting` for longer (docs, "Machine states")
STOP_DEADLINE_S = 90.0
CREATE_ATTEMPTS = 3
REPLICA_LAG_S = 15.0  # a machine may be unknown for some seconds after its creation (flyctl#4618)
STILL_ACTIVE_S = 30.0  # a start may be refused with 412 for some seconds after a stop
NAME_TAKEN = re.compile(r"unique machine name violation, machine ID (\w+)")
WAIT_SLICES_S = (1, 2, 5, 10, 30)


class Operations:
    """The one road from the fleet to Fly.

    Every method raises ProviderError or LimitExceeded when Fly refuses, ProviderTimeout when it does not finish.

    Args:
        clock: seconds on a steady clock.
        pause: how to wait before a question is asked again.
        replica_lag_s: how long a new machine may be unknown to some of Fly's replicas.
    """

    def __init__(
        self,
        client: FlyClient,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        replica_lag_s: float = REPLICA_LAG_S,
    ) -> None:
        self._client = client
        self._clock = clock
        self._pause = pause
        self._replica_lag_s = replica_lag_s

    # Reading.

    async def list(self, metadata: dict[str, str]) -> list[FlyMachine]:
        """List the machines that carry all of `metadata` and are not gone; the list may be out of date."""
        return [fly for fly in await self._client.list(metadata) if fly.state not in FLY_GONE]

    async def get(self, fly_id: str) -> FlyMachine | None:
        """Read the machine, None if it is gone."""
        try:
            fly = await self._client.get(fly_id)
        except ProviderError as error:
            if error.status == 404:
                return None
            raise
        return None if fly.state in FLY_GONE else fly

    async def try_get(self, fly_id: str) -> FlyMachine | None:
        """Read the machine; None if it cannot be read or is gone."""
        with contextlib.suppress(AetherError):
            return await self.get(fly_id)
        return None

    async def get_confirmed(self, fly_id: str) -> FlyMachine | None:
        """Read the machine; None only if two readings say that it is gone (flyctl#4618: replicas lag)."""
        fly = await self.get(fly_id)
        if fly is None:
            await self._pause(1.0)
            fly = await self.get(fly_id)
        return fly

    async def get_halted(self, fly_id: str) -> FlyMachine | None:
        """Read a machine that should run; return it only if two readings say that it has stopped or is stopping."""
        fly = await self.try_get(fly_id)
        if _is_halted(fly):
            await self._pause(1.0)
            fly = await self.try_get(fly_id)
        return fly if _is_halted(fly) else None

    # Creation.

    async def create(self, name: str, region: str, config: dict[str, Any], mark: tuple[str, str]) -> FlyMachine:
        """Create exactly one machine, whatever becomes of the answer.

        Fly's create has no idempotency key, but names are unique in an app, and `mark` is a pair of metadata that no
        other machine carries. After an answer that leaves it open whether the machine was made (408, 5xx, none at
        all), the machine is looked for and adopted, else made again; a 409 over the name is our own earlier attempt.
        """
        for attempt in range(1, CREATE_ATTEMPTS + 1):
            try:
                return await self._client.create(name, region, config)
            except (ProviderError, ProviderTimeout, LimitExceeded) as error:
                found = await self._find_created(error, mark)
                if found is not None:
                    return found
                if attempt == CREATE_ATTEMPTS or not _may_have_happened(error):
                    raise
        raise AssertionError("unreachable")

    async def _find_created(self, error: AetherError, mark: tuple[str, str]) -> FlyMachine | None:
        """Look for the machine that a failed create may have made."""
        named = NAME_TAKEN.search(str(error))
        if named is not None:
            fly = await self.get(named[1])
            return fly if fly is not None and fly.metadata.get(mark[0]) == mark[1] else None
        if not _may_have_happened(error):
            return None
        await self._pause(1.0)  # the list is served from a replica
        with contextlib.suppress(AetherError):  # then the next attempt, or its 409, will tell
            for fly in await self.list(dict([mark])):
                if fly.metadata.get(mark[0]) == mark[1]:
                    return fly
        return None

    async def set_metadata(self, fly_id: str, key: str, value: str) -> None:
        """Set one key of the machine's metadata."""
        await self._client.set_metadata(fly_id, key, value)

    async def set_metadata_of_new(self, fly_id: str, key: str, value: str) -> None:
        """Set a key of a machine created just now, which some replica may not know yet.

        A state that goes on refusing it is no error (whether `created` does is not established): ask again later.
        """
        lag_ends = self._clock() + self._replica_lag_s
        while True:
            try:
                return await self._client.set_metadata(fly_id, key, value)
            except ProviderError as error:
                is_late = self._clock() > lag_ends
                if is_late and error.status in (409, 412):
                    return None
                if is_late or error.status not in (404, 409, 412):
                    raise
            await self._pause(1.0)

    # Start.

    async def start(self, fly_id: str, is_launching: bool) -> FlyMachine:
        """Start the machine, unless its creation does that already, and return it once it runs."""
        if not is_launching:
            await self._request_start(fly_id)
        deadline = self._clock() + START_DEADLINE_S
        slices = iter(WAIT_SLICES_S)
        lag_ends = self._clock() + self._replica_lag_s
        while self._clock() < deadline:
            try:
                is_started = await self._client.wait(fly_id, "started", next(slices, WAIT_SLICES_S[-1]))
                fly = await self._client.get(fly_id)
            except ProviderError as error:
                if error.status != 404 or not is_launching or self._clock() > lag_ends:
                    raise
                await self._pause(1.0)
                continue
            if fly.state == "started":
                return fly
            if is_started:  # a replica that lags
                await self._pause(1.0)
            else:
                _refuse_if_halted(fly)
        raise ProviderTimeout(f"the machine did not start within {START_DEADLINE_S:.0f} s; start it again")

    async def _request_start(self, fly_id: str) -> None:
        """Ask for the start; 412 means "still active" after a stop, or that it is starting already."""
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

    # Stop and destruction.

    async def request_stop(self, fly_id: str) -> None:
        """Ask for the stop; answered before it has happened. A machine that has stopped already is no error."""
        try:
            await self._client.stop(fly_id)
        except ProviderError as error:
            if error.status not in (409, 412):
                raise
            fly = await self.get(fly_id)
            if fly is not None and fly.state not in ("stopped", "stopping"):
                raise

    async def wait_stopped(self, fly_id: str, instance_id: str) -> None:
        """Return once the machine has stopped."""
        deadline = self._clock() + STOP_DEADLINE_S
        while True:
            try:
                if await self._client.wait(fly_id, "stopped", 10, instance_id):
                    return
            except ProviderError as error:
                if error.status not in (400, 404):  # another version than ours: it was updated from outside
                    raise
            fly = await self.get(fly_id)
            if fly is None or fly.state in ("stopped", "failed"):
                return
            instance_id = fly.instance_id
            if self._clock() > deadline:
                raise ProviderTimeout(f"the machine did not stop within {STOP_DEADLINE_S:.0f} s; stop it again")
            await self._pause(1.0)

    async def request_destroy(self, fly_id: str) -> None:
        """Ask for the destruction; answered before it has happened."""
        await self._client.destroy(fly_id)

    async def destroy(self, fly_id: str) -> None:
        """Destroy the machine, running or not, and return once it is gone."""
        deadline = self._clock() + STOP_DEADLINE_S
        slices = iter(WAIT_SLICES_S)
        while True:
            await self._client.destroy(fly_id)  # each time: a 404 may come from a replica that lags
            if await self._client.wait(fly_id, "destroyed", next(slices, WAIT_SLICES_S[-1])):
                return
            if self._clock() > deadline:
                raise ProviderTimeout("Fly accepted the deletion but did not finish it; delete it again")


def _is_halted(fly: FlyMachine | None) -> bool:
    return fly is not None and fly.is_reachable and fly.state in FLY_HALTED


def _refuse_if_halted(fly: FlyMachine) -> None:
    """Raise ProviderError if a machine that should start has come to rest instead."""
    if fly.state in ("stopped", "failed") or fly.state in FLY_GONE:
        raise ProviderError(f"the machine did not start: it stopped {fly.why_stopped()}; start it again or delete it")


def _may_have_happened(error: AetherError) -> bool:
    """Return whether a create that failed so may have made a machine all the same (flyctl, `internal/flapsutil`)."""
    if isinstance(error, ProviderError):
        return error.status is None or error.status in (408, 429) or error.status >= 500
    return True
