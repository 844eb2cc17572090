"""server: the emulator's life cycle."""

import asyncio
import re

import pytest

from aether.emulator.errors import EmulatorError
from aether.emulator.runtimes.base import Isolation
from aether.emulator.server import Emulator

MACHINES = "/apps/app/machines"


@pytest.mark.parametrize(("runtime", "isolation"), [("plain", Isolation.NONE), ("bwrap", Isolation.NAMESPACES)])
@pytest.mark.gen_test
async def test_a_started_emulator_says_how_isolated_its_machines_are(open_emulator, need, runtime, isolation):
    """Whatever was asked for, "auto" for example."""
    if runtime == "bwrap":
        need("bwrap")
    assert (await open_emulator(runtime)).isolation is isolation


@pytest.mark.gen_test
async def test_second_emulator_on_a_state_directory_is_refused(emulator, state_dir):
    """Two emulators never share a state directory."""
    with pytest.raises(EmulatorError, match="is in use by another process"):
        await Emulator(state_dir, "T").start()


@pytest.mark.gen_test
async def test_port_in_use_names_another(tmp_path, emulator):
    """A taken port says so and suggests the next."""
    port = int(emulator.url.rpartition(":")[2])
    with pytest.raises(EmulatorError, match=f"port {port} is in use; try --port {port + 1}"):
        await Emulator(tmp_path / "other", "T", port).start()


@pytest.mark.gen_test
async def test_stop_twice(emulator):
    """A second stop does nothing."""
    await emulator.stop()
    await emulator.stop()


@pytest.mark.gen_test
async def test_stop_lets_waiters_go(api, emulator, eventually):
    """A long wait does not hold up the end of the emulator."""
    machine = (await api("POST", MACHINES, {"config": {"image": "i"}, "skip_launch": True})).body["id"]
    waiting = asyncio.create_task(api("GET", f"{MACHINES}/{machine}/wait?timeout=60"))
    await eventually(lambda: emulator.machines.find("app", machine).store.waiting)
    await emulator.stop()
    assert (await waiting).status == 503


def test_command_line(spawn_emulator):
    """`python -m aether.emulator` prints its URL, explains why a second cannot start, ends with 0 on SIGTERM."""
    first = spawn_emulator()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+\n", first.stdout.readline())
    second = spawn_emulator()
    second.communicate()
    first.terminate()
    assert first.wait() == 0
    assert second.returncode == 1
