"""What every handler shares: authentication, the form of errors, rate limits and injected faults."""

import asyncio
import hmac
import json
import re
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from tornado.web import RequestHandler

from aether.emulator.errors import ApiError, TooManyRequests
from aether.emulator.faults import Fault
from aether.emulator.http.limits import RateLimits
from aether.emulator.machine.machine import Machine
from aether.emulator.machine.record import ulid
from aether.emulator.machine.registry import Machines

_LOOPBACK = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d+)?", re.IGNORECASE)
_OVER_QUOTA = (
    'organization "local" is using 1970176 MB of memory in iad which is over the allowed quota.'
    " please consider other regions"
)
_REFUSALS: Mapping[str, tuple[int, str]] = MappingProxyType(
    {
        "lose-408": (408, "deadline_exceeded: context deadline exceeded"),
        "lose-503": (503, "unavailable: upstream connect error"),
        "not-found": (404, "not_found: machine not found"),
        "quota": (403, _OVER_QUOTA),
    }
)
_PAGE = "<html><body><h1>503 Service Unavailable</h1></body></html>\n"


class BaseHandler(RequestHandler):
    """One path; `actions` gives each method's action, the name that rate limits and faults use."""

    actions: ClassVar[Mapping[str, str]] = {}

    def initialize(self, machines: Machines, limits: RateLimits, token: str) -> None:
        """Keep the arguments of the route."""
        self.machines = machines
        self._limits = limits
        self._token = token
        self.fault: Fault | None = None
        self.is_disconnected = False
        self.released = asyncio.Event()

    def set_default_headers(self) -> None:
        """Give every answer a request id, as Fly does."""
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.set_header("fly-request-id", f"{ulid(time.time())}-iad")

    async def prepare(self) -> None:
        """Refuse other Host names (DNS rebinding) and wrong tokens; then apply rate limits and faults."""
        if not _LOOPBACK.fullmatch(self.request.host):
            raise ApiError(403, "unauthorized: the emulator answers on 127.0.0.1 and localhost only")
        scheme, _, given = self.request.headers.get("Authorization", "").partition(" ")
        is_known = hmac.compare_digest(given.strip().encode(), self._token.encode())
        if scheme.lower() not in {"bearer", "flyv1"} or not is_known:
            raise ApiError(401, "Authenticate: token validation error")
        action = self.actions.get(self.request.method or "")
        if action is not None:
            app, machine = [*self.path_args, None, None][:2]
            if self.machines.options.rate_limit:
                self._limits.consume(action, str(machine or app))
            self.fault = self.machines.faults.consume(action, machine)
            await self._fail(action)

    async def _fail(self, action: str) -> None:
        """Apply a fault that prevents the effect of a request; `finish` applies those that change the answer."""
        kind = self.fault.kind if self.fault is not None else ""
        if kind in _REFUSALS:
            raise ApiError(*_REFUSALS[kind])
        if kind == "rate-limit":
            raise TooManyRequests(1)
        if kind == "no-capacity":
            raise no_capacity(action)
        if kind == "empty-list":
            self.answer([])
        if kind == "unavailable":
            self._write_page(503)
        if kind == "hang":
            await self.machines.faults.hang(self.released)
        if kind in {"hang", "lose-drop"}:
            self._drop()

    def on_connection_close(self) -> None:
        """Note that the client has disconnected."""
        self.is_disconnected = True
        self.released.set()

    def finish(self, chunk: str | bytes | dict[str, Any] | None = None) -> "asyncio.Future[None]":
        """Finish, with another answer or none if a fault says so."""
        kind = self.fault.kind if self.fault is not None else ""
        self.fault = None
        if kind == "commit-drop":
            self._drop()
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            done.set_result(None)
            return done
        if kind in {"commit-408", "commit-500"}:
            text = "deadline_exceeded: context deadline exceeded" if kind == "commit-408" else "internal: server error"
            self.set_status(int(kind[-3:]))
            chunk = json.dumps({"error": text})
        if kind == "garbage":
            self.set_status(200)
            chunk = '{"id": "90'
        return super().finish(chunk)

    def _write_page(self, status: int) -> None:
        self.set_status(status)
        self.set_header("Content-Type", "text/html")
        self.finish(_PAGE)

    def _drop(self) -> None:
        """Close the connection without an answer."""
        if not self._finished and not self.is_disconnected:
            self.detach().close()
        self._finished = True

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
            if isinstance(e, TooManyRequests) and self.machines.options.retry_after:
                self.set_header("Retry-After", str(e.retry_after_s))
            self.finish(json.dumps(e.body))
        else:
            super()._handle_request_exception(e)

    def answer(self, value: Any) -> None:
        """Finish with a JSON value, which may be a bare array."""
        self.finish(json.dumps(value))

    def machine(self, app: str, machine_id: str) -> Machine:
        """Find the machine that a path names."""
        return self.machines.find(app, machine_id)

    def leased(self, app: str, machine_id: str) -> Machine:
        """Find the machine that a path names, to change it: while it is leased, this needs the nonce."""
        machine = self.machine(app, machine_id)
        machine.lease.check(self.nonce, machine.store.now())
        return machine

    @property
    def nonce(self) -> str | None:
        """The nonce of a lease, if the client sent one."""
        return self.request.headers.get("fly-machine-lease-nonce")

    def flag(self, *names: str) -> bool:
        """Read a boolean query argument that may have several names."""
        return any(self.get_query_argument(name, "") in {"true", "1"} for name in names)

    def number(self, name: str, default: int) -> int:
        """Read a numeric query argument."""
        text = self.get_query_argument(name, str(default))
        if not re.fullmatch(r"-?\d{1,9}", text):
            raise ApiError(400, f"invalid_argument: {name} must be a number, not '{text}'")
        return int(text)


def no_capacity(action: str) -> ApiError:
    """Build the answer of a full host or region."""
    if action == "start":
        text = "could not reserve resource for machine: insufficient memory available to fulfill request"
        return ApiError(409, f"aborted: {text}")
    text = "could not find a candidate host"
    return ApiError(422, text, {"error": text, "status": "insufficient_capacity"})
