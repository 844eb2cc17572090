"""The paths of the Machines API: those that are served, Fly's others (501), and all the rest (404)."""

from typing import Any

from tornado.web import Application, RequestHandler

from aether.emulator.errors import ApiError
from aether.emulator.http.base import BaseHandler
from aether.emulator.http.handlers import (
    EventsHandler,
    ExecHandler,
    LeaseHandler,
    MachineHandler,
    MachinesHandler,
    SignalHandler,
    StartHandler,
    StopHandler,
    WaitHandler,
)
from aether.emulator.http.limits import RateLimits
from aether.emulator.http.metadata import MetadataHandler, MetadataKeyHandler
from aether.emulator.machine.registry import Machines


class UnimplementedHandler(BaseHandler):
    """A path of Fly's that the emulator does not support."""

    async def prepare(self) -> None:
        """Answer 501 to a client that has the token."""
        await super().prepare()
        raise ApiError(501, f"unimplemented: the emulator does not implement {self.request.path}")


class NotFoundHandler(BaseHandler):
    """A path that Fly does not have either."""

    async def prepare(self) -> None:
        """Answer 404 to a client that has the token."""
        await super().prepare()
        raise ApiError(404, "not_found: no such path")


def application(machines: Machines, limits: RateLimits, token: str) -> Application:
    """Build the routes."""
    arguments: dict[str, Any] = {"machines": machines, "limits": limits, "token": token}
    one = r"/v1/apps/([^/]+)/machines/([^/]+)"
    unsupported = "suspend|restart|cordon|uncordon|versions|ps|memory|reclaim"
    routes: list[Any] = [
        (r"/v1/apps/([^/]+)/machines", MachinesHandler, arguments),
        (one, MachineHandler, arguments),
        (rf"{one}/start", StartHandler, arguments),
        (rf"{one}/stop", StopHandler, arguments),
        (rf"{one}/wait", WaitHandler, arguments),
        (rf"{one}/signal", SignalHandler, arguments),
        (rf"{one}/exec", ExecHandler, arguments),
        (rf"{one}/lease", LeaseHandler, arguments),
        (rf"{one}/events", EventsHandler, arguments),
        (rf"{one}/metadata", MetadataHandler, arguments),
        (rf"{one}/metadata/([^/]+)", MetadataKeyHandler, arguments),
        (rf"{one}/(?:{unsupported})(?:/.*)?", UnimplementedHandler, arguments),
        (r"/v1/apps(?:/[^/]+)?", UnimplementedHandler, arguments),
        (
            r"/v1/apps/[^/]+/(?:volumes|ip_assignments|certificates|secrets|secretkeys|deploy_token)(?:/.*)?",
            UnimplementedHandler,
            arguments,
        ),
        (r"/v1/(?:orgs|platform|tokens|volumes|currently)(?:/.*)?", UnimplementedHandler, arguments),
    ]
    return Application(routes, default_handler_class=NotFoundHandler, default_handler_args=arguments, log_function=_log)


def _log(handler: RequestHandler) -> None:
    """Do not log requests: the log shows the life cycle of the machines."""
