"""Machine, MachineState and the transition table: what a machine is, without any I/O."""

import datetime
import enum
from dataclasses import dataclass
from typing import Any

FLY_STATES = {
    "created": "created",
    "started": "running",
    "stopped": "stopped",
    "suspended": "stopped",
    "failed": "error",
}
"""Fly's persistent states as ours (Fly docs, "Machine states"). Any other name means "in transition"."""

FLY_HALTED = frozenset({"stopping", "stopped", "suspending", "suspended", "failed"})
"""Fly's names for a machine that exists, does not run and is not starting."""

FLY_GONE = frozenset({"destroyed", "destroying", "launch_failed"})
"""Fly's names for a machine that is gone or about to be: `launch_failed` goes to `destroyed` by itself."""


SSH_PORTS = range(20000, 30000)
"""External ports of machines; below Linux' ephemeral ports, so that no outgoing connection holds one."""


OUTPUT_COUNTS_S = 3600.0
"""Output counts as activity for this long after the last input."""


HOST_UNREACHABLE = "host_unreachable"
PORT_SHARED = "port_shared"


class MachineState(enum.StrEnum):
    """The PRD's states. A destroyed machine has none: it is gone."""

    CREATED = "created"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    ERROR = "error"


_S = MachineState
TRANSITIONS: dict[MachineState, frozenset[MachineState]] = {
    _S.CREATED: frozenset({_S.STARTING, _S.STOPPING, _S.ERROR}),
    _S.STARTING: frozenset({_S.RUNNING, _S.STOPPING, _S.STOPPED, _S.ERROR}),
    _S.RUNNING: frozenset({_S.STOPPING, _S.STOPPED, _S.ERROR}),
    _S.STOPPING: frozenset({_S.STOPPED, _S.ERROR}),
    _S.STOPPED: frozenset({_S.STARTING, _S.STOPPING, _S.ERROR}),
    _S.ERROR: frozenset({_S.STARTING, _S.STOPPING, _S.STOPPED, _S.RUNNING}),  # running: a stop failed
}


def state_from_fly(fly_state: str) -> MachineState | None:
    """Translate Fly's name of a state; None while Fly is in transition or uses a name we do not know."""
    name = FLY_STATES.get(fly_state)
    return MachineState(name) if name else None


@dataclass(frozen=True)
class MachineSize:
    """Size of a machine: what Fly's API calls `guest`; `memory_mb` is MiB."""

    cpu_kind: str
    cpus: int
    memory_mb: int


@dataclass(frozen=True)
class MachineSpec:
    """What a caller may ask of a new machine."""

    name: str | None
    region: str | None
    size: MachineSize


@dataclass
class Machine:
    """One machine we manage. Times are seconds since the epoch."""

    id: str
    name: str
    region: str
    image: str
    size: MachineSize
    created_at: float
    last_activity_at: float
    last_input_at: float
    ssh_port: int
    host_public_key: str
    state: MachineState = MachineState.CREATED
    fly_machine_id: str = ""
    instance_id: str = ""
    private_ip: str = ""
    error: dict[str, Any] | None = None
    keeps_sessions: bool | None = None  # whether its shells outlive a connection, None until one was opened
    sessions_reason: str | None = None  # why they do not

    def to(self, state: MachineState) -> None:
        """Move to `state`; raise ValueError where the table has no such arrow."""
        if state is self.state:
            return
        if state not in TRANSITIONS[self.state]:
            raise ValueError(f"machine {self.id}: no transition from {self.state} to {state}")
        self.state = state
        if state is MachineState.STARTING:
            self.keeps_sessions = self.sessions_reason = None

    def note_input(self, now: float) -> None:
        """Record input, or a start, as activity at `now` (seconds since the epoch)."""
        self.last_input_at = now
        self.last_activity_at = now

    def note_output(self, now: float) -> None:
        """Record output as activity, if there was input within OUTPUT_COUNTS_S, so not `top` alone."""
        if now - self.last_input_at <= OUTPUT_COUNTS_S:
            self.last_activity_at = now

    def note_sessions(self, are_kept: bool, reason: str | None) -> None:
        """Record whether the machine's shells outlive a connection, and why not."""
        self.keeps_sessions, self.sessions_reason = are_kept, reason

    def set_address(self, instance_id: str, private_ip: str) -> bool:
        """Set version and private address; return whether the address has changed.

        Both may change when a machine starts (Fly docs, "Private networking").
        """
        has_moved = self.private_ip not in ("", private_ip)
        self.instance_id, self.private_ip = instance_id, private_ip
        return has_moved

    def note_unreachable(self) -> None:
        """Record that Fly does not reach the machine's host, so that the known state may be out of date."""
        text = "Fly does not reach the machine's host; its state is from before. Wait, or delete the machine."
        self.error = {"code": HOST_UNREACHABLE, "message": text}

    def note_shared_port(self, is_shared: bool) -> None:
        """Record whether another machine has the same external port: Fly would spread connections over both."""
        is_noted = self.error is not None and self.error["code"] == PORT_SHARED
        if is_shared and self.error is None:
            text = f"Another machine has port {self.ssh_port}, too. Save your files, delete this one, create it again."
            self.error = {"code": PORT_SHARED, "message": text}
        elif is_noted and not is_shared:
            self.error = None

    @property
    def is_unreachable(self) -> bool:
        """Whether Fly did not reach the machine's host when it was last read."""
        return self.error is not None and self.error["code"] == HOST_UNREACHABLE

    def idle_stop_at(self, idle_timeout_s: float) -> float | None:
        """Return when it is stopped without further activity (seconds since the epoch), None unless it runs."""
        return self.last_activity_at + idle_timeout_s if self.state is MachineState.RUNNING else None

    def is_idle(self, idle_timeout_s: float, now: float) -> bool:
        """Return whether the machine runs and has had no activity for `idle_timeout_s`."""
        deadline = self.idle_stop_at(idle_timeout_s)
        return deadline is not None and now >= deadline

    def why_no_terminal(self) -> str:
        """Say why a terminal cannot be opened on a machine that does not run, and what to do."""
        if self.state in (MachineState.CREATED, MachineState.STARTING):
            return "The machine is about to be stopped again."
        if self.state is MachineState.ERROR and self.error is not None:
            return f"The machine is in error: {self.error['message']}"
        return f"The machine is {self.state}; start it with POST /machines/{self.id}/start."

    def to_json(self, idle_stop_at: float | None) -> dict[str, Any]:
        """Return the public form; keys and their meaning are the README's."""
        return {
            "id": self.id,
            "name": self.name,
            "state": self.state.value,
            "region": self.region,
            "image": self.image,
            "guest": vars(self.size).copy(),
            "created_at": iso_utc(self.created_at),
            "last_activity_at": iso_utc(self.last_activity_at),
            "idle_stop_at": None if idle_stop_at is None else iso_utc(idle_stop_at),
            "fly_machine_id": self.fly_machine_id,
            "error": self.error,
            "sessions": {"kept": self.keeps_sessions, "reason": self.sessions_reason},
        }


def iso_utc(seconds: float) -> str:
    """Format seconds since the epoch as ISO 8601 UTC, to the second."""
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def from_iso(text: str) -> float:
    """Parse an ISO 8601 time into seconds since the epoch; ValueError if it is none."""
    return datetime.datetime.fromisoformat(text).timestamp()
