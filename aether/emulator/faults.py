"""What can go wrong on purpose: `emulator.faults.inject(kind, action, times, machine)`, until it has or `clear()`.

A fault meets a request by its action (`create get list update start stop destroy wait metadata lease exec signal
events`, or `*` for any) and perhaps by the Fly machine's id, whichever its app; a create has no id yet. `times` counts
the requests it meets, None is every one. Of several faults the one injected first is met.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from aether.emulator.record import Json

KINDS: Mapping[str, str] = MappingProxyType(
    {
        "commit-408": "the effect happens, the answer is 408 deadline_exceeded",
        "commit-500": "the effect happens, the answer is 500",
        "commit-drop": "the effect happens, the connection is dropped without an answer",
        "lose-408": "nothing happens, the answer is 408 deadline_exceeded",
        "lose-503": "nothing happens, the answer is 503",
        "lose-drop": "nothing happens, the connection is dropped without an answer",
        "unavailable": "nothing happens, the answer is 503 with a body that is not JSON",
        "rate-limit": "nothing happens, the answer is 429",
        "hang": "nothing happens and no answer comes until the client gives up; clear() drops the connection",
        "garbage": "the effect happens, the answer is 200 with a body that is not JSON",
        "not-found": "the answer is 404 although the machine exists: a replica lags (default action: get)",
        "stale-list": "a list shows what was when the fault was injected (action: list)",
        "stale-get": "a get shows what was when the fault was injected (action: get)",
        "empty-list": "a list is 200 and empty (action: list)",
        "no-capacity": "start: 409, the host is full; create: 422, the region is",
        "quota": "create: 403, the organization's memory quota is used up",
        "host-unreachable": "get and list show host_status unreachable and no config (default action: both)",
        "slow-boot": "a boot stays in `starting` for `seconds` longer (default action: create and start)",
    }
)
_MACHINE_ACTIONS = (
    "get",
    "update",
    "start",
    "stop",
    "destroy",
    "wait",
    "metadata",
    "lease",
    "exec",
    "signal",
    "events",
)
ACTIONS = frozenset(("create", "list", *_MACHINE_ACTIONS))
_OWN_ACTIONS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "stale-list": frozenset({"list"}),
        "stale-get": frozenset({"get"}),
        "empty-list": frozenset({"list"}),
        "no-capacity": frozenset({"create", "start"}),
        "quota": frozenset({"create"}),
        "host-unreachable": frozenset({"get", "list"}),
        "slow-boot": frozenset({"create", "start", "update"}),
    }
)
_USUAL = MappingProxyType(
    {"stale-list": "list", "stale-get": "get", "empty-list": "list", "not-found": "get"}
    | dict.fromkeys(("host-unreachable", "slow-boot"), "*")
)


@dataclass
class Fault:
    """One thing that goes wrong, and how often still."""

    kind: str
    actions: frozenset[str]
    times: int | None
    machine: str | None
    seconds: float
    seen: Mapping[str, tuple[str, Json]]  # app and JSON of every machine when the fault was injected, by id


class Faults:
    """The faults of one emulator."""

    kinds = KINDS

    def __init__(self, snapshot: Callable[[], Mapping[str, tuple[str, Json]]]) -> None:
        self._snapshot = snapshot
        self._faults: list[Fault] = []
        self._hanging: set[asyncio.Event] = set()

    def inject(
        self,
        kind: str,
        action: str | None = None,
        times: int | None = 1,
        machine: str | None = None,
        seconds: float = 60.0,
    ) -> Fault:
        """Let something go wrong.

        Args:
            action: which calls, `*` for all; without it the kind's usual, which is `create` where KINDS says nothing.
            times: how many of them; None is all of them until `clear`.
            machine: calls to this machine only, or what an answer says about it.
            seconds: how long a slow boot takes.
        """
        if kind not in KINDS:
            raise ValueError(f"no fault is called {kind!r}; there are {', '.join(KINDS)}")
        possible = _OWN_ACTIONS.get(kind, ACTIONS)
        action = action or _USUAL.get(kind, "create")
        actions = possible if action == "*" else frozenset({action}) & possible
        if not actions:
            raise ValueError(f"the fault {kind} is for {', '.join(sorted(possible))}, not for {action!r}")
        if times is not None and times < 1:
            raise ValueError("a fault happens once at least")
        seen = self._snapshot() if kind.startswith("stale-") else {}
        fault = Fault(kind, actions, times, machine, seconds, seen)
        self.add(fault)
        return fault

    def add(self, fault: Fault) -> None:
        """Let a fault match requests, after those that were added before it."""
        self._faults.append(fault)

    def remove(self, fault: Fault) -> None:
        """Let a fault match no more requests; it may be added again, with what it has seen."""
        self._faults.remove(fault)

    def inject_text(self, text: str) -> None:
        """Inject what `--fault KIND[:ACTION[:TIMES]]` says; TIMES may be `*`."""
        kind, _, rest = text.partition(":")
        action, _, times = rest.partition(":")
        if times not in {"", "*"} and not times.isdecimal():
            raise ValueError(f"how often is a number or *, not {times!r}")
        self.inject(kind, action or None, None if times == "*" else int(times or 1))

    def clear(self) -> None:
        """Let everything go well again, and drop the connections that hang."""
        self._faults.clear()
        for event in self._hanging:
            event.set()

    @property
    def hanging(self) -> int:
        """How many requests hang."""
        return len(self._hanging)

    @property
    def active(self) -> list[Fault]:
        """What will still go wrong."""
        return list(self._faults)

    def take(self, action: str, machine: str | None, but: Collection[str] = ("slow-boot",)) -> Fault | None:
        """Find the fault that meets a request, and count it."""
        for fault in self._faults:
            is_about = fault.machine in {None, machine} or action == "list"
            if action in fault.actions and is_about and fault.kind not in but:
                return self._count(fault)
        return None

    def slow_boot_s(self, action: str, machine: str) -> float:
        """Take the delay of the next boot."""
        fault = self.take(action, machine, frozenset(KINDS) - {"slow-boot"})
        return 0.0 if fault is None else fault.seconds

    def _count(self, fault: Fault) -> Fault:
        if fault.times is not None:
            fault.times -= 1
            if not fault.times:
                self._faults.remove(fault)
        return fault

    async def hang(self, released: asyncio.Event) -> None:
        """Wait until the client is gone or everything is cleared, which both set the event."""
        self._hanging.add(released)
        try:
            await released.wait()
        finally:
            self._hanging.discard(released)
