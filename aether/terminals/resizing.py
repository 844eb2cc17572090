"""Resizing: the sizes of a window on their way to a shell, which draws anew for each."""

import asyncio
from collections.abc import Callable

from aether.messages import Resize

RESIZE_PAUSE_S = 0.05
REDRAW_S = 1.0  # for a shell or an editor to draw what another size asks for


class Resizing:
    """Sends, of many sizes in a short time, the first, a few, and the last.

    Args:
        size: the first size.
        send: sends one; returns False while it cannot.
        pause_s: how long to wait before another size is sent.
        redraw_s: how long after a new size output counts as drawing it.
    """

    def __init__(
        self, size: Resize, send: Callable[[Resize], bool], pause_s: float = RESIZE_PAUSE_S, redraw_s: float = REDRAW_S
    ) -> None:
        self.size = size
        self._send = send
        self._pause_s = pause_s
        self._redraw_s = redraw_s
        self._loop = asyncio.get_running_loop()
        self._sent_size: Resize | None = None
        self._redrawn_at = 0.0
        self._pause: asyncio.TimerHandle | None = None

    def is_redrawing(self) -> bool:
        """Return whether what the shell writes now may be drawn only because of another size."""
        return self._loop.time() < self._redrawn_at

    def resize(self, size: Resize) -> None:
        """Set the size."""
        self.size = size
        if self._pause is None:
            self._pause = self._loop.call_later(self._pause_s, self._end_pause)
            self.flush()

    def flush(self) -> None:
        """Send the size now, if the shell does not have it."""
        if self._sent_size != self.size and self._send(self.size):
            self._sent_size = self.size
            self._redrawn_at = self._loop.time() + self._redraw_s

    def note_sent(self) -> None:
        """Note that the shell has the size by other means."""
        self._sent_size = self.size

    def close(self) -> None:
        """Send none any more, and let go of the shell: a circle would keep it until garbage is collected."""
        self._send = lambda _: False
        if self._pause is not None:
            self._pause.cancel()

    def _end_pause(self) -> None:
        self._pause = None
        self.flush()
