"""The record of a machine: kept on disk, changed in one place, with those requests that wait for a state."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from aether.emulator.clock import within
from aether.emulator.errors import ApiError, Json
from aether.emulator.machine.record import EVENTS_KEPT, EVENTS_SHOWN, event, image_ref, private_ip, rfc3339

log = logging.getLogger(__name__)

SETTLED = frozenset({"started", "stopped", "suspended", "failed", "destroyed"})


class MachineStore:
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
    ) -> "MachineStore":
        """Load the record that an earlier process wrote; raises ValueError, KeyError, TypeError or OSError."""
        saved = json.loads((directory / "machine.json").read_text(encoding="utf-8"))
        return cls(saved["app"], saved["machine"], directory, clock, sleep)

    @property
    def id(self) -> str:
        """The machine's id, 14 hexadecimal digits."""
        return str(self.record["id"])

    @property
    def state(self) -> str:
        """One of Fly's states."""
        return str(self.record["state"])

    @property
    def config(self) -> Json:
        """The machine's config, with Fly's defaults filled in."""
        config: Json = self.record["config"]
        return config

    def now(self) -> float:
        """Read the emulator's clock."""
        return self._clock()

    def view(self) -> Json:
        """Return the machine as the API shows it."""
        return _copy({**self.record, "events": self.record["events"][:EVENTS_SHOWN]})

    def events(self, limit: int) -> list[Json]:
        """Return the newest events, the last one first."""
        events: list[Json] = _copy({"events": self.record["events"][:limit]})["events"]
        return events

    def change_state(self, state: str, kind: str, source: str, request: Json | None = None) -> None:
        """Change the state and record the event: the one place where that happens."""
        now = self._clock()
        log.info("machine %s (%s): %s", self.id, self.record["name"], state)
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
        """Set keys, remove those that are null, and all others if `replaces_all`."""
        kept = {} if replaces_all else self.metadata
        changed = {key: value for key, value in {**kept, **changes}.items() if value is not None}
        self.config["metadata"] = changed
        if self.state != "destroyed":
            self.save()

    def replace_config(self, config: Json, instance_id: str) -> None:
        """Replace the whole config, which makes a new version of the machine."""
        self.record.update(config=config, instance_id=instance_id, image_ref=image_ref(config["image"]))

    def change_address(self) -> None:
        """Give the machine another private address, as only a migration to another host does (Fly docs)."""
        self.record["private_ip"] = private_ip()
        self.save()

    def save(self) -> None:
        """Write the record atomically, readable only by its owner: `files` contain keys."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self.directory / "machine.json.new"
        path.touch(mode=0o600)
        path.write_text(json.dumps({"app": self.app, "machine": self.record}), encoding="utf-8")
        path.replace(self.directory / "machine.json")

    async def wait(self, states: Collection[str], timeout_s: float) -> str:
        """Wait for one of the states and return it; 408 after the time-out, 404 when the machine is destroyed."""
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

    async def release_waiters(self) -> None:
        """Answer every waiting request with 503, and wait until that is done: the emulator stops."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(ApiError(503, "unavailable: the emulator is stopping"))
        if self.waiting:
            await asyncio.wait(self.waiting.copy())


def _copy(value: Json) -> Json:
    """Copy deeply; through JSON, which a record is, in a fifth of the time of `copy.deepcopy`."""
    copied: Json = json.loads(json.dumps(value))
    return copied
