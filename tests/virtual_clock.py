"""Time that a test advances itself: `Emulator(..., clock=virtual, sleep=virtual.sleep)`."""

import asyncio
import heapq
import itertools

_TURNS = 20  # of the event loop, so that what was woken reaches its next sleep


class VirtualClock:
    """Seconds since the epoch that pass only in `advance`, which wakes sleepers in the order of their times."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()

    def __call__(self) -> float:
        """Read the time."""
        return self.now

    @property
    def sleepers(self) -> int:
        """The number of sleepers."""
        return sum(not sleeper.done() for _, _, sleeper in self._sleepers)

    async def sleep(self, seconds: float) -> None:
        """Sleep until the clock has been advanced by `seconds`."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        sleeper: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + seconds, next(self._numbers), sleeper))
        await sleeper

    async def advance(self, seconds: float) -> None:
        """Let time pass; each sleeper wakes at its own time, and may sleep again within the same call."""
        end = self.now + seconds
        await _let_others_run()
        while self._sleepers and self._sleepers[0][0] <= end:
            moment, _, sleeper = heapq.heappop(self._sleepers)
            if sleeper.done():  # cancelled
                continue
            self.now = max(self.now, moment)
            sleeper.set_result(None)
            await _let_others_run()
        self.now = end


async def _let_others_run() -> None:
    for _ in range(_TURNS):
        await asyncio.sleep(0)
