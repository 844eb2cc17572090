"""One local machine: its state machine and its process.

`config.restart.policy` is accepted and treated as "no": a machine whose process ends is `stopped`. The root filesystem
is wiped between a stop and the next start unless `config.rootfs.persist` is "always"; whether Fly's "restart" survives
that is not established, here it does not. `config.env` reaches the shells, as Fly's own variables do.
"""

import asyncio
import socket
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from aether.emulator.ledger import Ledger
from aether.emulator.record import exit_request
from aether.emulator.requests import ApiError, file_content, grace_s, ssh_port
from aether.emulator.rootfs import Rootfs, Trash
from aether.emulator.sandbox import GuestProcess, Sandbox, SandboxError

_CAN_DESTROY = frozenset({"created", "stopped", "suspended", "failed", "destroying"})


@dataclass(frozen=True)
class Host:
    """What the machines of one emulator share."""

    sandbox: Sandbox
    trash: Trash


class Machine:
    """A machine of an app: what can be asked of it, and what happens then."""

    def __init__(self, ledger: Ledger, host: Host) -> None:
        self.ledger = ledger
        self._host = host
        self._rootfs = Rootfs(ledger.directory / "rootfs")
        self._guest: GuestProcess | None = None
        self._task: asyncio.Task[None] | None = None
        self._grace_s: float | None = None  # set once somebody asked for a stop
        self._is_doomed = False

    @property
    def id(self) -> str:
        """The machine's id, 14 hexadecimal digits."""
        return str(self.ledger.record["id"])

    @property
    def state(self) -> str:
        """One of Fly's states."""
        return self.ledger.state

    @property
    def ssh_port(self) -> int | None:
        """The port on 127.0.0.1 its SSH server listens on, if it has a service."""
        return ssh_port(self.ledger.config)

    def launch(self, listener: socket.socket | None, is_skipped: bool) -> None:
        """Record the creation; then boot, or settle to `stopped` if the launch is skipped."""
        self.ledger.enter("created", "launch", "user")
        if is_skipped and listener is not None:
            listener.close()
        self._own(self._settle() if is_skipped else self._live(listener), "launch")

    def start(self) -> str:
        """Begin to start and answer the state before; a started or starting machine stays as it is."""
        before = self.state
        if before in {"created", "stopping", "destroying", "destroyed"}:
            text = f"failed_precondition: unable to start machine from current state: '{before}'"
            raise ApiError(412, text)
        if before == "stopped":
            self.ledger.enter("starting", "start", "user")
            self._own(self._restart(), "start")
        return before

    def stop(self, timeout_s: float | None) -> None:
        """Begin to stop; a stopped machine stays as it is ("stopping an already-stopped machine returns success")."""
        if self.state in {"destroying", "destroyed"}:
            text = f"failed_precondition: unable to stop machine from current state: '{self.state}'"
            raise ApiError(412, text)
        if self.state in {"stopped", "stopping"}:
            return
        configured = grace_s(self.ledger.config.get("stop_config", {}).get("timeout"))
        self._grace_s = configured if timeout_s is None else timeout_s
        self._stop_guest()

    def destroy(self, is_forced: bool) -> None:
        """Begin to destroy; a running machine only if that is forced."""
        if self.state == "destroyed":
            raise ApiError(404, "not_found: machine not found")
        if self.state not in _CAN_DESTROY and not is_forced:
            text = "unable to destroy machine, not currently stopped, suspended, failed or created"
            raise ApiError(412, f"failed_precondition: {text}")
        if self._is_doomed:
            return
        self._is_doomed, self._grace_s = True, 0.0
        self.ledger.enter("destroying", "destroy", "user")
        if self._task is None:
            self._own(self._settle(), "destroy")
        else:
            self._stop_guest()

    async def close(self) -> None:
        """Stop, and wait until everything it started has ended."""
        if self.state not in {"destroying", "destroyed"}:
            self.stop(None)
        if self._task is not None:
            await self._task

    async def recover(self) -> None:
        """Settle what an earlier process of the emulator left in the middle."""
        self._is_doomed = self.state == "destroying"
        if self.state != "stopped":
            await self._host.sandbox.sweep(self.id)
            await self._settle(0 if self.state == "created" else -9, "the emulator ended")

    def _own(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self._task = asyncio.create_task(work, name=f"machine {self.id} {name}")

    async def _restart(self) -> None:
        """Start again: wiped, as Fly's plain root filesystem is, and with the SSH port if that is still free."""
        try:
            if self.ledger.config.get("rootfs", {}).get("persist") != "always":
                await self._host.trash.throw(self._rootfs.path)
            listener = bind(self.ssh_port)
        except (ApiError, OSError) as error:
            await self._settle(1, str(error))
        else:
            await self._live(listener)

    async def _live(self, listener: socket.socket | None) -> None:
        """Boot, run until the process ends, settle."""
        code, error = 0, ""
        if self._grace_s is None and self.state == "created":
            self.ledger.enter("starting", "start", "flyd")
        if self._grace_s is None:
            try:
                self._guest = await self._boot(listener)
            except (OSError, SandboxError) as failure:
                code, error = 1, str(failure)
        if listener is not None:
            listener.close()
        if self._guest is not None:
            code = await self._run(self._guest)
        await self._settle(code, error)

    async def _boot(self, listener: socket.socket | None) -> GuestProcess:
        files = self.ledger.config.get("files", [])
        self._rootfs.prepare()
        for file in files:
            self._rootfs.write(file["guest_path"].lstrip("/"), file_content(file), file.get("mode", 0o644))
        paths = [file["guest_path"] for file in files]
        return await self._host.sandbox.start(self._rootfs, listener, self._environment(), paths)

    async def _run(self, guest: GuestProcess) -> int:
        """Be `started` until the process ends, by itself or because somebody asked, perhaps during the boot."""
        if not self._is_doomed:
            self.ledger.enter("started", "start", "flyd")
        if self._grace_s is not None:
            self._stop_guest()
        code = await guest.wait()
        self._guest = None
        if not self._host.sandbox.is_bwrap:
            await self._host.sandbox.sweep(self.id)
        return code

    def _stop_guest(self) -> None:
        """Stop the process; one that is not there yet is stopped when it is."""
        if self._guest is not None and self._grace_s is not None:
            if self.state == "started":
                self.ledger.enter("stopping", "stop", "user")
            self._guest.stop(self._grace_s)

    async def _settle(self, code: int = 0, error: str = "") -> None:
        """Become `stopped`, or `destroyed` if that was asked for meanwhile."""
        if not self._is_doomed:
            request = exit_request(code, self._grace_s is not None, error, self.ledger.now())
            self._task = self._grace_s = None
            self.ledger.enter("stopped", "exit", "flyd", request)
            return
        await self._host.trash.throw(self.ledger.directory)
        self.ledger.enter("destroyed", "destroy", "flyd")

    def _environment(self) -> dict[str, str]:
        """Build what Fly sets inside a machine (fly.io docs, the machine runtime environment)."""
        record, config = self.ledger.record, self.ledger.config
        return {
            **config["env"],
            "FLY_APP_NAME": self.ledger.app,
            "FLY_MACHINE_ID": self.id,
            "FLY_REGION": record["region"],
            "FLY_PRIVATE_IP": record["private_ip"],
            "FLY_IMAGE_REF": config["image"],
            "FLY_MACHINE_VERSION": record["instance_id"],
            "FLY_VM_MEMORY_MB": str(config["guest"]["memory_mb"]),
            "FLY_PROCESS_GROUP": config.get("metadata", {}).get("fly_process_group", ""),
        }


def bind(port: int | None) -> socket.socket | None:
    """Reserve a port of 127.0.0.1; nothing listens until the machine's SSH server does."""
    if port is None:
        return None
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
    except OSError:
        listener.close()
        text = f"aborted: external port {port} is already in use on this computer"
        raise ApiError(409, text) from None
    return listener
