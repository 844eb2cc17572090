"""Fly Machines API client: the only place that does HTTP to Fly.

Sources: Fly docs "Machines API" (https://fly.io/docs/machines/api/) for paths, statuses and bodies; fly-go's
`flaps` package for what is retried and how tokens are sent.
"""

import asyncio
import json
import logging
import random
import urllib.parse
from collections.abc import Awaitable, Callable
from typing import Any

from tornado.httpclient import AsyncHTTPClient, HTTPError, HTTPRequest, HTTPResponse
from tornado.simple_httpclient import HTTPTimeoutError, SimpleAsyncHTTPClient

from aether.errors import AetherError, ProviderError, ProviderTimeout, ShuttingDown
from aether.fly import answers
from aether.fly.answers import FlyMachine
from aether.fly.limits import RateLimit

log = logging.getLogger(__name__)

CALL_TIMEOUT_S = 30.0
WAIT_RANGE_S = (1, 60)  # outside: 400 "value must be inside range [1s, 1m0s]"
CLOSE_GRACE_S = 1.0
ATTEMPTS = 4
PASSING_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
MAX_CALLS = 2000  # `wait` holds a connection for up to a minute, one for each machine in transition


class FlyClient:
    """One app's machines.

    Every call raises ProviderError when Fly says no, is unreachable or makes no sense, LimitExceeded when it still
    answers 429 after retries, and ProviderTimeout when it does not answer in time.

    Args:
        pause: how to wait before a call is repeated, or because of the rate limit.
        limit: how long to wait before a call; None: not at all.
        call_timeout_s: how long a call may take, besides the time it was asked to wait.
        http: what makes the calls; by default a client of our own.
    """

    def __init__(
        self,
        base_url: str,
        app_name: str,
        token: str,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        limit: RateLimit | None = None,
        call_timeout_s: float = CALL_TIMEOUT_S,
        http: AsyncHTTPClient | None = None,
    ) -> None:
        self._machines_url = f"{base_url.rstrip('/')}/v1/apps/{urllib.parse.quote(app_name, safe='')}/machines"
        self._authorization = authorization(token)
        self._pause = pause
        self._call_timeout_s = call_timeout_s
        self._limit = limit
        self._is_closed = False
        self._fetching: set[asyncio.Future[HTTPResponse]] = set()
        self._http = http or SimpleAsyncHTTPClient(force_instance=True, max_clients=MAX_CALLS)

    async def close(self) -> None:
        """Give the connections back, calls on their way a moment later; calls made from now on raise ShuttingDown."""
        self._is_closed = True
        if self._fetching:
            await asyncio.wait(self._fetching, timeout=CLOSE_GRACE_S)
        self._http.close()

    async def create(self, name: str, region: str, config: dict[str, Any]) -> FlyMachine:
        """Create and launch a machine; the answer comes before it has booted.

        Never repeated by itself: there is no idempotency key (flyctl, `launchGreenMachineWithRetry`).
        """
        body: dict[str, Any] = {"name": name, "config": config}
        if region:
            body["region"] = region
        answer = await self._request("create", "POST", "", body=body, more_s=self._call_timeout_s, attempts=1)
        return answers.machine(answers.decode("a creation", answer))

    async def get(self, machine_id: str) -> FlyMachine:
        """Read one machine; a destroyed one still answers for a while, with state `destroyed`."""
        return answers.machine(answers.decode("a machine", await self._request("get", "GET", f"/{machine_id}")))

    async def list(self, metadata: dict[str, str]) -> list[FlyMachine]:
        """List the living machines that carry all of `metadata`."""
        query = {f"metadata.{key}": value for key, value in metadata.items()}
        answer = answers.decode("a list", await self._request("list", "GET", "", query=query))
        if not isinstance(answer, list):
            raise ProviderError("Fly answered the list of machines with something else; try again")
        return answers.machines(answer)

    async def start(self, machine_id: str) -> None:
        """Start a stopped machine; answered before it has booted."""
        await self._request("start", "POST", f"/{machine_id}/start")

    async def stop(self, machine_id: str) -> None:
        """Stop a machine as its `stop_config` says; stopping a stopped one is no error."""
        await self._request("stop", "POST", f"/{machine_id}/stop", body={})

    async def destroy(self, machine_id: str) -> None:
        """Destroy a machine, running or not; one that is gone already is no error."""
        try:
            await self._request("destroy", "DELETE", f"/{machine_id}", query={"force": "true"})
        except ProviderError as error:
            if error.status != 404:
                raise

    async def wait(self, machine_id: str, state: str, timeout_s: int, instance_id: str = "") -> bool:
        """Wait until the machine is in `state`, at most `timeout_s` (1–60); say whether it is.

        `instance_id` is needed for `stopped` by older API versions and harmless for newer ones.
        """
        low, high = WAIT_RANGE_S
        timeout_s = min(max(timeout_s, low), high)
        query = {"state": state, "timeout": str(timeout_s)}
        if instance_id:
            query["instance_id"] = instance_id
        try:
            await self._request("wait", "GET", f"/{machine_id}/wait", query=query, more_s=timeout_s)
        except ProviderError as error:
            if error.status == 408:
                return False
            if error.status == 404 and state == "destroyed":
                return True
            raise
        return True

    async def set_metadata(self, machine_id: str, key: str, value: str) -> None:
        """Set one key of a machine's metadata; this does not restart it (Fly docs, "Machines API, Metadata")."""
        await self._request("metadata", "POST", f"/{machine_id}/metadata/{key}", body={"value": value})

    async def _request(
        self,
        action: str,
        method: str,
        path: str,
        query: dict[str, str] | None = None,
        body: dict[str, Any] | None = None,
        more_s: float = 0.0,
        attempts: int = ATTEMPTS,
    ) -> bytes:
        """Make one call and return its answer, with retries; `more_s` is how much longer it may take than others."""
        request = self._http_request(method, path, query, body, more_s)
        what = f"{method} {path or '/'}"
        for attempt in range(1, attempts + 1):
            await self._await_turn(action, path)
            answer, may_pass = await self._attempt(action, what, request)
            if isinstance(answer, bytes):
                return answer
            log.info("%s", answer)
            if not may_pass or attempt == attempts:
                raise answer
            await self._pause(random.uniform(0.5, 1.0) * 0.2 * 2**attempt)  # noqa: S311 - jitter, not a secret
        raise AssertionError("unreachable")

    def _http_request(
        self, method: str, path: str, query: dict[str, str] | None, body: dict[str, Any] | None, more_s: float
    ) -> HTTPRequest:
        return HTTPRequest(
            self._machines_url + path + (f"?{urllib.parse.urlencode(query)}" if query else ""),
            method=method,
            headers={"Authorization": self._authorization, "Content-Type": "application/json"},
            body=json.dumps(body) if body is not None else ("" if method == "POST" else None),
            connect_timeout=10.0,
            request_timeout=self._call_timeout_s + more_s,
            follow_redirects=False,
        )

    async def _attempt(self, action: str, what: str, request: HTTPRequest) -> tuple[bytes | AetherError, bool]:
        """Make one call once; return its answer, or its error and whether that may pass."""
        try:
            response = await self._fetch(request)
        except (HTTPError, OSError) as failure:
            return _unreachable(what, failure), True
        if response.code < 300:
            return response.body, False
        request_id = response.headers.get("fly-request-id", "none")
        error = answers.refusal(what, response.code, response.body, request_id)
        is_answer = action == "wait" and response.code == 408  # "failed to reach desired state"
        return error, response.code in PASSING_STATUSES and not is_answer

    async def _await_turn(self, action: str, path: str) -> None:
        """Wait as long as the rate limit of this action on this machine, or the app, asks for."""
        identifier = path.split("/")[1] if path else "app"
        if self._limit is not None and (delay_s := self._limit.reserve(action, identifier)):
            await self._pause(delay_s)
        if self._is_closed:
            raise ShuttingDown("the server is shutting down; try again in a moment")

    async def _fetch(self, request: HTTPRequest) -> HTTPResponse:
        """Fetch; the call of a caller that is cancelled goes on, as it cannot be taken back, and its end is ignored."""
        fetching = asyncio.ensure_future(self._http.fetch(request, raise_error=False))
        self._fetching.add(fetching)
        fetching.add_done_callback(self._fetching.discard)
        fetching.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await asyncio.shield(fetching)


def authorization(token: str) -> str:
    """Return the Authorization header for any form in which Fly hands out tokens.

    Macaroons (`fm1r_`, `fm1a_`, `fm2_`) go with the scheme `FlyV1`, others with `Bearer` (fly-go, `tokens`).
    """
    token = token.strip()
    while True:
        scheme, _, rest = token.partition(" ")
        if scheme.lower() not in ("bearer", "flyv1") or not rest:
            break
        token = rest.strip()
    return f"FlyV1 {token}" if token.startswith("fm") else f"Bearer {token}"


def _unreachable(what: str, error: Exception) -> ProviderError | ProviderTimeout:
    if isinstance(error, (HTTPTimeoutError, TimeoutError)):
        return ProviderTimeout(f"Fly did not answer {what} in time; try again")
    return ProviderError(f"Fly cannot be reached for {what} ({error}); check the network and try again")
