"""A machine's record: kept on disk, changed in one place, and watched by whoever waits for a state."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from aether.emulator.clock import within
from aether.emulator.record import EVENTS_KEPT, EVENTS_SHOWN, Json, event, image_ref, private_ip, rfc3339
from aether.emulator.requests import ApiError

log = logging.getLogger(__name__)

SETTLED = frozenset({"started", "stopped", "suspended", "failed", "destroyed"})


class Ledger:
    """The JSON of one machine and its history."""

    def __init__(
        self,
        app: str,
        record: Json,
        directory: Path,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.app = app
        self.record = record
        self.directory = directory
        self._clock = clock
        self._sleep = sleep
        self.waiting: set[asyncio.Task[Any]] = set()
        self._waiters: dict[asyncio.Future[str], Collection[str]] = {}

    @classmethod
    def read(
        cls,
        directory: Path,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> "Ledger":
        """Load the record an earlier process wrote; raises ValueError or OSError if there is none."""
        saved = json.loads((directory / "machine.json").read_text(encoding="utf-8"))
        return cls(saved["app"], saved["machine"], directory, clock, sleep)

    @property
    def state(self) -> str:
        """One of Fly's states."""
        return str(self.record["state"])

    @property
    def config(self) -> Json:
        """The machine's config, Fly's defaults filled in."""
        config: Json = self.record["config"]
        return config

    def now(self) -> float:
        """Read the emulator's clock."""
        return self._clock()

    def view(self) -> Json:
        """Answer the machine as the API shows it."""
        return _copy({**self.record, "events": self.record["events"][:EVENTS_SHOWN]})

    def events(self, limit: int) -> list[Json]:
        """Answer the newest events first."""
        events: list[Json] = _copy({"events": self.record["events"][:limit]})["events"]
        return events

    def enter(self, state: str, kind: str, source: str, request: Json | None = None) -> None:
        """Change the state: the one place where that happens."""
        now = self._clock()
        log.info("machine %s (%s): %s", self.record["id"], self.record["name"], state)
        self.record["state"] = state
        self.record["updated_at"] = rfc3339(now)
        self.record["events"].insert(0, event(kind, state, source, now, request))
        del self.record["events"][EVENTS_KEPT:]
        if state != "destroyed":
            self.save()
        for waiter, states in self._waiters.items():
            if not waiter.done() and (state in states or state == "destroyed"):
                waiter.set_result(state)

    @property
    def metadata(self) -> dict[str, str]:
        """The machine's metadata."""
        metadata: dict[str, str] = self.config.get("metadata", {})
        return metadata

    def set_metadata(self, changes: Mapping[str, str | None], replaces_all: bool = False) -> None:
        """Set keys, remove those that are null, and all others if this replaces the whole map."""
        kept = {} if replaces_all else self.metadata
        changed = {key: value for key, value in {**kept, **changes}.items() if value is not None}
        self.config["metadata"] = changed
        if self.state != "destroyed":
            self.save()

    def renew(self, config: Json, instance_id: str) -> None:
        """Replace the whole config; that makes another version of the machine."""
        self.record.update(config=config, instance_id=instance_id, image_ref=image_ref(config["image"]))

    def readdress(self) -> None:
        """Give the machine another private address, which only a move to another host does (Fly docs)."""
        self.record["private_ip"] = private_ip()
        self.save()

    def save(self) -> None:
        """Write the record in one step, readable by nobody else: `files` carry keys."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self.directory / "machine.json.new"
        path.touch(mode=0o600)
        path.write_text(json.dumps({"app": self.app, "machine": self.record}), encoding="utf-8")
        path.replace(self.directory / "machine.json")

    async def wait(self, states: Collection[str], timeout_s: float) -> str:
        """Wait for one of the states and answer it; 408 in the API's words when the time is over."""
        state = self.state if self.state in states or self.state == "destroyed" else None
        if state is None:
            waiter: asyncio.Future[str] = asyncio.get_running_loop().create_future()
            self._waiters[waiter] = states
            task = asyncio.current_task()
            self.waiting |= {task} if task else set()
            try:
                state = await within(waiter, timeout_s, self._sleep)
            except TimeoutError:
                wanted = ", ".join(states)
                text = f"machine failed to reach desired state, {wanted}, currently {self.state}"
                raise ApiError(408, f"deadline_exceeded: {text}") from None
            finally:
                del self._waiters[waiter]
                self.waiting -= {task} if task else set()
        if state not in states:
            raise ApiError(404, "not_found: machine not found")
        return state

    async def release(self) -> None:
        """Let go of everybody who waits, and see them answered: the emulator stops."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(ApiError(503, "unavailable: the emulator is stopping"))
        if self.waiting:
            await asyncio.wait(self.waiting.copy())


def _copy(value: Json) -> Json:
    """Copy deeply; through JSON, which a record is, in a fifth of the time of `copy.deepcopy`."""
    copied: Json = json.loads(json.dumps(value))
    return copied
