"""Injected faults: `emulator.faults.inject(kind, action, times, machine)`; each lasts `times` requests or to `clear()`.

A fault matches a request by its action (`create get list update start stop destroy wait metadata lease exec signal
events`, or `*` for any) and, if it names one, by the id of the machine, in any app; a create has no id yet. `times` is
how many requests it matches, None is all of them. Of several that match, the one injected first is used.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from aether.emulator.errors import Json

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
        "hang": "nothing happens and no answer comes until the client disconnects; clear() drops the connection",
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
_DEFAULT_ACTIONS = MappingProxyType(
    {"stale-list": "list", "stale-get": "get", "empty-list": "list", "not-found": "get"}
    | dict.fromkeys(("host-unreachable", "slow-boot"), "*")
)


@dataclass
class Fault:
    """One injected fault, and how many requests it still matches."""

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
        """Add a fault.

        Args:
            action: which calls, `*` for all; by default the kind's own, which is `create` where KINDS says nothing.
            times: how many of them; None is all of them until `clear`.
            machine: only calls to this machine, or what an answer says about it.
            seconds: how long a slow boot takes.
        """
        actions = _matching_actions(kind, action)
        if times is not None and times < 1:
            raise ValueError("a fault happens at least once")
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
        """Inject the fault that `--fault KIND[:ACTION[:TIMES]]` names; TIMES may be `*`."""
        kind, _, rest = text.partition(":")
        action, _, times = rest.partition(":")
        if times not in {"", "*"} and not times.isdecimal():
            raise ValueError(f"TIMES is a number or *, not {times!r}")
        self.inject(kind, action or None, None if times == "*" else int(times or 1))

    def clear(self) -> None:
        """Remove all faults, and drop the connections that hang."""
        self._faults.clear()
        for event in self._hanging:
            event.set()

    @property
    def hanging(self) -> int:
        """The number of requests that hang."""
        return len(self._hanging)

    @property
    def active(self) -> list[Fault]:
        """The faults that can still match a request."""
        return list(self._faults)

    def consume(self, action: str, machine: str | None, excluded: Collection[str] = ("slow-boot",)) -> Fault | None:
        """Find the fault that matches a request, and count that."""
        for fault in self._faults:
            is_about = fault.machine in {None, machine} or action == "list"
            if action in fault.actions and is_about and fault.kind not in excluded:
                return self._count(fault)
        return None

    def slow_boot_s(self, action: str, machine: str) -> float:
        """Return the injected delay of a boot, and count that."""
        fault = self.consume(action, machine, frozenset(KINDS) - {"slow-boot"})
        return 0.0 if fault is None else fault.seconds

    def _count(self, fault: Fault) -> Fault:
        if fault.times is not None:
            fault.times -= 1
            if not fault.times:
                self._faults.remove(fault)
        return fault

    async def hang(self, released: asyncio.Event) -> None:
        """Wait until the client has disconnected or the faults are cleared; both set the event."""
        self._hanging.add(released)
        try:
            await released.wait()
        finally:
            self._hanging.discard(released)


def _matching_actions(kind: str, action: str | None) -> frozenset[str]:
    """Resolve the actions of a new fault; raises ValueError if the kind has none such."""
    if kind not in KINDS:
        raise ValueError(f"no fault is called {kind!r}; there are {', '.join(KINDS)}")
    possible = _OWN_ACTIONS.get(kind, ACTIONS)
    action = action or _DEFAULT_ACTIONS.get(kind, "create")
    actions = possible if action == "*" else frozenset({action}) & possible
    if not actions:
        raise ValueError(f"the fault {kind} is for {', '.join(sorted(possible))}, not for {action!r}")
    return actions
