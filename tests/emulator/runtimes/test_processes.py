"""processes: how the processes of a machine are isolated, and killed."""

import asyncio
import functools
import os
import shutil
import sys
from pathlib import Path

import psutil
import pytest

from aether.emulator.errors import EmulatorError
from aether.emulator.runtimes.choice import choose
from tests.processes import below

# What the image's own sshd does otherwise: it ends at once, and a container with it, as a machine on Fly does.
processes = pytest.mark.parametrize("runtime", ["plain", "bwrap", "sshd"], indirect=True)
STRAYS = """
sleep {0} >/dev/null 2>&1 </dev/null &
setsid sleep {0} >/dev/null 2>&1 </dev/null &
nohup setsid sleep {0} >/dev/null 2>&1 </dev/null &
(setsid sh -c '(sleep {0} &) &' >/dev/null 2>&1 </dev/null &)
until [ $(pgrep -cx -f 'sleep {0}') = 4 ]; do sleep 0.01; done
"""


@pytest.mark.gen_test
async def test_stop_kills_everything(box, marker, sleepers):
    """What escaped its shell by setsid, nohup or a double fork is gone when the machine has stopped."""
    await box.run(STRAYS.format(marker))
    assert len(sleepers(marker)) == 4
    await box.stop()
    assert sleepers(marker) == []


@pytest.mark.gen_test
async def test_destroy_kills_everything(box, marker, sleepers):
    """A forced destroy does not wait for shells that ignore SIGHUP."""
    await box.run(STRAYS.format(marker))
    async with box.running(f"trap '' HUP TERM; echo up; sleep {marker}; sleep 9"):
        await box.api("DELETE", f"{box.path}?force=true")
        await box.wait("destroyed")
    assert sleepers(marker) == []


@processes
@pytest.mark.gen_test
async def test_stop_does_not_wait_longer_than_the_grace(runtime, on):
    """A shell that ignores SIGHUP is killed after `stop_config.timeout`."""
    box = await on(runtime, stop_config={"timeout": "200ms"})
    async with box.running("trap '' HUP; echo up; sleep 1000"):
        started_at = asyncio.get_running_loop().time()
        await box.stop()
    assert asyncio.get_running_loop().time() - started_at >= 0.2


@processes
@pytest.mark.gen_test
async def test_stop_gives_shells_their_time(box):
    """A shell may finish its work within the grace period after SIGHUP."""
    async with box.running("trap 'sleep 0.3; echo done > file; exit' HUP; echo up; while :; do sleep 0.05; done"):
        await box.stop()
    await box.start()
    assert await box.run("cat file") == "done\n"


@processes
@pytest.mark.gen_test
async def test_killed_supervisor_leaves_nothing(box, marker, sleepers):
    """When the supervisor is killed the rest of its machine dies as well."""
    await box.run(STRAYS.format(marker))
    children = psutil.Process(os.getpid()).children()
    [process] = [p for p in children if "aether.emulator.guest.supervisor" in p.cmdline()]
    process.kill()
    await box.wait("stopped")
    assert sleepers(marker) == []


@pytest.mark.gen_test
async def test_killed_emulator_leaves_nothing(runtime, spawn_emulator, open_api, create, marker, sleepers):
    """When the emulator is killed hard nothing of its machines goes on."""
    server = spawn_emulator(runtime)
    box = await create(open_api(server.stdout.readline().strip()))
    await box.run(STRAYS.format(marker))
    family = below(pid=server.pid)
    server.kill()
    _, alive = await asyncio.to_thread(psutil.wait_procs, [*family, *sleepers(marker)], timeout=20)
    assert alive == []
    assert sleepers(marker) == []


@pytest.mark.parametrize(
    ("missing", "package"), [("sshd", "apt-get install openssh-server"), ("bwrap", "apt-get install bubblewrap")]
)
@pytest.mark.gen_test
async def test_a_runtime_that_cannot_be_says_what_to_install(need, open_emulator, missing, package):
    """A user who asks for OpenSSH's server does not get another one."""
    need("sshd")

    def which(name, **options):
        return None if name == missing else shutil.which(name, **options)

    with pytest.raises(EmulatorError, match=package):
        await open_emulator("sshd", choose_runtime=functools.partial(choose, which=which))


@pytest.mark.gen_test
async def test_a_bubblewrap_that_does_not_work_is_said_to(need, open_emulator, monkeypatch, tmp_path):
    """As in a container that forbids user namespaces."""
    need("sshd")
    (tmp_path / "bwrap").symlink_to(need("false"))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(EmulatorError, match="does not work here"):
        await open_emulator("sshd")


@pytest.mark.gen_test
async def test_bwrap_shows_a_machine_of_its_own(need, on, state_dir):
    """Under bubblewrap a machine has its own accounts, host name, processes, /tmp and home."""
    need("bwrap")
    box = await on("bwrap")
    assert await box.run("whoami; hostname; pwd; echo ~coder; id -u; cat /etc/hostname") == (
        "coder\naether\n/home/coder\n/home/coder\n1000\naether\n"
    )
    assert int(await box.run("ls -d /proc/[0-9]* | wc -l")) < 10
    assert await box.run("ls -A /home; stat -c %a /tmp") == "coder\n1777\n"
    assert str(state_dir) not in await box.run(f"ls -d {state_dir}/* 2>/dev/null; true")


@pytest.mark.gen_test
async def test_bwrap_protects_the_host_and_hides_homes(need, on):
    """Under bubblewrap the host's files are read-only and other people's homes are not there."""
    need("bwrap")
    box = await on("bwrap")
    assert await box.run("touch /usr/x /etc/x 2>/dev/null; echo $?") == "1\n"
    needed = [Path(path) for path in (sys.prefix, sys.base_prefix, __file__)]  # Python, and this checkout
    seen_anyway = {path.relative_to(Path.home()).parts[0] for path in needed if path.is_relative_to(Path.home())}
    hidden = {path.name for path in Path.home().iterdir()} - seen_anyway
    assert hidden
    seen = (await box.run(f"ls -A {Path.home()} 2>/dev/null; true")).split()
    assert not hidden & set(seen)


@pytest.mark.parametrize("path", ["/etc/aether-test-file", "/opt/none/such/file", "/run/thing", "/none/such"])
@pytest.mark.gen_test
async def test_bwrap_files_where_the_host_has_none(need, on, encode, path):
    """`files` appear at places the host does not have, beside what it has."""
    need("bwrap")
    box = await on("bwrap", files=[{"guest_path": path, "raw_value": encode(b"here\n")}])
    assert await box.run(f"cat {path}; test -e /etc/profile && test -d /usr && echo whole") == "here\nwhole\n"
