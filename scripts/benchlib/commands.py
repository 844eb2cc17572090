"""The command line of the benchmark, and the run it asks for."""

import argparse
import asyncio
import os
import platform
import resource
import signal
import sys
from argparse import Namespace
from pathlib import Path

from benchlib.bulk import COLUMNS as BULK
from benchlib.bulk import bulk
from benchlib.cold import cold
from benchlib.cpu import COLUMNS as CPU
from benchlib.cpu import cpu
from benchlib.echo import COLUMNS as ECHO
from benchlib.echo import LOAD_COLUMNS as LOAD
from benchlib.echo import echo, load, serve_others
from benchlib.fleet import fleet
from benchlib.flood import COLUMNS as FLOOD
from benchlib.flood import CTRL_C_COLUMNS as CTRL_C
from benchlib.flood import ctrl_c, flood
from benchlib.goals import markdown, verdicts
from benchlib.host import COLUMNS as HOST
from benchlib.host import host
from benchlib.page import NoBrowser, page
from benchlib.paste import COLUMNS as PASTE
from benchlib.paste import paste
from benchlib.report import Column, Figures, table, to_json
from benchlib.resume import resume
from benchlib.sessions import COLUMNS as SESSIONS
from benchlib.sessions import sessions
from benchlib.stage import NAMES, Measure, Stage

WITH_SHELL = tuple(name for name in NAMES if name != "client")
SERVED = tuple(name for name in WITH_SHELL if name != "pty")
BENCHMARKS: dict[str, tuple[Measure, list[Column], tuple[str, ...], str]] = {
    "echo": (echo, ECHO, NAMES, "a key to its echo, one session"),
    "load": (load, LOAD, WITH_SHELL, "the same beside 50 sessions that write 20 KB/s each, then beside one `yes`"),
    "flood": (
        flood,
        FLOOD,
        WITH_SHELL,
        "`yes` to a client fast, slow, stopped or silent: MiB the server grows by",
    ),
    "bulk": (bulk, BULK, NAMES, "64 MiB of coloured, multi-byte text: MiB/s, and every byte compared"),
    "ctrl-c": (ctrl_c, CTRL_C, WITH_SHELL, "Ctrl-C in a flood: until `yes` is dead, until the prompt is seen"),
    "sessions": (sessions, SESSIONS, WITH_SHELL, "opening times, twenty at once, what idle sessions cost"),
    "host": (host, HOST, ("aether",), "memory of a machine's PTY host, alone and with sessions whose logs are full"),
    "paste": (paste, PASTE, WITH_SHELL, "1 MiB pasted at once or in pieces, into a fast and a slow reader"),
    "cpu": (cpu, CPU, SERVED, "processor time of the server for 10,000 keys and for 64 MiB"),
}
ROUNDS = {"cold": 15, "page": 15, "resume": 5, "echo": 5, "bulk": 3, "ctrl-c": 3, "load": 3, "cpu": 2}
EPILOG = """\
contenders, measured in the same interleaved rounds:
  client     a server that only answers: what the measuring client itself takes (echo, bulk)
  pty        a shell on a local PTY: the floor
  openssh    OpenSSH's client on a PTY, to an sshd of our own: the floor over SSH
  asyncssh   asyncssh as it comes, in the measuring process
  aether     python server.py; aether@PATH is the server.py of another checkout, aether+deflate compresses
  plain      the same server, whose terminals are no sessions: their shells end with them
  terminado, webssh   where they are installed (pip install terminado webssh)

Ratios (columns "/ openssh") are the figures to compare: absolute ones are this machine's. Memory is the server's
resident memory; of `openssh` it is the client's. A slow client reads 200 KB/s from its socket, no byte more.
Everything is on loopback, in a folder that is removed afterwards. Timings never fail. The exit status is 1 where aether
lost or changed a byte, exceeded a bound of memory or broke, and where nothing at all could be measured."""


def parser() -> argparse.ArgumentParser:
    """Build the command line."""
    found = argparse.ArgumentParser(
        prog="bench.py",
        description="Measure aether beside what a user would take instead: figures of one run on one machine.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=EPILOG,
    )
    found.set_defaults(rounds=None)
    choose = found.add_subparsers(dest="what", required=True, metavar="WHAT")
    explained = {
        "cold": "POST /machines → first prompt, and its parts",
        "page": "a running machine's page in Chromium: address → first paint → prompt",
        "resume": "from a cut to the next byte drawn, for 1 and for 200 terminals, also when the server is killed",
        "fleet": "time and memory of one sweep over many machines",
        **{name: text for name, (_, _, _, text) in BENCHMARKS.items()},
        "all": "cold, all from echo to cpu, what was to be reached, and a Markdown table",
    }
    for name, text in explained.items():
        one = choose.add_parser(name, help=text, description=text, epilog=EPILOG)
        one.formatter_class = argparse.RawDescriptionHelpFormatter
        _add_options(one, name)
    return found


def contender(text: str) -> str:
    """Check the name of a contender."""
    if text in (*NAMES, "aether+deflate") or (text.startswith("aether@") and Path(text.partition("@")[2]).is_file()):
        return text
    raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(NAMES)}, aether+deflate, aether@PATH/server.py")


