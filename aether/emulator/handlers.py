"""HTTP: authorise, decode, one call, encode. Statuses and texts are Fly's; what it has and we lack answers 501."""

import asyncio
import hmac
import json
import re
import time
from typing import TYPE_CHECKING, Any

from tornado.web import RequestHandler

from aether.emulator import requests
from aether.emulator.ledger import SETTLED
from aether.emulator.machine import Machine
from aether.emulator.record import EVENTS_KEPT, EVENTS_SHOWN, Json, ulid
from aether.emulator.requests import ApiError

if TYPE_CHECKING:
    from aether.emulator.api import Emulator

_LOOPBACK = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d+)?", re.IGNORECASE)
_WAITABLE = ("started", "stopped", "suspended", "destroyed", "failed", "settled")


class Base(RequestHandler):
    """Who may ask, and how an error looks."""

    def initialize(self, emulator: "Emulator", token: str) -> None:
        """Take what the route hands down."""
        self.emulator = emulator
        self.token = token

    def set_default_headers(self) -> None:
        """Give every answer a request id, as Fly does."""
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.set_header("fly-request-id", f"{ulid(time.time())}-iad")

    def prepare(self) -> None:
        """Refuse other hosts' names (DNS rebinding) and whoever does not know the token."""
        if not _LOOPBACK.fullmatch(self.request.host):
            raise ApiError(403, "unauthorized: the emulator answers on 127.0.0.1 and localhost only")
        scheme, _, given = self.request.headers.get("Authorization", "").partition(" ")
        is_known = hmac.compare_digest(given.strip().encode(), self.token.encode())
        if scheme.lower() not in {"bearer", "flyv1"} or not is_known:
            raise ApiError(401, "Authenticate: token validation error")

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Write an error as Fly does, `{"error": …}`."""
        failure = kwargs.get("exc_info", (None, None, None))[1]
        message = failure.message if isinstance(failure, ApiError) else self._reason
        if status_code == 405:
            self.set_status(501)
            message = f"unimplemented: the emulator does not implement {self.request.method} here"
        self.finish(json.dumps({"error": message}))

    def _handle_request_exception(self, e: BaseException) -> None:
        if isinstance(e, ApiError):
            self.set_status(e.status)
            self.finish(json.dumps({"error": e.message}))
        else:
            super()._handle_request_exception(e)

    def answer(self, value: Any) -> None:
        """Finish with a JSON value, which may be a bare array."""
        self.finish(json.dumps(value))

    def machine(self, app: str, machine_id: str) -> Machine:
        """Find the machine a path names."""
        return self.emulator.machine(app, machine_id)

    def flag(self, *names: str) -> bool:
        """Read a boolean query argument that may have several names."""
        return any(self.get_query_argument(name, "") in {"true", "1"} for name in names)

    def number(self, name: str, default: int) -> int:
        """Read a numeric query argument."""
        text = self.get_query_argument(name, str(default))
        if not re.fullmatch(r"-?\d{1,9}", text):
            raise ApiError(400, f"invalid_argument: {name} must be a number, not '{text}'")
        return int(text)


class Machines(Base):
    """`/v1/apps/{app}/machines`."""

    def get(self, app: str) -> None:
        """List."""
        machines = self.emulator.machines(app, self.flag("include_deleted"))
        self.answer([m.ledger.view() for m in machines if self._matches(m.ledger.record)])

    def post(self, app: str) -> None:
        """Create: the answer precedes the boot."""
        request = requests.decode(self.request.body, requests.CREATE, "createMachineRequest")
        self.answer(self.emulator.create(app, request).ledger.view())

    def _matches(self, record: Json) -> bool:
        metadata = record["config"].get("metadata", {})
        for key in self.request.query_arguments:
            value = self.get_query_argument(key)
            if key.startswith("metadata.") and metadata.get(key.removeprefix("metadata.")) != value:
                return False
            if key in {"region", "state"} and record[key] not in value.split(","):
                return False
        return True


class OneMachine(Base):
    """`/v1/apps/{app}/machines/{id}`."""

    def get(self, app: str, machine_id: str) -> None:
        """Read."""
        self.answer(self.machine(app, machine_id).ledger.view())

    def delete(self, app: str, machine_id: str) -> None:
        """Destroy."""
        self.machine(app, machine_id).destroy(self.flag("force", "kill"))
        self.answer({"ok": True})


class Start(Base):
    """`…/start`."""

    def post(self, app: str, machine_id: str) -> None:
        """Start."""
        machine = self.machine(app, machine_id)
        requests.decode(self.request.body, requests.START, "startRequest")
        self.answer({"previous_state": machine.start(), "migrated": False, "new_host": ""})


class Stop(Base):
    """`…/stop`."""

    def post(self, app: str, machine_id: str) -> None:
        """Stop."""
        machine = self.machine(app, machine_id)
        request = requests.decode(self.request.body, requests.STOP, "stopRequest")
        timeout = request.get("timeout")
        machine.stop(None if timeout is None else requests.grace_s(timeout))
        self.answer({"ok": True})


class Wait(Base):
    """`…/wait`."""

    _task: "asyncio.Task[Any] | None" = None

    async def get(self, app: str, machine_id: str) -> None:
        """Wait for a state; a client that hangs up ends its wait."""
        machine = self.machine(app, machine_id)
        timeout_s = self.number("timeout", 60)
        if not 1 <= timeout_s <= 60:
            text = "invalid WaitMachineRequest.Timeout: value must be inside range [1s, 1m0s]"
            raise ApiError(400, f"invalid_argument: {text}")
        for version in self.get_query_arguments("version") + self.get_query_arguments("instance_id"):
            if version != machine.ledger.record["instance_id"]:
                raise ApiError(404, f"not_found: machine version {version} not found")
        self._task = asyncio.current_task()
        self.answer({"ok": True, "state": await machine.ledger.wait(self._states(), timeout_s)})

    def _states(self) -> list[str]:
        wanted = [s for arg in self.get_query_arguments("state") for s in arg.split(",") if s] or ["started"]
        for state in wanted:
            if state not in _WAITABLE:
                raise ApiError(400, f"invalid_argument: cannot wait for state '{state}'")
        return sorted(SETTLED) if "settled" in wanted else wanted

    def on_connection_close(self) -> None:
        """End the wait of a client that is gone."""
        if self._task is not None:
            self._task.cancel()


class Events(Base):
    """`…/events`."""

    def get(self, app: str, machine_id: str) -> None:
        """List events, newest first."""
        limit = min(max(self.number("limit", EVENTS_SHOWN), 1), EVENTS_KEPT)
        self.answer(self.machine(app, machine_id).ledger.events(limit))


class Metadata(Base):
    """`…/metadata`."""

    def get(self, app: str, machine_id: str) -> None:
        """Read the whole map."""
        self.answer(self.machine(app, machine_id).ledger.config.get("metadata", {}))


class MetadataKey(Base):
    """`…/metadata/{key}`."""

    def get(self, app: str, machine_id: str, key: str) -> None:
        """Read one value."""
        metadata = self.machine(app, machine_id).ledger.config.get("metadata", {})
        if key not in metadata:
            raise ApiError(404, f"not_found: metadata key '{key}' not found")
        self.answer({"value": metadata[key]})

    def post(self, app: str, machine_id: str, key: str) -> None:
        """Set one value."""
        machine = self.machine(app, machine_id)
        request = requests.decode(self.request.body, requests.METADATA, "metadataRequest")
        machine.ledger.set_metadata(key, request["value"])
        self.set_status(204)

    def delete(self, app: str, machine_id: str, key: str) -> None:
        """Remove one value."""
        self.machine(app, machine_id).ledger.set_metadata(key, None)
        self.set_status(204)
