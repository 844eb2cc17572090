"""One machine: the requests to it, and when they are refused. What happens after a request is in `life`.

`config.restart.policy` is accepted and treated as "no": a machine whose process ends is `stopped`.
"""

import signal
import socket

from aether.emulator.clock import within
from aether.emulator.config import grace_s, ssh_port
from aether.emulator.errors import ApiError, Json
from aether.emulator.machine.leases import CurrentLease
from aether.emulator.machine.life import Host, Life
from aether.emulator.machine.record import ulid
from aether.emulator.machine.store import MachineStore
from aether.emulator.runtimes.base import MachineProcess

_CLOSE_GRACE_S = 3.0  # at most, when the emulator itself stops
_CAN_DESTROY = frozenset({"created", "stopped", "suspended", "failed", "destroying"})
_CAN_UPDATE = frozenset({"started", "stopped", "suspended", "failed"})
_EXEC_LIMIT_S = 30  # recorded: longer commands are 408 (superfly/flyctl#4194)


class Machine:
    """A machine of an app."""

    def __init__(self, store: MachineStore, host: Host) -> None:
        self.store = store
        self.lease = CurrentLease(store.id)
        self._host = host
        self._options = host.options
        self._life = Life(store, host)
        self._active_until = 0.0

    @property
    def id(self) -> str:
        """The machine's id, 14 hexadecimal digits."""
        return self.store.id

    @property
    def state(self) -> str:
        """One of Fly's states."""
        return self.store.state

    @property
    def ssh_port(self) -> int | None:
        """The port of 127.0.0.1 that its SSH server listens on, if it has a service."""
        return ssh_port(self.store.config)

    def view(self) -> Json:
        """Return the machine as the API shows it."""
        return self.store.view()

    def launch(self, listener: socket.socket | None, is_skipped: bool) -> None:
        """Record the creation and begin to boot."""
        self.store.change_state("created", "launch", "user")
        self._life.launch(listener, is_skipped)

    def start(self) -> str:
        """Begin to start; return the state before. A started or starting machine stays as it is."""
        before = self.state
        if before == "replacing":
            raise ApiError(412, "failed_precondition: machine getting replaced, refusing to start")
        is_refused = before == "started" and self._options.start_on_started != 200
        if is_refused or before in {"created", "stopping", "destroying", "destroyed"}:
            text = f"failed_precondition: unable to start machine from current state: '{before}'"
            raise ApiError(412, text)
        if before == "stopped":
            if self.store.now() < self._active_until:
                raise ApiError(412, "failed_precondition: machine still active, refusing to start")
            self.store.change_state("starting", "start", "user")
            self._life.start()
        return before

    def stop(self, timeout_s: float | None) -> None:
        """Begin to stop; a stopped machine stays as it is ("stopping an already-stopped machine returns success")."""
        if self.state in {"destroying", "destroyed", "replacing"}:
            text = f"failed_precondition: unable to stop machine from current state: '{self.state}'"
            raise ApiError(412, text)
        if self.state == "stopped" and self._options.stop_on_stopped != 200:
            raise ApiError(409, "unable to stop machine, not currently started")
        if self.state in {"stopped", "stopping"}:
            return
        configured = grace_s(self.store.config.get("stop_config", {}).get("timeout"))
        self._life.stop(configured if timeout_s is None else timeout_s)
        self._active_until = self.store.now() + self._options.still_active_s

    def destroy(self, is_forced: bool) -> None:
        """Begin to destroy; a running machine only if that is forced."""
        if self.state == "destroyed":
            raise ApiError(404, "not_found: machine not found")
        if self.state not in _CAN_DESTROY and not is_forced:
            text = "unable to destroy machine, not currently stopped, suspended, failed or created"
            raise ApiError(412, f"failed_precondition: {text}")
        if not self._life.is_destroying:
            self.store.change_state("destroying", "destroy", "user")
            self._life.destroy()

    def check_update(self, request: Json) -> None:
        """Refuse an update that changes what it cannot, or that is concurrent (fly.io docs, Machines API: update)."""
        if self.state == "destroyed":
            raise ApiError(404, "not_found: machine not found")
        if self.state == "replacing":
            raise ApiError(409, "aborted: machine is replacing: concurrent update in progress")
        for key in ("name", "region"):
            if request.get(key, self.store.record[key]) != self.store.record[key]:
                raise ApiError(400, f"invalid_argument: the {key} of a machine cannot be changed")
        version = self.store.record["instance_id"]
        if request.get("current_version", version) != version:
            raise ApiError(409, f"aborted: machine version mismatch, current version is {version}")
        if self.state not in _CAN_UPDATE:
            text = f"failed_precondition: unable to update machine from current state: '{self.state}'"
            raise ApiError(412, text)

    def update(self, config: Json, is_skipped: bool) -> None:
        """Replace the whole config; a started machine restarts, others stay stopped."""
        is_launched = self.state == "started" and not is_skipped
        self.store.replace_config(config, ulid(self.store.now()))
        self.store.change_state("replacing", "update", "user")
        self._life.replace(is_launched)

    def kill(self, name: str | int) -> None:
        """Send SIGKILL or SIGTERM to the machine's process, which ends it."""
        number = getattr(signal, name, None) if isinstance(name, str) else name
        if number not in {signal.SIGKILL, signal.SIGTERM}:
            raise ApiError(501, f"unimplemented: the emulator sends SIGKILL and SIGTERM, not {name}")
        self._process().signal(int(number))

    async def run(self, command: list[str], stdin: str, timeout_s: int) -> Json:
        """Run a command inside the machine; return its outcome, 408 if it takes too long."""
        outcome = self._process().run(command, stdin)
        try:
            return await within(outcome, min(timeout_s, _EXEC_LIMIT_S), self._host.sleep)
        except TimeoutError:
            raise ApiError(408, "deadline_exceeded: command did not end in time") from None

    def _process(self) -> MachineProcess:
        process = self._life.process
        if process is None or self.state != "started":
            raise ApiError(412, f"failed_precondition: machine not running, currently {self.state}")
        return process

    async def crash(self, exit_code: int, is_oom: bool) -> None:
        """Let the process end as if by itself; returns when the machine is `stopped`."""
        self._process()
        await self._life.crash(exit_code, is_oom)

    async def vanish(self) -> None:
        """Be destroyed as if by another client; returns when it is `destroyed`."""
        if self.state != "destroyed":
            self.destroy(is_forced=True)
            await self._life.ended()

    def migrate(self) -> None:
        """Move to another host, as on Fly between a stop and a start: same id, another private address."""
        if self.state != "stopped":
            raise ApiError(412, f"failed_precondition: unable to migrate machine from current state: '{self.state}'")
        self.store.change_address()

    async def close(self) -> None:
        """Stop, and wait until everything it started has ended."""
        if self.state not in {"stopped", "stopping", "destroying", "destroyed", "replacing"}:
            configured = grace_s(self.store.config.get("stop_config", {}).get("timeout"))
            self.stop(min(configured, _CLOSE_GRACE_S))
        await self._life.close()

    async def recover(self) -> None:
        """Complete what an earlier process of the emulator left unfinished."""
        await self._life.recover()
