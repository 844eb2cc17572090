"""What all handlers share: which requests are accepted, and errors → JSON."""

import logging
import urllib.parse
from collections.abc import Callable, Sequence
from typing import Any

from tornado.web import HTTPError, RequestHandler

from aether.errors import AetherError, InvalidMessage, MethodNotAllowed, NotAllowed, RouteNotFound

log = logging.getLogger(__name__)

LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})


class OriginPolicy:
    """Which requests are accepted, by `Host` (DNS rebinding) and `Origin` (cross-site WebSockets and calls).

    Loopback names are accepted with any port, so that an SSH port forward works; an origin is accepted if it is the
    very host that was asked, or one of `allowed_origins`.
    """

    def __init__(self, allowed_origins: Sequence[str], address: str = "127.0.0.1") -> None:
        self._names = LOOPBACK_NAMES | {f"[{address}]" if ":" in address else address}
        self._origins = frozenset(origin.lower() for origin in allowed_origins)
        self._hosts = frozenset(urllib.parse.urlsplit(origin).netloc for origin in self._origins)

    def check(self, host: str, origin: str | None) -> None:
        """Raise NotAllowed unless both are accepted; a request without an Origin is not from another site's page."""
        host = host.lower()
        if _without_port(host) not in self._names and host not in self._hosts:
            raise NotAllowed(
                f"Host {host!r} is not this server; expected {self._expected()}. "
                "Behind a reverse proxy, set AETHER_ALLOWED_ORIGINS to the origin the browser sees"
            )
        if origin is None or origin.lower() in self._origins:
            return
        if origin.lower() not in (f"http://{host}", f"https://{host}"):
            raise NotAllowed(
                f"Origin {origin!r} may not use the server at {host!r}; expected the same host, or {self._expected()}. "
                "Behind a reverse proxy, set AETHER_ALLOWED_ORIGINS to the origin the browser sees"
            )

    def _expected(self) -> str:
        return "one of " + ", ".join(sorted(self._names) + sorted(self._origins))


class BaseHandler(RequestHandler):
    """A handler behind the origin policy, with the one error shape."""

    policy: OriginPolicy

    def set_policy(self, policy: OriginPolicy) -> None:
        """Take what every route hands down."""
        self.policy = policy

    initialize: Callable[..., None] = set_policy  # Tornado's own form: handlers below take more

    def prepare(self) -> None:
        """Refuse what the policy does not accept, before anything else is looked at."""
        try:
            self.policy.check(self.request.headers.get("Host", ""), self.request.headers.get("Origin"))
        except NotAllowed as error:
            log.warning("%s %s refused: %s", self.request.method, self.request.path, error)
            raise

    async def head(self, *args: str) -> None:
        """Answer as to GET; Tornado leaves the body out."""
        if (answer := self.get(*args)) is not None:
            await answer

    def set_default_headers(self) -> None:
        """Have answers not cached, sniffed or framed, and never be a document that may load something."""
        self.clear_header("Server")
        self.set_header("Cache-Control", "no-store")
        self.set_header("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("X-Content-Type-Options", "nosniff")

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer with the one error shape."""
        exc_info = kwargs.get("exc_info")
        error = _as_aether_error(exc_info[1] if exc_info else None, status_code, self.request.path)
        self.set_status(error.http_status if type(error) is not AetherError else status_code)
        self.finish({"error": error.to_json()})

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Log a traceback only for what we did not expect."""
        if not isinstance(value, AetherError):
            super().log_exception(typ, value, tb)


class NotFoundHandler(BaseHandler):
    """Every path that no route names."""

    def prepare(self) -> None:
        """Refuse, whatever the method."""
        super().prepare()
        raise RouteNotFound(f"there is nothing at {self.request.path}; /openapi.json lists the calls")


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdecimal() else host


def _as_aether_error(error: BaseException | None, status_code: int, path: str) -> AetherError:
    if isinstance(error, AetherError):
        return error
    if status_code == 404:
        return RouteNotFound(f"there is nothing at {path}; /openapi.json lists the calls")
    if status_code == 405:
        return MethodNotAllowed(f"{path} does not have this method; /openapi.json lists the calls")
    if status_code == 403:
        return NotAllowed(f"{path} is out of reach")
    if 400 <= status_code < 500:
        return InvalidMessage(str(error) if isinstance(error, HTTPError) else "the request is malformed")
    return AetherError("the server failed to do this; its log says why")
