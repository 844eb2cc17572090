"""Composition root: settings → Fly → fleet → housekeeping → routes."""

import logging
import random
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh
from prometheus_client import CollectorRegistry
from tornado.web import Application

from aether import __version__, openapi
from aether.emulator.runtimes.base import Isolation
from aether.emulator.server import Emulator
from aether.fleet.assembly import Assembly, FleetOptions, assemble
from aether.fleet.housekeeping import Housekeeping
from aether.fleet.lifecycle import LAST_OUTPUT_S
from aether.fleet.reconcile import Reconciler
from aether.fleet.registry import Fleet
from aether.fly.client import FlyClient
from aether.fly.limits import RateLimit
from aether.fly.operations import REPLICA_LAG_S, Operations
from aether.fly.template import MachineTemplate, SshNetwork
from aether.handlers.base import NotFoundHandler, OriginPolicy
from aether.handlers.machines import MachineHandler, MachinesHandler, StartHandler, StopHandler
from aether.handlers.ops import FleetCollector, JsonHandler, MetricsHandler, ReadyHandler
from aether.handlers.page import ModuleHandler, Page, PageHandler, RootHandler, XtermHandler
from aether.handlers.sessions import SessionHandler, SessionsHandler
from aether.handlers.terminal import CLOSE_PATIENCE_S, TerminalHandler
from aether.host_file import PtyHostFile
from aether.machines import MachineSize
from aether.settings import Settings
from aether.ssh.keys import load_or_make_user_key, load_user_key, public_text
from aether.ssh.pool import Keepalive
from aether.terminals.keeping import SessionPolicy, Sessions

log = logging.getLogger(__name__)

STATIC_DIR = Path(__file__).parent.parent / "static"
PTY_HOST = Path(__file__).parent.parent / "infra/images/base/pty_host.py"
LOCAL_APP = "local"
MAX_MESSAGE_BYTES = 8 << 20  # an input message of the longest `data`, every character escaped


@dataclass(frozen=True)
class Timing:
    """How long the program waits, in seconds, where no setting says so."""

    websocket_ping_s: float = 20.0  # proxies cut silent connections after 60 s
    close_patience_s: float = CLOSE_PATIENCE_S
    last_output_s: float = LAST_OUTPUT_S
    replica_lag_s: float = REPLICA_LAG_S
    keepalive: Keepalive = Keepalive()


