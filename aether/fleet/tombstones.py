"""Tombstones: what was destroyed, or never came to be, while a list that lags may still show it."""

from collections.abc import Callable

KEPT_S = 86400.0


class Tombstones:
    """Ids of machines that users were told are gone; each is forgotten after `kept_s` seconds.

    They are Fly's ids of destroyed machines, and our own ids of creations that failed.
    """

    def __init__(self, clock: Callable[[], float], kept_s: float = KEPT_S) -> None:
        self._clock = clock
        self._kept_s = kept_s
        self._added_at: dict[str, float] = {}  # oldest first

    def add(self, machine_id: str) -> None:
        """Remember a machine."""
        self._prune()
        self._added_at.pop(machine_id, None)
        self._added_at[machine_id] = self._clock()

    def __contains__(self, machine_id: object) -> bool:
        """Return whether a machine is remembered."""
        self._prune()
        return machine_id in self._added_at

    def __len__(self) -> int:
        """Return how many are remembered."""
        self._prune()
        return len(self._added_at)

    def _prune(self) -> None:
        while self._added_at:
            oldest = next(iter(self._added_at))
            if self._clock() - self._added_at[oldest] <= self._kept_s:
                break
            del self._added_at[oldest]
