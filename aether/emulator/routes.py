"""The paths of the Machines API: what we have, what Fly has and we lack (501), and nothing else (404)."""

from typing import TYPE_CHECKING, Any

from tornado.web import Application, RequestHandler

from aether.emulator.base import Base
from aether.emulator.handlers import (
    Events,
    Exec,
    Lease,
    Machines,
    OneMachine,
    Signal,
    Start,
    Stop,
    Wait,
)
from aether.emulator.metadata import Metadata, MetadataKey
from aether.emulator.requests import ApiError

if TYPE_CHECKING:
    from aether.emulator.api import Emulator


class Unimplemented(Base):
    """A path that Fly has and the emulator lacks."""

    async def prepare(self) -> None:
        """Answer 501 to whoever may ask."""
        await super().prepare()
        raise ApiError(501, f"unimplemented: the emulator does not implement {self.request.path}")


class NotFound(Base):
    """A path that Fly does not have either."""

    async def prepare(self) -> None:
        """Answer 404 to whoever may ask."""
        await super().prepare()
        raise ApiError(404, "not_found: no such path")


def application(emulator: "Emulator", token: str) -> Application:
    """Lay out the routes."""
    ours: dict[str, Any] = {"emulator": emulator, "token": token}
    one = r"/v1/apps/([^/]+)/machines/([^/]+)"
    lacking = "suspend|restart|cordon|uncordon|versions|ps|memory|reclaim"
    routes: list[Any] = [
        (r"/v1/apps/([^/]+)/machines", Machines, ours),
        (one, OneMachine, ours),
        (rf"{one}/start", Start, ours),
        (rf"{one}/stop", Stop, ours),
        (rf"{one}/wait", Wait, ours),
        (rf"{one}/signal", Signal, ours),
        (rf"{one}/exec", Exec, ours),
        (rf"{one}/lease", Lease, ours),
        (rf"{one}/events", Events, ours),
        (rf"{one}/metadata", Metadata, ours),
        (rf"{one}/metadata/([^/]+)", MetadataKey, ours),
        (rf"{one}/(?:{lacking})(?:/.*)?", Unimplemented, ours),
        (r"/v1/apps(?:/[^/]+)?", Unimplemented, ours),
        (
            r"/v1/apps/[^/]+/(?:volumes|ip_assignments|certificates|secrets|secretkeys|deploy_token)(?:/.*)?",
            Unimplemented,
            ours,
        ),
        (r"/v1/(?:orgs|platform|tokens|volumes|currently)(?:/.*)?", Unimplemented, ours),
    ]
    return Application(routes, default_handler_class=NotFound, default_handler_args=ours, log_function=_log)


def _log(handler: RequestHandler) -> None:
    """Keep requests out of the log: the machines' life cycle is in it."""
