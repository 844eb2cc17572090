"""Tombstones: what was destroyed, or never came to be, while a list that lags may still show it (pure)."""

from collections.abc import Callable

KEPT_S = 86400.0


class Tombstones:
    """Machines that users were told are gone; each is forgotten after `kept_s` seconds.

    Args:
        clock: seconds since the epoch.
    """

    def __init__(self, clock: Callable[[], float], kept_s: float = KEPT_S) -> None:
        self._clock = clock
        self._kept_s = kept_s
        self._added_at: dict[tuple[str, str], float] = {}  # by kind and id, oldest first

    def add_destroyed(self, fly_id: str) -> None:
        """Remember that a machine was destroyed, by Fly's id."""
        self._add("destroyed", fly_id)

    def has_destroyed(self, fly_id: str) -> bool:
        """Return whether the machine with Fly's id was destroyed."""
        return self._has("destroyed", fly_id)

    def add_failed(self, aether_id: str) -> None:
        """Remember that a creation failed, by our id: it may have made a machine all the same."""
        self._add("failed", aether_id)

    def has_failed(self, aether_id: str) -> bool:
        """Return whether the creation with our id failed."""
        return self._has("failed", aether_id)

    def __len__(self) -> int:
        """Return how many are remembered."""
        self._prune()
        return len(self._added_at)

    def _add(self, kind: str, machine_id: str) -> None:
        self._prune()
        self._added_at.pop((kind, machine_id), None)
        self._added_at[kind, machine_id] = self._clock()

    def _has(self, kind: str, machine_id: str) -> bool:
        self._prune()
        return (kind, machine_id) in self._added_at

    def _prune(self) -> None:
        while self._added_at:
            oldest = next(iter(self._added_at))
            if self._clock() - self._added_at[oldest] <= self._kept_s:
                break
            del self._added_at[oldest]