def _add_options(one: argparse.ArgumentParser, name: str) -> None:
    add = one.add_argument
    add("--json", type=Path, metavar="FILE", help="write all raw figures there")
    add("--quick", action="store_true", help="a short run that shows whether everything works")
    add("--rounds", type=int, help="interleaved rounds (as many as give a steady median)")
    add("--aether-runtime", default="sshd", metavar="NAME", help="the emulator's runtime: sshd, auto, bwrap (sshd)")
    if name == "fleet":
        add("--sizes", type=int, nargs="+", default=[250, 500, 1000], help="numbers of machines")
    if name == "resume":
        add("--terminals", type=int, nargs="+", help="how many are cut at once (1 200)")
    if name in ("cold", "page", "resume", "fleet"):
        return
    add(
        "--only",
        nargs="+",
        type=contender,
        default=list(NAMES),
        metavar="NAME",
        help=f"contenders (all: {' '.join(NAMES)})",
    )
    add("--acks", action=argparse.BooleanOptionalAction, default=True, help="aether's client acknowledges (on)")
    add("--keys", type=int, default=600, help="echo, load: keys a round (600)")
    add("--pause-ms", type=float, default=2, help="echo, load: from an echo to the next key; 0: none (2)")
    add("--echo-at", choices=["cat", "prompt"], default="cat", help="echo: `stty raw; cat`, or at the prompt (cat)")
    add("--busy", type=int, default=50, help="load: busy sessions (50)")
    add("--mib", type=float, default=64, help="bulk, cpu: MiB of text (64)")
    add("--seconds", type=float, default=15, help="flood: how long it lasts (15)")
    add("--flow-s", type=float, default=5, help="ctrl-c: how long it flows before (5)")
    add("--sessions", type=int, default=200, help="sessions: how many idle ones (200; floors and peers 50)")
    add("--idle-s", type=float, default=5, help="sessions: how long their CPU is measured (5)")
    add("--cpu-keys", type=int, default=10_000, help="cpu: how many keys, counted up to 10,000 (10000)")


def shorten(options: Namespace) -> None:
    """Make it a quick run."""
    options.rounds = options.rounds or 1
    options.sizes = [50]
    options.terminals = getattr(options, "terminals", None) or [1, 5]
    options.keys, options.busy, options.mib, options.seconds = 100, 5, 2, 2.0
    options.flow_s, options.sessions, options.idle_s, options.cpu_keys = 1.0, 20, 1.0, 500


def is_ours(name: str) -> bool:
    """Whether a contender is aether, in whichever form."""
    return name == "plain" or name.startswith("aether")


async def measure(options: Namespace) -> int:
    """Run benchmarks, print their tables; return the exit status."""
    chosen = list(BENCHMARKS) if options.what == "all" else [options.what]
    stage = Stage(options)
    medians_of_all: dict[str, dict[str, Figures]] = {}
    cold_runs = (
        {"cold": await cold(options.rounds or ROUNDS["cold"], options.aether_runtime)} if options.what == "all" else {}
    )
    async with stage.open():
        for contender in stage.contenders:
            if contender.note:
                print(f"{contender.name}: {contender.note}")
        for name in chosen:
            run, columns, only, text = BENCHMARKS[name]
            await stage.rounds(name, run, options.rounds or ROUNDS.get(name, 1), only)
            medians_of_all[name] = stage.medians(name, [column.key for column in columns if column.is_fact])
            print(f"\n{name}: {text}\n\n{table(columns, medians_of_all[name])}", flush=True)
        notes = {contender.name: contender.note for contender in stage.contenders}
    is_ok = any(stage.raw.values()) and not any(is_ours(name) for name in stage.failed)
    for name in [one.name for one in stage.contenders if is_ours(one.name)]:
        judged = list(verdicts(medians_of_all, name))
        print(f"\n{name}, what must be reached:\n" + "\n".join(verdict.line for verdict in judged))
        is_ok = is_ok and all(verdict.is_reached for verdict in judged if verdict.goal.is_hard)
    if options.what == "all":
        print(f"\n{markdown(medians_of_all)}")
    if stage.troubles:
        print("\ncould not run:\n" + "\n".join(f"  {line}" for line in stage.troubles))
    if options.json:
        shown = {key: value for key, value in vars(options).items() if key != "json"}
        document = {"options": shown, "machine": machine(), "notes": notes, "could_not_run": stage.troubles}
        document |= {"rounds": {**cold_runs, **stage.raw}, "medians": medians_of_all}
        options.json.write_text(to_json(document))
    return 0 if is_ok else 1


def machine() -> dict[str, object]:
    """Say where this was measured."""
    return {"cpus": os.cpu_count(), "system": platform.platform(), "python": platform.python_version()}


async def run(options: Namespace) -> int:
    """Run what was asked for; a signal ends it in order."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    if options.what == "cold":
        figures: object = await cold(options.rounds or ROUNDS["cold"], options.aether_runtime)
    elif options.what == "page":
        try:
            figures = await page(options.rounds or ROUNDS["page"], options.aether_runtime)
        except NoBrowser as error:
            print(f"page: {error}", file=sys.stderr)
            return 1
    elif options.what == "resume":
        figures = await resume(
            options.rounds or ROUNDS["resume"], options.terminals or [1, 200], options.aether_runtime
        )
    elif options.what == "fleet":
        figures = await fleet(options.sizes)
    else:
        return await measure(options)
    if options.json:
        options.json.write_text(to_json({"machine": machine(), "rounds": {options.what: figures}}))
    return 0


def main() -> None:
    """Run the benchmark; exit 130 when it was interrupted."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard if soft < hard else soft, hard))
    if sys.argv[1:2] == ["_others"]:  # this program's own child, see echo.Others
        asyncio.run(serve_others(sys.argv[2]))
        return
    options = parser().parse_args()
    if options.quick:
        shorten(options)
    try:
        sys.exit(asyncio.run(run(options)))
    except (asyncio.CancelledError, KeyboardInterrupt):
        print("\ninterrupted; everything that was started has been ended", file=sys.stderr)
        sys.exit(130)
