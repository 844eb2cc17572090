"""A descriptor that is read only as fast as wanted, so that a slow client is slow for the kernel, too."""

import asyncio
import os
from collections import deque
from collections.abc import Callable

READ_BYTES = 64 * 1024
SLICES_A_SECOND = 50


class DirectStream:
    """Reads and writes one non-blocking descriptor: a socket or the master of a PTY.

    Nothing is read ahead: while the pace is used up the descriptor is not polled, its kernel buffer fills, and the far
    side feels it.

    Args:
        descriptor: what to read and write; the caller closes it, after `close`.
        feed: gets what was read.
        lost: is called once at the end of what can be read.
    """

    def __init__(self, descriptor: int, feed: Callable[[bytes], None], lost: Callable[[str], None]) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._feed = feed
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._unwritten: deque[memoryview] = deque()
        self._written = asyncio.Event()
        self._written.set()
        self._timer: asyncio.TimerHandle | None = None
        self._next_s = 0.0
        self.bytes_read = 0
        self._bytes_s: float | None = None
        self._is_open = True
        self._loop.add_reader(descriptor, self._read)

    def pace(self, bytes_s: float | None) -> None:
        """Read at so many bytes a second from now on: None is as fast as they come, 0 not at all."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._bytes_s = bytes_s
        self._next_s = self._loop.time()
        if not self._is_open:
            return
        if bytes_s == 0:
            self._loop.remove_reader(self._descriptor)
        else:
            self._loop.add_reader(self._descriptor, self._read)

    def write(self, data: bytes) -> None:
        """Write now what the kernel takes, the rest when it takes more."""
        rest = memoryview(data)
        if not self._unwritten:
            rest = rest[self._write_some(rest) :]
            if rest and self._is_open:
                self._loop.add_writer(self._descriptor, self._write)
                self._written.clear()
        if rest and self._is_open:
            self._unwritten.append(rest)

    async def drain(self) -> None:
        """Wait until the kernel has taken everything."""
        await self._written.wait()

    def close(self) -> None:
        """Read and write no more."""
        if not self._is_open:
            return
        self._is_open = False
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._descriptor)
        self._loop.remove_writer(self._descriptor)
        self._unwritten.clear()
        self._written.set()

    def _read(self) -> None:
        size = READ_BYTES if self._bytes_s is None else max(1, min(READ_BYTES, int(self._bytes_s / SLICES_A_SECOND)))
        try:
            data = os.read(self._descriptor, size)
        except BlockingIOError:
            return
        except OSError as error:  # a PTY whose last program is gone answers EIO
            self._end(str(error))
            return
        if not data:
            self._end("closed by the far side")
            return
        self.bytes_read += len(data)
        if self._bytes_s is not None:
            now = self._loop.time()
            self._next_s = max(self._next_s, now) + len(data) / self._bytes_s
            self._loop.remove_reader(self._descriptor)
            self._timer = self._loop.call_at(self._next_s, self._go_on)
        self._feed(data)

    def _go_on(self) -> None:
        self._timer = None
        self._loop.add_reader(self._descriptor, self._read)

    def _write(self) -> None:
        while self._unwritten:
            first = self._unwritten[0]
            done = self._write_some(first)
            if done < len(first):
                self._unwritten[0] = first[done:]
                return
            self._unwritten.popleft()
        if self._is_open:
            self._loop.remove_writer(self._descriptor)
        self._written.set()

    def _write_some(self, data: memoryview) -> int:
        try:
            return os.write(self._descriptor, data)
        except BlockingIOError:
            return 0
        except OSError as error:
            self._end(str(error))
            return 0

    def _end(self, reason: str) -> None:
        if self._is_open:
            self.close()
            self._lost(reason)
