"""runtime: what a life may expect of each of its runtimes."""

import pytest

from aether.emulator.runtimes.fast import FastRuntime
from aether.emulator.runtimes.processes import ProcessRuntime
from aether.emulator.runtimes.rootfs import Rootfs


@pytest.fixture(params=["fast", "plain"])
def boot(request, state_dir):
    """Boot a machine without files or port."""
    runtime = FastRuntime() if request.param == "fast" else ProcessRuntime(state_dir, None)
    variables = {"FLY_MACHINE_ID": "f" * 14}
    return lambda: runtime.boot(Rootfs(state_dir / "rootfs"), None, variables, {})


@pytest.mark.gen_test
async def test_a_guest_that_is_asked_to_stop_ends_in_good_order(boot):
    """Exit code 0."""
    guest = await boot()
    guest.listen()
    guest.stop(5.0)
    assert await guest.wait() == 0


@pytest.mark.gen_test
async def test_a_guest_that_is_killed_says_by_which_signal(boot):
    """As a negative number."""
    guest = await boot()
    guest.signal(9)
    assert await guest.wait() == -9
