"""container_process: the container of a running machine, of an engine that is a shell script."""

import asyncio
import os

import pytest

from aether.emulator.errors import ApiError
from aether.emulator.runtimes.container_process import ContainerProcess, attach
from aether.emulator.runtimes.engine import Engine

# A mock of an engine with one container, which runs until there is a file called `end`.
ENGINE = """#!/bin/sh
cd "${0%/*}"
case "$1" in
  attach) echo "hello from $4"; while [ ! -e end ]; do sleep 0.01; done ;;
  wait) while [ ! -e end ]; do sleep 0.01; done ;;
  kill) echo "$*" >>kills; echo "${CODE-137} false" >end.$$; mv end.$$ end ;;
  inspect) [ -e end ] && echo "false $(cat end)" || echo "true 0 false" ;;
  exec) while [ "$1" != timeout ]; do shift; done; shift 4; exec "$@" ;;
esac
"""


@pytest.fixture
def install(tmp_path):
    """Make a script the engine from its next call on; a program that runs cannot be written to (execve(2))."""

    def replace(script):
        (tmp_path / "new").write_text(script)
        (tmp_path / "new").chmod(0o755)
        return (tmp_path / "new").rename(tmp_path / "podman")

    return replace


@pytest.fixture
def client(io_loop, nothing_leaks, install, tmp_path):
    """What is attached to the container of an engine."""
    return io_loop.run_sync(lambda: attach(Engine(str(install(ENGINE))), "box", tmp_path / "console.log"))


@pytest.fixture
def process(io_loop, client, tmp_path):
    """That container."""

    async def make():
        return ContainerProcess(Engine(str(tmp_path / "podman")), "box", "SIGTERM", client)

    return io_loop.run_sync(make)


@pytest.mark.gen_test
async def test_what_it_prints_is_in_a_private_file(process, tmp_path):
    """No other user can read what a machine prints."""
    process.listen()
    process.signal(9)
    assert await process.wait() == -9
    assert (tmp_path / "console.log").read_text() == "hello from box\n"
    assert oct((tmp_path / "console.log").stat().st_mode & 0o777) == "0o600"


@pytest.mark.gen_test
async def test_a_second_stop_shortens_the_first_ones_grace(process, install, tmp_path, monkeypatch):
    """As a forced destruction does; the signal is sent once."""
    monkeypatch.setenv("CODE", "0")
    install(
        ENGINE.replace('kill) echo "$*" >>kills;', 'kill) echo "$*" >>kills; [ "$2" = --signal=SIGKILL ] || exit 0;')
    )
    process.stop(1000)
    process.stop(0)
    assert await process.wait() == 0
    assert sorted((tmp_path / "kills").read_text().splitlines()) == [
        "kill --signal=SIGKILL box",
        "kill --signal=SIGTERM box",
    ]


@pytest.mark.gen_test
async def test_the_container_dies_with_the_emulator(client, process, tmp_path):
    """Whose end closes the standard input of what is attached."""
    client.stdin.close()
    assert await process.wait() == -9
    assert (tmp_path / "kills").read_text() == "kill box\n"


@pytest.mark.gen_test
async def test_the_container_is_waited_for_when_what_is_attached_is_killed(client, process, tmp_path):
    """As systemd does when it stops the server's service, with all that belongs to it."""
    waiting = asyncio.create_task(process.wait())
    os.killpg(client.pid, 9)
    process.stop(60)
    assert await waiting == -9
    assert (tmp_path / "kills").read_text() == "kill --signal=SIGTERM box\n"


@pytest.mark.gen_test
async def test_a_container_that_is_gone_counts_as_killed(process, install, tmp_path):
    """The engine does not know how it ended."""
    install(ENGINE.replace("inspect)", "inspect) exit 1;"))
    (tmp_path / "end").touch()  # what it ended with, inspect would say
    assert await process.wait() == -9


@pytest.mark.gen_test
async def test_a_commands_outcome(process):
    """Both streams, apart, and the exit code."""
    outcome = await process.run(["sh", "-c", "cat; echo bad >&2; exit 3"], "in ü\n")
    assert outcome == {"exit_code": 3, "exit_signal": 0, "stdout": "in ü\n", "stderr": "bad\n"}
    process.signal(9)
    await process.wait()


@pytest.mark.gen_test
async def test_a_command_of_a_machine_that_stops_has_no_outcome(process, tmp_path):
    """It is refused as what it is."""
    asking = asyncio.create_task(process.run(["sh", "-c", f"until [ -e {tmp_path}/end ]; do sleep 0.01; done"], ""))
    process.stop(5)
    with pytest.raises(ApiError, match="machine stopped while the command ran"):
        await asking
    await process.wait()
