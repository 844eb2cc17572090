"""supervisor_process: the control socket, with real supervisors."""

import asyncio
import functools
import os
import signal
from pathlib import Path

import pytest

from aether.emulator.options import Options
from aether.emulator.runtimes.choice import choose
from aether.emulator.runtimes.supervisor_process import SupervisorProcess, open_control

plain = pytest.mark.parametrize("runtime", ["plain"], indirect=True)  # what no runtime has a part in


@pytest.fixture
def run(box):
    """`await run("sh", "-c", …, stdin=…)` → status and body of an exec in a real machine."""

    async def call(*command, **request):
        answer = await box.api("POST", f"{box.path}/exec", {"command": command, **request})
        return answer.status, answer.body

    return call


@pytest.mark.gen_test
async def test_command_and_outcome(run):
    """A command's output, both kinds, and its exit code are the answer, 200 even if it failed."""
    outcome = {"exit_code": 3, "exit_signal": 0, "stdout": "in ü\n", "stderr": "bad\n"}
    assert await run("sh", "-c", "cat; echo bad >&2; exit 3", stdin="in ü\n") == (200, outcome)


@pytest.mark.gen_test
async def test_command_is_inside(run, box):
    """A command sees the machine's own environment and files."""
    await box.run("echo mine > file")
    _, body = await run("sh", "-c", "cat ~/file; echo $FLY_MACHINE_ID $USER")
    assert body["stdout"] == f"mine\n{box.id} coder\n"


@plain
@pytest.mark.gen_test
async def test_commands_side_by_side(run):
    """Many commands run at once and each gets its own outcome."""
    outcomes = await asyncio.gather(*(run("sh", "-c", f"sleep 0.0{n}; echo {n}") for n in range(8)))
    assert [body["stdout"] for _, body in outcomes] == [f"{n}\n" for n in range(8)]


@plain
@pytest.mark.gen_test
async def test_deprecated_form(box):
    """`cmd`, one string, is what fly-go still sends."""
    answer = await box.api("POST", f"{box.path}/exec", {"cmd": "echo 'a b'"})
    assert answer.body["stdout"] == "a b\n"
    assert (await box.api("POST", f"{box.path}/exec", {})).status == 400


@pytest.mark.gen_test
async def test_command_that_takes_too_long_is_killed(
    open_emulator, open_api, create, virtual, marker, sleepers, eventually
):
    """After its time-out, or thirty seconds, a command is 408 and dead."""
    emulator = await open_emulator(clock=virtual, sleep=virtual.sleep, options=Options())
    box = await create(open_api(emulator.url))
    asking = asyncio.create_task(box.api("POST", f"{box.path}/exec", {"command": ["sleep", marker], "timeout": 60}))
    await eventually(lambda: sleepers(marker))
    await virtual.advance(30)
    answer = await asking
    assert (answer.status, answer.body["error"][:17]) == (408, "deadline_exceeded")
    await eventually(lambda: not sleepers(marker))


@plain
@pytest.mark.gen_test
async def test_machine_that_stops_meanwhile(box, marker, sleepers, eventually):
    """A command of a machine that stops has no outcome."""
    asking = asyncio.create_task(box.api("POST", f"{box.path}/exec", {"command": ["sleep", marker]}))
    await eventually(lambda: sleepers(marker))
    await box.stop(timeout="0s")
    assert (await asking).status == 412
    assert (await box.api("POST", f"{box.path}/exec", {"command": ["true"]})).status == 412


@pytest.mark.gen_test
async def test_crash_of_a_real_process(box, open_emulator):
    """A crash ends the process and has the exit code that was asked for."""
    emulator = box.emulator
    await emulator.crash(box.id, exit_code=7)
    exit_event = (await box.read())["events"][0]["request"]["exit_event"]
    assert (exit_event["exit_code"], exit_event["requested_stop"]) == (7, False)


@pytest.mark.gen_test
async def test_update_of_a_real_machine(box, config):
    """An updated machine runs again, at another port with another environment."""
    changed = config(env={"GREETING": "hello"})
    box.record = (await box.api("POST", box.path, {"config": changed})).body
    await box.wait("started")
    assert await box.run("echo $GREETING") == "hello\n"


@pytest.mark.parametrize("runtime", ["plain", "bwrap"], indirect=True)
@pytest.mark.gen_test
async def test_a_stop_during_the_boot_ends_it_at_once(
    runtime, open_emulator, open_api, create, tmp_path, encode, marker
):
    """Nothing runs yet that could need the grace; this boot would take for ever."""
    script = f"#!/bin/sh\nexec sleep {marker}\n".encode()
    slow = tmp_path / "python" if runtime == "plain" else Path("/slow")  # the machine's own file
    (tmp_path / "python").write_bytes(script)
    (tmp_path / "python").chmod(0o755)
    emulator = await open_emulator(runtime, choose_runtime=functools.partial(choose, python=str(slow)))
    api = open_api(emulator.url)
    box = await create(api, files=[{"guest_path": "/slow", "raw_value": encode(script), "mode": 0o755}])
    await box.stop(timeout="60s")  # a wait for `stopped` ends much earlier
    exit_event = (await box.read())["events"][0]["request"]["exit_event"]
    assert (exit_event["exit_code"], exit_event["requested_stop"], exit_event["signal"]) == (0, True, -1)


@pytest.mark.outside
@pytest.mark.gen_test
async def test_a_kill_ends_a_namespace_that_is_not_tied_to_its_bubblewrap_yet(marker):
    """Which bubblewrap does a moment after it has told of the namespace; killed in between, it leaves it behind."""
    bubblewrap, first = [await asyncio.create_subprocess_exec("sleep", marker) for _ in range(2)]
    theirs, control = await open_control()
    with theirs:
        process = SupervisorProcess(bubblewrap, os.pidfd_open(first.pid), control)
        bubblewrap.kill()
        assert await process.wait() == -signal.SIGKILL
    assert await first.wait() == -signal.SIGKILL
