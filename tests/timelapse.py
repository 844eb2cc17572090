"""Time that goes on as usual, but passes in an instant where a test would have to wait for it."""

import asyncio
from collections.abc import Awaitable, Callable

TURNS = 100  # of the event loop, of which a call over loopback takes about ten


class Timelapse:
    """An event loop's time: all of its timers keep theirs when it leaps."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._now = loop.time
        self._leapt_s = 0.0
        self.is_going = asyncio.Event()  # unset, nothing elapses last
        self.is_going.set()
        loop.time = self  # type: ignore[method-assign]

    def __call__(self) -> float:
        """Read the time, in seconds."""
        return self._now() + self._leapt_s

    def leap(self, seconds: float) -> None:
        """Let time pass; timers that are due by then fire in the loop's next turn."""
        self._leapt_s += seconds

    async def elapse(self, seconds: float) -> None:
        """Stand in for asyncio.sleep: the timers that were due by then have fired."""
        self.leap(seconds)
        await asyncio.sleep(0)  # the loop takes up its timers
        await asyncio.sleep(0)  # and calls them

    async def elapse_last(self, seconds: float) -> None:
        """Sleep so for what others who are at work will probably cut short: they go first."""
        for _ in range(TURNS):
            await asyncio.sleep(0)  # a turn for the others
        await self.is_going.wait()
        self.leap(seconds)

    def leaping(self, seconds: float, function: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
        """Return an async function that lets time pass when it is called."""

        async def call(*arguments: object) -> None:
            self.leap(seconds)
            await function(*arguments)

        return call