class Aether:
    """The whole program but its listening socket: `start`, serve `application`, `stop`.

    Args:
        clock: seconds since the epoch.
        fly_client: makes the client of the Machines API: `FlyClient`, or one with the same arguments.
        choose_port: picks one of the free SSH ports for a new machine.
        emulator: makes the emulator: `Emulator`, or one with the same arguments.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Callable[[], float] = time.time,
        timing: Timing = Timing(),
        fly_client: Callable[..., FlyClient] = FlyClient,
        choose_port: Callable[[Sequence[int]], int] = random.choice,
        emulator: Callable[..., Emulator] = Emulator,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._timing = timing
        self._choose_port = choose_port
        self.client: FlyClient
        self._fly_client = fly_client
        self.emulator: Emulator | None = None
        self._make_emulator = emulator
        self.assembly: Assembly
        self.fleet: Fleet
        self.reconciler: Reconciler
        self.housekeeping: Housekeeping
        self.application: Application

    async def start(self) -> None:
        """Reach the provider, read the fleet from it, and make the application.

        Raises:
            EmulatorError: the emulator cannot start; UserKeyError: the SSH key cannot be used;
            AetherError: Fly said no or cannot be reached.
        """
        user_key = _user_key(self._settings)
        self.client = await self._reach_provider()
        operations = Operations(self.client, replica_lag_s=self._timing.replica_lag_s)
        template, options = _template(self._settings, user_key), self._fleet_options()
        self.assembly = assemble(operations, template, user_key, options, self._clock)
        self.fleet, self.reconciler = self.assembly.fleet, self.assembly.reconciler
        intervals = (self._settings.idle_timeout_s, self._settings.idle_check_s)
        self.housekeeping = Housekeeping(self.fleet, self.reconciler, *intervals, self._clock)
        try:
            await self.reconciler.reconcile()
        except BaseException:
            await self.stop()
            raise
        self.housekeeping.start()
        self.application = self._application()

    def _application(self) -> Application:
        return Application(
            self.routes(),
            default_handler_class=NotFoundHandler,
            default_handler_args={"policy": self._policy()},
            websocket_ping_interval=self._timing.websocket_ping_s,
            websocket_max_message_size=MAX_MESSAGE_BYTES,
        )

    async def _reach_provider(self) -> FlyClient:
        """Return a client of Fly, or of our own emulator where no Fly account is configured: the one difference."""
        settings = self._settings
        if not settings.is_local:
            limit = RateLimit(time.monotonic)
            url, app_name, token = settings.fly_flaps_base_url, settings.fly_app_name, settings.fly_api_token
            return self._fly_client(url, app_name, token, limit=limit)
        token = secrets.token_urlsafe(32)
        hidden = [settings.state_dir, *filter(None, [settings.ssh_private_key_file])]
        directory, runtime = settings.state_dir / "emulator", settings.emulator_runtime
        self.emulator = self._make_emulator(directory, token, runtime=runtime, clock=self._clock, hidden=hidden)
        await self.emulator.start()
        return self._fly_client(self.emulator.url, LOCAL_APP, token)

    async def stop(self) -> None:
        """Close terminals with "service restart" and stop local machines; those at Fly are left as they are."""
        await self.housekeeping.stop()
        await self.fleet.close()
        await self.client.close()
        if self.emulator is not None:
            await self.emulator.stop()

    def where(self) -> str:
        """Say in a few words where machines are."""
        if self.emulator is None:
            return f"machines are in the Fly app {self._settings.fly_app_name}"
        return f"no Fly account is configured, so machines are {self.emulator.isolation.value}"

    def health(self) -> dict[str, Any]:
        """Return what `/healthz` answers; `machines` is what the page says of local ones."""
        isolation = self.emulator.isolation if self.emulator else None
        return {
            "status": "ok",
            "provider": "local" if isolation else "fly",
            "sandboxed": isolation is not Isolation.NONE if isolation else None,
            "contained": isolation is Isolation.CONTAINER if isolation else None,
            "machines": isolation.value if isolation else None,
        }

    def _fleet_options(self) -> FleetOptions:
        settings, timing = self._settings, self._timing
        return FleetOptions(
            settings.fly_region,
            settings.max_machines,
            settings.max_sessions,
            timing.last_output_s,
            timing.keepalive,
            self._choose_port,
            _sessions(settings),
        )

    def _policy(self) -> OriginPolicy:
        return OriginPolicy(self._settings.allowed_origins, self._settings.address)

    def routes(self) -> list[tuple[str, type, dict[str, Any]]]:
        """Return the routes: pattern, handler, and what it is given."""
        settings = self._settings
        base = {"policy": self._policy()}
        fleet = {**base, "fleet": self.fleet}
        machine = {**fleet, "idle_timeout_s": settings.idle_timeout_s, "default_size": _default_size(settings)}
        patience_s = self._timing.close_patience_s
        terminal = {**fleet, "is_compressed": settings.compression == "on", "close_patience_s": patience_s}
        page = Page(STATIC_DIR)
        registry = CollectorRegistry()
        registry.register(FleetCollector(self.fleet))
        return [
            (r"/machines", MachinesHandler, machine),
            (r"/machines/([^/]+)", MachineHandler, machine),
            (r"/machines/([^/]+)/start", StartHandler, machine),
            (r"/machines/([^/]+)/stop", StopHandler, machine),
            (r"/machines/([^/]+)/sessions", SessionsHandler, fleet),
            (r"/machines/([^/]+)/sessions/([^/]+)", SessionHandler, fleet),
            (r"/machines/([^/]+)/terminal", TerminalHandler, terminal),
            (r"/healthz", JsonHandler, {**base, "answer": self.health()}),
            (r"/readyz", ReadyHandler, fleet),
            (r"/metrics", MetricsHandler, {**base, "registry": registry}),
            (r"/openapi.json", JsonHandler, {**base, "answer": openapi.document(__version__)}),
            (r"/", RootHandler, base),
            (r"/terminal.html", PageHandler, {**base, "page": page}),
            (r"/page/(.+)", ModuleHandler, {**base, "page": page}),
            (r"/xterm/(.+)", XtermHandler, {**base, "path": str(page.xterm_dir)}),
        ]


def _user_key(settings: Settings) -> asyncssh.SSHKey:
    if settings.ssh_private_key or settings.ssh_private_key_file:
        return load_user_key(settings.ssh_private_key, settings.ssh_private_key_file)
    return load_or_make_user_key(settings.state_dir / "ssh_key")


def _template(settings: Settings, user_key: asyncssh.SSHKey) -> MachineTemplate:
    app_name = LOCAL_APP if settings.is_local else settings.fly_app_name
    host = settings.ssh_host or ("127.0.0.1" if settings.is_local else f"{app_name}.fly.dev")
    return MachineTemplate(
        deployment=settings.deployment,
        image=settings.image or f"registry.fly.io/{app_name}/base:latest",
        rootfs_gb=settings.rootfs_gb,
        ssh_user=settings.ssh_user,
        user_public_key=public_text(user_key),
        network=SshNetwork(settings.ssh_network, host, settings.ssh_ports),
        pty_host=_pty_host(settings),
    )


def _pty_host(settings: Settings) -> PtyHostFile | None:
    """Return what keeps shells on a machine, unless they end with their connection."""
    return PtyHostFile(PTY_HOST.read_bytes()) if settings.sessions == "kept" else None


def _sessions(settings: Settings) -> Sessions | None:
    """Return how shells outlive their connections."""
    file = _pty_host(settings)
    return None if file is None else Sessions(file, SessionPolicy(settings.detach_grace_s, settings.max_detached))


def _default_size(settings: Settings) -> MachineSize:
    return MachineSize(settings.cpu_kind, settings.cpus, settings.memory_mb)
