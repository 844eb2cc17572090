"""command: one command of the API's `exec`, as the supervisor runs it."""

import asyncio
import ctypes
import signal
import sys

import pytest

from aether.emulator.guest.children import Children
from aether.emulator.guest.command import Command

ENVIRONMENT = {"PATH": "/usr/bin:/bin"}


@pytest.fixture
def children(io_loop):
    """What starts and reaps processes; afterwards this process takes no more orphans."""

    async def make():
        return Children()

    yield io_loop.run_sync(make)
    io_loop.asyncio_loop.remove_signal_handler(signal.SIGCHLD)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(36, 0, 0, 0, 0)


@pytest.fixture
def run(children):
    """`await run(["echo", "a"])` → its outcome."""

    async def call(argv, stdin="", is_killed=False):
        outcome = asyncio.get_running_loop().create_future()
        command = Command(children, outcome.set_result)
        command.start(argv, stdin, ENVIRONMENT)
        if is_killed:
            command.kill()
        return await outcome

    return call


@pytest.mark.gen_test
async def test_output_to_the_last_byte(run):
    """What a command wrote just before its end is in the outcome."""
    outcome = await run(["seq", "20000"])
    assert outcome["stdout"].splitlines() == [str(n) for n in range(1, 20001)]


@pytest.mark.gen_test
async def test_too_much_output_is_cut(run):
    """More than a mebibyte of one stream is dropped."""
    outcome = await run(["head", "-c", str(3 << 20), "/dev/zero"])
    assert (len(outcome["stdout"]), outcome["exit_code"]) == (1 << 20, 0)


@pytest.mark.gen_test
async def test_much_input(run):
    """Input longer than a pipe holds arrives whole; who does not read it is not waited for."""
    assert (await run(["wc", "-c"], "x" * (1 << 20)))["stdout"].strip() == str(1 << 20)
    assert (await run(["true"], "x" * (1 << 20)))["exit_code"] == 0


@pytest.mark.gen_test
async def test_unknown_program(run):
    """A program that is not there is a failed command."""
    outcome = await run(["no-such-program"])
    assert (outcome["exit_code"], outcome["stderr"]) == (
        127,
        'exec: "no-such-program": executable file not found in $PATH',
    )


@pytest.mark.gen_test
async def test_killed(run):
    """A killed command says by which signal it ended."""
    outcome = await run(["sleep", "1000"], is_killed=True)
    assert (outcome["exit_code"], outcome["exit_signal"]) == (137, 9)


@pytest.mark.gen_test
async def test_children_in_the_background_are_not_waited_for(run):
    """A command is over when it ends, even if something it started holds its output."""
    assert (await run(["sh", "-c", "sleep 0.2 & echo done"]))["stdout"] == "done\n"
