"""Later: calls a function once, a little later, however often that is asked for meanwhile."""

import asyncio
from collections.abc import Callable


class Later:
    """One function and its delay.

    Args:
        delay_s: how long after the first of several requests it is called.
    """

    def __init__(self, delay_s: float, call: Callable[[], None]) -> None:
        self._delay_s = delay_s
        self._call: Callable[[], None] | None = call
        self._timer: asyncio.TimerHandle | None = None

    def ask(self) -> None:
        """Call it after the delay, unless that is planned already."""
        if self._timer is None and self._call is not None:
            self._timer = asyncio.get_running_loop().call_later(self._delay_s, self._fire)

    def hurry(self) -> None:
        """Call it now, if that is planned."""
        if self._timer is not None:
            self._timer.cancel()
            self._fire()

    def close(self) -> None:
        """Call it no more."""
        self._call = None  # a circle would keep the owner until garbage is collected
        if self._timer is not None:
            self._timer.cancel()

    def _fire(self) -> None:
        self._timer = None
        if self._call is not None:
            self._call()
