"""One machine: what can be asked of it, and when that is refused. What happens then is its `life`.

`config.restart.policy` is accepted and treated as "no": a machine whose process ends is `stopped`.
"""

import signal
import socket

from aether.emulator.clock import within
from aether.emulator.leases import Leasehold
from aether.emulator.ledger import Ledger
from aether.emulator.life import Life
from aether.emulator.record import Json, ulid
from aether.emulator.requests import ApiError, grace_s, ssh_port
from aether.emulator.runtime import Guest, Host

_LAST_GRACE_S = 3.0  # for shells, when the emulator itself stops
_CAN_DESTROY = frozenset({"created", "stopped", "suspended", "failed", "destroying"})
_CAN_UPDATE = frozenset({"started", "stopped", "suspended", "failed"})
_EXEC_LIMIT_S = 30  # recorded: longer commands are 408 (superfly/flyctl#4194)


class Machine:
    """A machine of an app."""

    def __init__(self, ledger: Ledger, host: Host) -> None:
        self.ledger = ledger
        self.leasehold = Leasehold(self.id)
        self._host = host
        self._options = host.options
        self._life = Life(ledger, host)
        self._active_until = 0.0

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

    def view(self) -> Json:
        """Answer the machine as the API shows it."""
        return self.ledger.view()

    def launch(self, listener: socket.socket | None, is_skipped: bool) -> None:
        """Record the creation and begin to boot."""
        self.ledger.enter("created", "launch", "user")
        self._life.launch(listener, is_skipped)

    def start(self) -> str:
        """Begin to start and answer the state before; a started or starting machine stays as it is."""
        before = self.state
        if before == "replacing":
            raise ApiError(412, "failed_precondition: machine getting replaced, refusing to start")
        is_refused = before == "started" and self._options.start_on_started != 200
        if is_refused or before in {"created", "stopping", "destroying", "destroyed"}:
            text = f"failed_precondition: unable to start machine from current state: '{before}'"
            raise ApiError(412, text)
        if before == "stopped":
            if self.ledger.now() < self._active_until:
                raise ApiError(412, "failed_precondition: machine still active, refusing to start")
            self.ledger.enter("starting", "start", "user")
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
        configured = grace_s(self.ledger.config.get("stop_config", {}).get("timeout"))
        self._life.stop(configured if timeout_s is None else timeout_s)
        self._active_until = self.ledger.now() + self._options.still_active_s

    def destroy(self, is_forced: bool) -> None:
        """Begin to destroy; a running machine only if that is forced."""
        if self.state == "destroyed":
            raise ApiError(404, "not_found: machine not found")
        if self.state not in _CAN_DESTROY and not is_forced:
            text = "unable to destroy machine, not currently stopped, suspended, failed or created"
            raise ApiError(412, f"failed_precondition: {text}")
        if not self._life.is_doomed:
            self.ledger.enter("destroying", "destroy", "user")
            self._life.doom()

    def check_update(self, request: Json) -> None:
        """Refuse what no update can change, and one that meets another (fly.io docs, Machines API: update)."""
        if self.state == "destroyed":
            raise ApiError(404, "not_found: machine not found")
        if self.state == "replacing":
            raise ApiError(409, "aborted: machine is replacing: concurrent update in progress")
        for key in ("name", "region"):
            if request.get(key, self.ledger.record[key]) != self.ledger.record[key]:
                raise ApiError(400, f"invalid_argument: the {key} of a machine cannot be changed")
        version = self.ledger.record["instance_id"]
        if request.get("current_version", version) != version:
            raise ApiError(409, f"aborted: machine version mismatch, current version is {version}")
        if self.state not in _CAN_UPDATE:
            text = f"failed_precondition: unable to update machine from current state: '{self.state}'"
            raise ApiError(412, text)

    def update(self, config: Json, is_skipped: bool) -> None:
        """Replace the whole config; a started machine restarts, others stay stopped."""
        is_launched = self.state == "started" and not is_skipped
        self.ledger.renew(config, ulid(self.ledger.now()))
        self.ledger.enter("replacing", "update", "user")
        self._life.replace(is_launched)

    def kill(self, name: str | int) -> None:
        """Send SIGKILL or SIGTERM to the machine's process, which ends it."""
        number = getattr(signal, name, None) if isinstance(name, str) else name
        if number not in {signal.SIGKILL, signal.SIGTERM}:
            raise ApiError(501, f"unimplemented: the emulator sends SIGKILL and SIGTERM, not {name}")
        self._guest().signal(int(number))

    async def run(self, command: list[str], stdin: str, timeout_s: int) -> Json:
        """Run a command inside the machine and answer its outcome; 408 if that takes too long."""
        outcome = self._guest().run(command, stdin)
        try:
            return await within(outcome, min(timeout_s, _EXEC_LIMIT_S), self._host.sleep)
        except TimeoutError:
            raise ApiError(408, "deadline_exceeded: command did not end in time") from None

    def _guest(self) -> Guest:
        guest = self._life.guest
        if guest is None or self.state != "started":
            raise ApiError(412, f"failed_precondition: machine not running, currently {self.state}")
        return guest

    async def crash(self, exit_code: int, is_oom: bool) -> None:
        """Let the process end as if by itself; answers when the machine is settled."""
        self._guest()
        await self._life.crash(exit_code, is_oom)

    async def vanish(self) -> None:
        """Be destroyed as if by somebody else; answers when it is gone."""
        if self.state != "destroyed":
            self.destroy(is_forced=True)
            await self._life.ended()

    def migrate(self) -> None:
        """Move to another host, as Fly may between a stop and a start: same id, another private address."""
        if self.state != "stopped":
            raise ApiError(412, f"failed_precondition: unable to migrate machine from current state: '{self.state}'")
        self.ledger.readdress()

    async def close(self) -> None:
        """Stop, and wait until everything it started has ended."""
        if self.state not in {"stopped", "stopping", "destroying", "destroyed", "replacing"}:
            configured = grace_s(self.ledger.config.get("stop_config", {}).get("timeout"))
            self.stop(min(configured, _LAST_GRACE_S))
        await self._life.close()

    async def recover(self) -> None:
        """Settle what an earlier process of the emulator left in the middle."""
        await self._life.recover()
