"""base: the registry of runtimes, and what a machine expects of each."""

import pytest

from aether.emulator.runtimes.base import ENGINES, FAST, RUNTIMES, Isolation
from aether.emulator.runtimes.choice import choose
from aether.emulator.runtimes.fast import FastRuntime
from aether.emulator.runtimes.processes import ProcessRuntime
from aether.emulator.runtimes.rootfs import Rootfs


@pytest.mark.parametrize("name", [info.name for info in RUNTIMES if info.isolation is Isolation.NONE])
@pytest.mark.gen_test
async def test_the_registry_and_the_runtime_agree_on_the_isolation(state_dir, name):
    """Settings and help are made from the one, what the server reports from the other."""
    assert (await choose(name, state_dir, [])).isolation is Isolation.NONE


def test_each_runtime_has_a_name_and_a_description_of_its_own():
    """A user chooses by them."""
    assert len({info.name for info in RUNTIMES}) == len(RUNTIMES)
    assert all(info.description for info in RUNTIMES)
    assert FAST in {info.name for info in RUNTIMES}
    assert ENGINES == ("podman", "docker")


@pytest.fixture(params=["fast", "plain"])
def boot(request, state_dir):
    """Boot a machine without files or port."""
    runtime = FastRuntime() if request.param == "fast" else ProcessRuntime(state_dir, None)
    variables = {"FLY_MACHINE_ID": "f" * 14}
    return lambda: runtime.boot(Rootfs(state_dir / "rootfs"), None, variables, {})


@pytest.mark.gen_test
async def test_a_process_that_is_asked_to_stop_ends_with_exit_code_0(boot):
    """As one that ends by itself."""
    process = await boot()
    process.listen()
    process.stop(5.0)
    assert await process.wait() == 0


@pytest.mark.gen_test
async def test_a_process_that_is_killed_reports_the_signal(boot):
    """As a negative number."""
    process = await boot()
    process.signal(9)
    assert await process.wait() == -9
