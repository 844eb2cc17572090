"""Composition root: settings → client → fleet → sweeper → routes."""

import logging
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncssh
from prometheus_client import CollectorRegistry
from tornado.web import Application

from aether import __version__, openapi
from aether.emulator.api import Emulator
from aether.emulator.containers import ENGINES
from aether.fleet import Fleet
from aether.fly.client import FlyClient
from aether.fly.config import Birth, SshNetwork
from aether.fly.limits import RateLimit
from aether.handlers.base import Doors, NotFoundHandler
from aether.handlers.machines import MachineHandler, MachinesHandler, StartHandler, StopHandler
from aether.handlers.ops import FleetCollector, JsonHandler, MetricsHandler, ReadyHandler
from aether.handlers.page import ModuleHandler, Page, PageHandler, RootHandler, XtermHandler
from aether.handlers.terminal import TerminalHandler
from aether.idle import IdleSweeper
from aether.machines import Guest
from aether.reconcile import Reconciler
from aether.settings import Settings
from aether.ssh.keys import load_or_make_user_key, load_user_key, public_text

log = logging.getLogger(__name__)

STATIC_DIR = Path(__file__).parent.parent / "static"
LOCAL_APP = "local"
WEBSOCKET_PING_S = 20.0  # proxies cut silent connections after 60 s
MAX_MESSAGE_BYTES = 8 << 20  # an input message of the longest `data`, every character escaped


class Aether:
    """The whole program but its listening socket: `start`, serve `application`, `stop`."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._clock = clock
        self._emulator: Emulator | None = None
        self._client: FlyClient
        self.fleet: Fleet
        self.reconciler: Reconciler
        self.sweeper: IdleSweeper
        self.application: Application

    async def start(self) -> None:
        """Reach the provider, read the fleet from it, and make the application.

        Raises:
            EmulatorError: the emulator cannot start; UserKeyError: the SSH key cannot be used;
            AetherError: Fly said no or cannot be reached.
        """
        settings = self._settings
        user_key = _user_key(settings)
        self._client = await self._reach_provider()
        birth = _birth(settings, user_key)
        limits = (settings.max_machines, settings.max_sessions)
        self.fleet = Fleet(self._client, birth, user_key, settings.fly_region, *limits, self._clock)
        self.reconciler = Reconciler(self.fleet, self._client, settings.deployment, self._clock)
        intervals = (settings.idle_timeout_s, settings.idle_check_s)
        self.sweeper = IdleSweeper(self.fleet, self.reconciler, *intervals, self._clock)
        try:
            await self.reconciler.reconcile()
        except BaseException:
            await self.stop()
            raise
        self.sweeper.start()
        self.application = Application(
            self._routes(),
            default_handler_class=NotFoundHandler,
            default_handler_args={"doors": self._doors()},
            websocket_ping_interval=WEBSOCKET_PING_S,
            websocket_max_message_size=MAX_MESSAGE_BYTES,
        )

    async def _reach_provider(self) -> FlyClient:
        """Return a client of Fly, or of our own emulator where no Fly account is configured: the one difference."""
        settings = self._settings
        if not settings.is_local:
            limit = RateLimit(time.monotonic)
            return FlyClient(settings.fly_flaps_base_url, settings.fly_app_name, settings.fly_api_token, limit=limit)
        token = secrets.token_urlsafe(32)
        hidden = [settings.state_dir, *filter(None, [settings.ssh_private_key_file])]
        directory, runtime = settings.state_dir / "emulator", settings.emulator_runtime
        self._emulator = Emulator(directory, token, runtime=runtime, clock=self._clock, hidden=hidden)
        await self._emulator.start()
        return FlyClient(self._emulator.url, LOCAL_APP, token)

    async def stop(self) -> None:
        """Close terminals with "service restart" and stop local machines; those at Fly are left as they are."""
        await self.sweeper.stop()
        await self.fleet.close()
        await self._client.close()
        if self._emulator is not None:
            await self._emulator.stop()

    def where(self) -> str:
        """Say in a few words where machines are."""
        if self._emulator is None:
            return f"machines are in the Fly app {self._settings.fly_app_name}"
        if self._settings.emulator_runtime in ENGINES:
            kind = f"containers of {self._settings.emulator_runtime}"
            return f"no Fly account is configured, so machines are {kind} on this computer"
        kept = "separated by bubblewrap, which is no security sandbox" if self._emulator.sandboxed else "no sandbox"
        return f"no Fly account is configured, so machines are local processes on this computer ({kept})"

    def _health(self) -> dict[str, Any]:
        emulator = self._emulator
        return {
            "status": "ok",
            "provider": "local" if emulator else "fly",
            "sandboxed": emulator.sandboxed if emulator else None,
            "contained": self._settings.emulator_runtime in ENGINES if emulator else None,
        }

    def _doors(self) -> Doors:
        return Doors(self._settings.allowed_origins, self._settings.address)

    def _routes(self) -> list[tuple[str, type, dict[str, Any]]]:
        settings = self._settings
        door = {"doors": self._doors()}
        fleet = {**door, "fleet": self.fleet}
        machine = {**fleet, "idle_timeout_s": settings.idle_timeout_s, "default_guest": _default_guest(settings)}
        page = Page(STATIC_DIR)
        registry = CollectorRegistry()
        registry.register(FleetCollector(self.fleet))
        return [
            (r"/machines", MachinesHandler, machine),
            (r"/machines/([^/]+)", MachineHandler, machine),
            (r"/machines/([^/]+)/start", StartHandler, machine),
            (r"/machines/([^/]+)/stop", StopHandler, machine),
            (r"/machines/([^/]+)/terminal", TerminalHandler, {**fleet, "is_compressed": settings.compression == "on"}),
            (r"/healthz", JsonHandler, {**door, "answer": self._health()}),
            (r"/readyz", ReadyHandler, fleet),
            (r"/metrics", MetricsHandler, {**door, "registry": registry}),
            (r"/openapi.json", JsonHandler, {**door, "answer": openapi.document(__version__)}),
            (r"/", RootHandler, door),
            (r"/terminal.html", PageHandler, {**door, "page": page}),
            (r"/page/(.+)", ModuleHandler, {**door, "page": page}),
            (r"/xterm/(.+)", XtermHandler, {**door, "path": str(page.xterm_dir)}),
        ]


def _user_key(settings: Settings) -> asyncssh.SSHKey:
    if settings.ssh_private_key or settings.ssh_private_key_file:
        return load_user_key(settings.ssh_private_key, settings.ssh_private_key_file)
    return load_or_make_user_key(settings.state_dir / "ssh_key")


def _birth(settings: Settings, user_key: asyncssh.SSHKey) -> Birth:
    app_name = LOCAL_APP if settings.is_local else settings.fly_app_name
    host = settings.ssh_host or ("127.0.0.1" if settings.is_local else f"{app_name}.fly.dev")
    return Birth(
        deployment=settings.deployment,
        image=settings.image or f"registry.fly.io/{app_name}/base:latest",
        rootfs_gb=settings.rootfs_gb,
        ssh_user=settings.ssh_user,
        user_public_key=public_text(user_key),
        network=SshNetwork(settings.ssh_network, host, settings.ssh_ports),
    )


def _default_guest(settings: Settings) -> Guest:
    return Guest(settings.cpu_kind, settings.cpus, settings.memory_mb)
