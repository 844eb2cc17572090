"""Time that a test turns by hand, `Emulator(..., clock=virtual, sleep=virtual.sleep)`, and time-outs in any time."""

import asyncio
import heapq
import itertools
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

_TURNS = 20  # of the event loop, for what was woken to go on to its next sleep


class VirtualClock:
    """Seconds since the epoch that pass only in `advance`; who sleeps meanwhile is woken in order."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()

    def __call__(self) -> float:
        """Read the time."""
        return self.now

    @property
    def sleepers(self) -> int:
        """How many are asleep."""
        return sum(not sleeper.done() for _, _, sleeper in self._sleepers)

    async def sleep(self, seconds: float) -> None:
        """Sleep until the clock was turned that far."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        sleeper: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + seconds, next(self._numbers), sleeper))
        await sleeper

    async def advance(self, seconds: float) -> None:
        """Let time pass; whoever wakes runs at its own moment, and may sleep again within the same stretch."""
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


async def within(work: Awaitable[T], seconds: float, sleep: Callable[[float], Awaitable[None]]) -> T:
    """Await something for at most `seconds` of whatever time `sleep` measures; raises TimeoutError."""
    task, timer = asyncio.ensure_future(work), asyncio.ensure_future(sleep(seconds))
    try:
        await asyncio.wait({task, timer}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise TimeoutError
        return task.result()
    finally:
        task.cancel()
        timer.cancel()
        await asyncio.gather(task, timer, return_exceptions=True)
