"""Time-outs in real or virtual time."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def within(work: Awaitable[T], seconds: float, sleep: Callable[[float], Awaitable[None]]) -> T:
    """Await something for at most `seconds`, as measured by `sleep`; raises TimeoutError."""
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
