"""Time that goes on as usual, but passes in an instant where a test would have to wait for it."""

import asyncio
from collections.abc import Awaitable, Callable

TURNS = 100  # of the event loop, of which a call over loopback takes about ten


class Timelapse:
    """An event loop's time: all of its timers keep theirs when it leaps."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._now = loop.time
        self._leapt_s = 0.0
        self.is_going = asyncio.Event()  # unset, who sleeps last sleeps on
        self.is_going.set()
        loop.time = self  # type: ignore[method-assign]

    def __call__(self) -> float:
        """Read the time, in seconds."""
        return self._now() + self._leapt_s

    def leap(self, seconds: float) -> None:
        """Let time pass; timers that are due by then fire in the loop's next turn."""
        self._leapt_s += seconds

    async def sleep(self, seconds: float) -> None:
        """Stand in for asyncio.sleep: two turns of the loop, and what was due by then is done."""
        self.leap(seconds)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def sleep_last(self, seconds: float) -> None:
        """Sleep so for what others who are at work will probably cut short: they go first."""
        for _ in range(TURNS):
            await asyncio.sleep(0)
        await self.is_going.wait()
        self.leap(seconds)

    def leaping(self, seconds: float, function: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
        """Return an async function that lets time pass when it is called."""

        async def call(*arguments: object) -> None:
            self.leap(seconds)
            await function(*arguments)

        return call
