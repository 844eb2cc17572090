"""The benchmark runs: real servers and shells, few keys. No test depends on a timing."""

import asyncio
import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.processes import below

pytestmark = pytest.mark.outside

BENCH = Path(__file__).parents[1] / "scripts/bench.py"
SUBCOMMANDS = [
    "cold",
    "page",
    "resume",
    "fleet",
    "echo",
    "load",
    "flood",
    "bulk",
    "ctrl-c",
    "sessions",
    "host",
    "paste",
]
SUBCOMMANDS += ["cpu", "all"]


def bench(*arguments, **env):
    """Run the benchmark to its end."""
    command = [sys.executable, BENCH, *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, env={**os.environ, **env})


def test_help_names_every_benchmark_and_each_explains_itself(capsys, monkeypatch):
    """`--help` names what there is, and the options that each takes."""
    monkeypatch.syspath_prepend(BENCH.parent)
    from benchlib.commands import parser

    def help_of(*arguments):
        with pytest.raises(SystemExit):
            parser().parse_args([*arguments, "--help"])
        return capsys.readouterr().out

    shown = help_of()
    for name in SUBCOMMANDS:
        assert f"\n    {name} " in shown
        assert "--json FILE" in help_of(name)


def test_help_is_printed_by_the_script_itself():
    """It needs no installation."""
    assert "usage: bench.py" in bench("--help").stdout


def test_a_quick_echo_gives_a_table_and_json(tmp_path):
    """A floor, sessions and plain terminals are measured in the same run, and everything is gone afterwards."""
    (folder := tmp_path / "temporary").mkdir()
    found = tmp_path / "figures.json"
    options = ("--quick", "--only", "pty", "aether", "plain", "--aether-runtime", "auto", "--json", str(found))
    done = bench("echo", *options, TMPDIR=str(folder))
    assert done.returncode == 0, done.stderr
    assert "p99 ms" in done.stdout
    rounds = json.loads(found.read_text())["rounds"]["echo"]
    assert set(rounds) == {"pty", "aether", "plain"}
    assert "aether, what must be reached:" in done.stdout
    assert "(1 × plain + 0.06)" in done.stdout
    notes = json.loads(found.read_text())["notes"]
    assert ("; sessions;" in notes["aether"], "; no sessions;" in notes["plain"]) == (True, True)
    assert all(run["p50_ms"] > 0 for runs in rounds.values() for run in runs)
    assert not list(folder.iterdir())


def test_text_arrives_whole():
    """bulk compares every byte, at every chunk size."""
    done = bench("bulk", "--quick", "--only", "aether", "--aether-runtime", "auto")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("reached  text right") == 4, done.stdout


def test_a_changed_byte_fails_the_run(tmp_path):
    """Timings depend on the machine; bytes do not."""
    (server := tmp_path / "server.py").write_text(
        f"""
import runpy
from aether import messages
whole = messages.output
messages.output = lambda text, *offset: whole(text.replace(b"00000777", b"00000778"), *offset)
runpy.run_path({str(BENCH.parents[1] / "server.py")!r}, run_name="__main__")
"""
    )
    done = bench("bulk", "--quick", "--only", f"aether@{server}", "--aether-runtime", "auto")
    assert done.returncode == 1, done.stderr
    assert done.stdout.count("MISSED   text right") == 2, done.stdout


def test_terminals_resume_after_a_cut_and_a_killed_server(tmp_path):
    """With every byte, or the run fails; nothing is left."""
    (folder := tmp_path / "temporary").mkdir()
    found = tmp_path / "figures.json"
    options = ("--quick", "--terminals", "1", "3", "--aether-runtime", "auto", "--json", str(found))
    done = bench("resume", *options, TMPDIR=str(folder))
    assert done.returncode == 0, done.stderr
    rounds = json.loads(found.read_text())["rounds"]["resume"]
    scenes = {f"{title}, {count}" for title in ("connections cut", "server killed") for count in (1, 3)}
    assert set(rounds) == scenes
    assert all(scene in done.stdout for scene in scenes)
    assert not list(folder.iterdir())


def test_the_pty_host_s_memory_is_within_its_bounds():
    """With full logs, too."""
    done = bench("host", "--only", "aether", "--rounds", "1", "--aether-runtime", "auto")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("reached  ") == 2, done.stdout


@pytest.mark.parametrize(("p50", "word"), [(1.05, "reached"), (1.07, "MISSED")])
def test_a_goal_may_be_a_difference_to_another_contender(monkeypatch, p50, word):
    """A session may cost so much more than a plain terminal of the same run."""
    monkeypatch.syspath_prepend(BENCH.parent)
    from benchlib.goals import verdicts

    (verdict,) = verdicts({"echo": {"aether": {"p50_ms": p50}, "plain": {"p50_ms": 1.0}}}, "aether")
    assert (word in verdict.line, "must be ≤ 1.06 (1 × plain + 0.06)" in verdict.line) == (True, True)


def test_a_page_s_way_to_its_prompt_is_printed(need):
    """In a real browser, for one that has never been there and for one that has."""
    need("chromium")
    done = bench("page", "--quick", "--aether-runtime", "auto")
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if "first paint to prompt" in line]
    assert all(float(figure) > 0 for figure in line.split()[4:])


def test_columns_are_read_from_a_table(monkeypatch):
    """A key, a heading, decimals or `yes/no`, and what the figure is compared with."""
    monkeypatch.syspath_prepend(BENCH.parent)
    from benchlib.report import Column, columns

    assert columns("""
        p50_ms  p50 ms, busy  3  / openssh
        work    all work      yes/no
    """) == [Column("p50_ms", "p50 ms, busy", 3, "openssh"), Column("work", "all work", 0, is_fact=True)]


@pytest.mark.parametrize("peer", ["terminado", "webssh"])
def test_a_peer_that_is_not_installed_is_named(peer):
    """What could not run is said, with what would help; nothing at all measured is a failure."""
    if importlib.util.find_spec(peer) is not None:
        pytest.skip(f"{peer} is installed here")
    done = bench("echo", "--quick", "--only", peer)
    assert done.returncode == 1
    assert f"{peer}: not installed: pip install {peer}" in done.stdout


def test_an_unknown_contender_is_refused():
    """A name that was misspelt measures nothing."""
    done = bench("echo", "--only", "teleport")
    assert done.returncode == 2
    assert "'teleport' is none of" in done.stderr


@pytest.mark.gen_test
async def test_an_interrupted_run_leaves_nothing():
    """Ctrl-C ends every server and shell."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(BENCH), "echo", "--only", "pty", "aether", "--aether-runtime", "auto"),
        *("--keys", "1000000"),
        stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
    )
    async for line in process.stderr:
        if b"round 1/5, pty" in line:
            break
    family = below(pid=process.pid)
    os.kill(process.pid, signal.SIGINT)
    await process.stderr.read()
    assert await process.wait() == 130
    assert family
    assert not psutil.wait_procs(family, timeout=10)[1]
