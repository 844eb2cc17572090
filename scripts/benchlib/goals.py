"""What must be reached (issues 4 and 14), and the Markdown table for the README."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchlib.report import Column, Figures, cell

Medians = dict[str, dict[str, Figures]]


@dataclass(frozen=True)
class Goal:
    """One line of "must reach".

    Attributes:
        benchmark, key: which figure.
        limit: how much it may be (or, with `is_floor`, must be at least); with `ratio_to`, as a multiple of that one's.
        more: how much is added to that.
        is_hard: bytes, counts and memory, which do not depend on how busy the machine is: missed, the run has failed.
    """

    benchmark: str
    key: str
    text: str
    limit: float
    ratio_to: str = ""
    is_floor: bool = False
    is_hard: bool = False
    more: float = 0


def fact(benchmark: str, key: str, text: str, count: float = 1) -> Goal:
    """What must be so, whatever the machine: at least `count`."""
    return Goal(benchmark, key, text, count, is_floor=True, is_hard=True)


GOALS = [
    Goal("echo", "p50_ms", "echo p50", 1.4, "openssh"),
    Goal("echo", "p99_ms", "echo p99", 2.0, "openssh"),
    Goal("echo", "p50_ms", "echo p50", 1.0, "plain", more=0.06),
    Goal("echo", "p99_ms", "echo p99", 1.3, "plain"),
    Goal("load", "busy_p99_ms", "echo p99 beside busy sessions", 2.0, "openssh"),
    Goal("load", "busy_p99_ms", "echo p99 beside busy sessions", 1.0, "terminado"),
    Goal("load", "yes_p99_ms", "echo p99 beside `yes`", 2.0, "openssh"),
    Goal("bulk", "mib_s_65536", "64 MiB of text, MiB/s", 0.9, "asyncssh", is_floor=True),
    *(fact("bulk", f"right_{size}", f"text right, chunks of {size} B") for size in (65536, 4096, 7, 1)),
    Goal("ctrl-c", "fast_prompt_ms", "Ctrl-C, fast client: prompt, ms", 50),
    Goal("ctrl-c", "slow_dead_ms", "Ctrl-C, 200 KB/s: `yes` dead, ms", 50),
    Goal("ctrl-c", "slow_prompt_ms", "Ctrl-C, 200 KB/s: prompt, ms", 1000),
    Goal("ctrl-c", "noack_dead_ms", "Ctrl-C, 200 KB/s, no acks: `yes` dead, ms", 50),
    Goal("ctrl-c", "noack_prompt_ms", "Ctrl-C, 200 KB/s, no acks: prompt, ms", 2000),
    *(
        Goal("ctrl-c", f"{scene}_prompt_ms", f"Ctrl-C, {scene} client: prompt, ms", 1.3, "plain", more=10)
        for scene in ("fast", "slow", "noack")
    ),
    *(
        Goal("flood", f"{scene}_mib", f"memory growth, client {scene}, MiB", 2, is_hard=True)
        for scene in ("fast", "slow", "stopped", "noack", "never")
    ),
    Goal("sessions", "idle_kib", "memory of an idle session, KiB", 40, is_hard=True),
    Goal("sessions", "idle_cpu_percent", "CPU of the idle sessions, %", 1),
    fact("sessions", "work", "all idle sessions are open and work"),
    Goal("sessions", "later_p50_ms", "opening a later terminal, p50, ms", 15),
    Goal("host", "base_mib", "memory of the PTY host, MiB", 12, is_hard=True),
    Goal("host", "session_mib", "and of each session whose log is full, MiB", 1.2, is_hard=True),
    fact("sessions", "at_once_ok", "of 20 opened at once succeed", 20),
    *(
        fact("paste", f"{case}_right", f"1 MiB paste right: {case}")
        for case in ("ascii_one", "ascii_many", "wide_one", "wide_many", "wide_slow")
    ),
    Goal("cpu", "keys_s", "CPU of 10,000 keys, s", 2.3),
    Goal("cpu", "bulk_s", "CPU of 64 MiB, s", 1.0),
]


@dataclass(frozen=True)
class Verdict:
    """Whether a goal is reached, and the line that says so."""

    goal: Goal
    is_reached: bool
    line: str


def verdicts(medians: Medians, name: str) -> Iterator[Verdict]:
    """Judge each goal that was measured for `name`."""
    for goal in GOALS:
        figures = medians.get(goal.benchmark, {})
        value = figures.get(name, {}).get(goal.key)
        if value is None:
            continue
        limit = goal.limit
        if goal.ratio_to == name:
            continue
        if goal.ratio_to:
            other = figures.get(goal.ratio_to, {}).get(goal.key)
            if other is None:
                continue
            limit = limit * other + goal.more
        is_reached = value >= limit if goal.is_floor else value <= limit
        shown = "never" if math.isinf(value) else f"{value:.4g}"
        bound = f"{'≥' if goal.is_floor else '≤'} {limit:.4g}"
        more = f" + {goal.more:g}" if goal.more else ""
        of = f" ({goal.limit:g} × {goal.ratio_to}{more})" if goal.ratio_to else ""
        line = f"  {'reached' if is_reached else 'MISSED '}  {goal.text}: {shown}, must be {bound}{of}"
        yield Verdict(goal, is_reached, line)


def markdown(medians: Medians) -> str:
    """Write the table of the issue: a row for each contender."""
    names = list(dict.fromkeys(name for figures in medians.values() for name in figures))
    head = [title for title, _ in PARTS]
    lines = ["| | " + " | ".join(head) + " |", "|---" * (len(head) + 1) + "|"]
    for name in names:
        own = {benchmark: figures.get(name, {}) for benchmark, figures in medians.items()}
        lines.append(f"| {name} | " + " | ".join(write(own) for _, write in PARTS) + " |")
    return "\n".join(lines)


def _pair(benchmark: str, *columns: Column, unit: str = "") -> Callable[[dict[str, Figures]], str]:
    def write(own: dict[str, Figures]) -> str:
        row = own.get(benchmark, {})
        found = [cell(column, row.get(column.key)) for column in columns]
        return "–" if set(found) == {"–"} else " / ".join(found) + unit

    return write


def _pasted(own: dict[str, Figures]) -> str:
    facts = [value for key, value in own.get("paste", {}).items() if key.endswith("_right")]
    return "–" if not facts else "right" if all(facts) else f"{facts.count(0.0)} of {len(facts)} wrong"


def _interrupted(own: dict[str, Figures]) -> str:
    prompt = own.get("ctrl-c", {}).get("slow_prompt_ms")
    took = "–" if prompt is None else "never (> 20 s)" if math.isinf(prompt) else f"{prompt / 1000:.2f} s"
    grown = cell(Column("", "", 1), own.get("flood", {}).get("slow_mib"))
    return f"{took} / {grown} MiB" if (took, grown) != ("–", "–") else "–"


PARTS: list[tuple[str, Callable[[dict[str, Figures]], str]]] = [
    ("echo p50 / p99", _pair("echo", Column("p50_ms", "", 2), Column("p99_ms", "", 2), unit=" ms")),
    ("p99 with 50 busy sessions", _pair("load", Column("busy_p99_ms", "", 2), unit=" ms")),
    ("64 MiB of text", _pair("bulk", Column("mib_s_65536", "", 0), unit=" MiB/s")),
    ("CPU, 10,000 keys / 64 MiB", _pair("cpu", Column("keys_s", "", 2), Column("bulk_s", "", 2), unit=" s")),
    ("`yes` at 200 KB/s: prompt after Ctrl-C / memory growth", _interrupted),
    ("memory a session", _pair("sessions", Column("idle_kib", "", 0), unit=" KiB")),
    ("opening, p50", _pair("sessions", Column("later_p50_ms", "", 0), unit=" ms")),
    ("1 MiB paste", _pasted),
]
