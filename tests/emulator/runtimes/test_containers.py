"""containers: machines as containers, of an engine that only pretends, and of a real one where there is one."""

import asyncio
import shutil
import subprocess
from pathlib import Path

import pytest

from aether.emulator.errors import EmulatorError
from aether.emulator.runtimes.base import ENGINES

# A mock: it stands for podman and docker, which most computers that run the tests lack. A container is a directory.
ENGINE = r"""#!/bin/bash
cd "$FAKE_ENGINE" || exit 1
all="$*"
echo "${all//$'\n'/ }" >>calls
for name; do :; done
[[ " $FAKE_FAILS " != *" $1 "* ]] || { echo "Error: $1 is out of order" >&2; exit 125; }
set -e
end() { # the first call decides how it ended
  echo "$2 false" >"$1/end.$$"
  ln "$1/end.$$" "$1/end"
}
case "$1" in
  info) echo "${FAKE_LIMITS-$([ "${0##*/}" = docker ] && echo true true || echo '[cpuset cpu io memory pids]')}" ;;
  create)
    for option; do [[ $option != --label=* ]] || label="${option#--label=}"; done
    name="$3"
    for image; do [[ $image != registry.fly.io/* && $image != localhost/* ]] || break; done
    [[ $image == *base:latest || -d images/$image ]] || { echo "Error: $image: no such host" >&2; exit 125; }
    mkdir -p "$name/fs"
    [ ! -d "images/$image" ] || cp -r "images/$image/." "$name/fs"
    echo "$label" >"$name/label"
    ;;
  cp) tar -xf - -C "${name%:/}/fs" --no-same-owner ;;
  start) [ -d "$name" ] || { echo "Error: no such container" >&2; exit 125; }; rm -f "$name/end" ;;
  attach) while [ ! -e "$name/end" ]; do sleep 0.01; done ;;
  wait) cut -d ' ' -f 1 "$name/end" ;;
  inspect) [ ! -e "$name/end" ] || echo "false $(cat "$name/end")" ;;
  rename) mv "$2" "$name" ;;
  kill)
    [ -d "$name" ] && [ ! -e "$name/end" ]
    case "$2" in
      --signal=SIGTERM) [ -e stubborn ] || end "$name" 0 ;;
      *) end "$name" 137 ;;
    esac
    ;;
  exec)
    while [ "$1" != timeout ]; do shift; done
    exec "${@:4}"
    ;;
  commit)
    mkdir -p "images/$name"
    cp -r "$2/fs/." "images/$name"
    ;;
  rm) [ -e "$name/end" ] || end "$name" 137; mv "$name" "removed-$name-$RANDOM" ;;
  ps)
    for each in aether-*; do
      case "$*" in
        *"name=^$each\$"*) echo c0ffee ;;
        *label=*--format*) ! grep -qF "$(sed 's/.*filter=label=\(\S*\).*/\1/' <<<"$*")" "$each/label" || echo "$each" ;;
      esac 2>/dev/null
    done
    ;;
  images) [ ! -d "images/$name:latest" ] || echo decade ;;
  image)
    case "$2" in
      rm) rm -r images/localhost ;;
      inspect) false ;;
    esac
    ;;
esac
"""


class Engine:
    """The pretended engine of a test."""

    def __init__(self, path: Path, environ: pytest.MonkeyPatch) -> None:
        self.path = path
        self._environ = environ

    def fail(self, *verbs):
        """Let these commands fail from now on, and no others."""
        self._environ.setenv("FAKE_FAILS", " ".join(verbs))

    def file(self, box):
        """Return the path of a file in a machine's container."""
        return self.path / f"aether-{box.id}/fs/mine"

    def calls(self, *wanted):
        lines = (self.path / "calls").read_text().splitlines()
        return [line.strip() for line in lines if not wanted or line.split()[0] in wanted]

    def verbs(self, *wanted):
        return [line.split()[0] for line in self.calls(*wanted)]

    def end(self, box, code, is_oom_killed=False):
        """Let a machine's first process end by itself."""
        end = self.path / f"aether-{box.id}/end"
        end.with_suffix(".new").write_text(f"{code} {str(is_oom_killed).lower()}\n")
        end.with_suffix(".new").rename(end)

    def forget_calls(self):
        (self.path / "calls").write_text("")


@pytest.fixture(params=ENGINES)
def name(request):
    return request.param


@pytest.fixture
def engine(nothing_leaks, tmp_path, monkeypatch, name):
    """Put the pretended engine on the path."""
    path = tmp_path / "engine"
    path.mkdir()
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / name
    program.write_text(ENGINE)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setenv("FAKE_ENGINE", str(path))
    engine = Engine(path, monkeypatch)
    engine.fail()
    return engine


async def exit_event(box):
    return (await box.read())["events"][0]["request"]["exit_event"]


async def start_in_vain(box):
    """Start a machine whose container does not start."""
    await box.api("POST", f"{box.path}/start")
    await box.wait("stopped")


async def update(box, config, state):
    """Give a machine another variable, and wait for a state."""
    box.record = (await box.api("POST", box.path, {"config": config(env={"GREETING": "hello"})})).body
    await box.wait(state)


async def update_in_vain(engine, box, config, verb):
    """Update a stopped machine that has a file while the engine fails in a command, and try to start it."""
    engine.file(box).touch()
    await box.stop()
    engine.fail(verb)
    await update(box, config, "stopped")
    await start_in_vain(box)


@pytest.mark.gen_test
async def test_a_machine_is_a_container_as_its_config_says(engine, name, on):
    """Image, port, variables, sizes; made, given its files, started."""
    guest = {"cpu_kind": "shared", "cpus": 2, "memory_mb": 1024}
    box = await on(name, env={"GREETING": "hello"}, guest=guest)
    assert engine.verbs("create", "cp", "start") == ["create", "cp", "start"]
    [call] = engine.calls("create")
    options = call.split()
    assert {f"--publish=127.0.0.1:{box.port}:2222", "--memory=1024m", "--cpus=2", "--hostname=aether"} <= set(options)
    assert {"--env=GREETING=hello", f"--env=FLY_MACHINE_ID={box.id}"} <= set(options)
    assert "--log-driver=none" in options  # or it would be kept twice, and for ever
    assert options[:3] == ["create", "--name", f"aether-{box.id}"]
    assert options[-1] == "registry.fly.io/app/base:latest"
    assert (engine.path / f"aether-{box.id}/fs/etc/ssh/authorized_keys.d/coder").exists()


@pytest.mark.gen_test
async def test_an_engine_that_cannot_limit_something_does_not(engine, name, on, monkeypatch, caplog):
    """As podman of a user whose session has no control of processors; that is in the log."""
    monkeypatch.setenv("FAKE_LIMITS", {"podman": "[memory pids]", "docker": "true false"}[name])
    with caplog.at_level("INFO"):
        await on(name)
    [call] = engine.calls("create")
    assert "--memory=256m" in call
    assert "--cpus" not in call
    assert f"{name} cannot limit cpu here" in caplog.text


@pytest.mark.parametrize(
    ("init", "before", "after"),
    [
        ({"cmd": ["a", "b"]}, "", "a b"),
        ({"entrypoint": ["e", "1"], "cmd": ["c"]}, "--entrypoint=e", "1 c"),
        ({"exec": ["x", "y"], "cmd": ["c"]}, "--entrypoint=x", "y"),
    ],
)
@pytest.mark.gen_test
async def test_init_takes_the_place_of_the_images_command(engine, name, on, init, before, after):
    """Fly's `init`: `exec` instead of all, `entrypoint` and `cmd` instead of the image's own."""
    await on(name, init=init)
    [call] = engine.calls("create")
    assert call.endswith(f"{before} registry.fly.io/app/base:latest {after}")


@pytest.mark.gen_test
async def test_a_stopped_machine_keeps_its_container(engine, name, on):
    """And so its files; SIGTERM ends it in good order."""
    box = await on(name)
    engine.file(box).touch()
    await box.stop()
    event = await exit_event(box)
    assert (event["exit_code"], event["requested_stop"], event["oom_killed"]) == (0, True, False)
    await box.start()
    assert engine.file(box).exists()
    assert engine.verbs("create", "start") == ["create", "start", "start"]
    assert engine.calls("kill") == [f"kill --signal=SIGTERM aether-{box.id}"]


@pytest.mark.gen_test
async def test_what_does_not_persist_is_wiped(engine, name, on):
    """By a stop, as on Fly: the next start has a new container."""
    box = await on(name, rootfs={"persist": "never"})
    engine.file(box).touch()
    await box.restart()
    assert not engine.file(box).exists()
    assert engine.verbs("create", "rm") == ["create", "rm", "create"]


@pytest.mark.gen_test
async def test_an_update_keeps_the_files_in_another_container(engine, name, on, config):
    """An image of the machine's own carries them; it goes with the machine."""
    box = await on(name)
    engine.file(box).touch()
    await update(box, config, "started")
    assert engine.file(box).exists()
    assert "--env=GREETING=hello" in engine.calls("create")[-1].split()
    assert engine.verbs("commit", "create", "rm", "rename") == ["create", "commit", "create", "rm", "rename"]
    await box.api("DELETE", f"{box.path}?force=true")
    await box.wait("destroyed")
    assert not [*engine.path.glob("aether-*"), *engine.path.glob("images/*")]


@pytest.mark.gen_test
async def test_an_update_that_fails_loses_no_files(engine, name, on, config):
    """The old container is there until the new one is; the next start tries again."""
    box = await on(name)
    await update_in_vain(engine, box, config, "create")
    assert "create is out of order" in (await exit_event(box))["error"]
    engine.fail()
    await box.start()
    assert engine.file(box).exists()


@pytest.mark.parametrize("is_killed", [False, True])
@pytest.mark.gen_test
async def test_an_update_that_is_cut_off_at_its_last_step_loses_no_files(
    engine, name, on, config, open_emulator, open_api, is_killed
):
    """The old container is gone, the new one has not its name yet: by the next start or the next emulator it has."""
    box = await on(name)
    await update_in_vain(engine, box, config, "rename")
    assert not (engine.path / f"aether-{box.id}").exists()
    if is_killed:
        await box.emulator.stop()
    engine.fail()
    if is_killed:
        box.api = open_api((await open_emulator(name)).url)
    await box.start()
    assert engine.file(box).exists()
    assert not (engine.path / f"aether-{box.id}-new").exists()


@pytest.mark.parametrize("is_stopped", [False, True])
@pytest.mark.gen_test
async def test_a_destroyed_machine_leaves_nothing(engine, name, on, is_stopped):
    """Whether it ran or not."""
    box = await on(name)
    if is_stopped:
        await box.stop()
    await box.api("DELETE", f"{box.path}?force=true")
    await box.wait("destroyed")
    assert not [*engine.path.glob("aether-*")]


@pytest.mark.parametrize(("code", "is_oom_killed", "shown"), [(3, False, (3, -1)), (137, True, (137, 9))])
@pytest.mark.gen_test
async def test_a_machine_that_ends_by_itself_says_how(engine, name, on, code, is_oom_killed, shown):
    """Exit code or signal, and whether its memory was not enough."""
    box = await on(name)
    engine.end(box, code, is_oom_killed)
    await box.wait("stopped")
    event = await exit_event(box)
    assert (event["exit_code"], event["signal"]) == shown
    assert (event["oom_killed"], event["requested_stop"]) == (is_oom_killed, False)


@pytest.mark.gen_test
async def test_a_machine_that_ignores_its_stop_is_killed(engine, name, on):
    """After the grace; the signal is the one that the config names."""
    (engine.path / "stubborn").touch()
    box = await on(name, stop_config={"timeout": "100ms"})
    await box.stop()
    assert (await exit_event(box))["exit_code"] == 137
    signals = [call.split()[1] for call in engine.calls("kill")]
    assert sorted(signals) == ["--signal=SIGKILL", "--signal=SIGTERM"]


@pytest.mark.gen_test
async def test_a_new_emulator_ends_what_the_one_before_left(engine, name, on, open_emulator, open_api, state_dir):
    """What ran is killed and `stopped`; what belongs to no machine is removed, but no other emulator's containers."""
    box = await on(name)
    record = (state_dir / "machines" / box.id / "machine.json").read_text()
    other = engine.path / "aether-0"
    other.mkdir()
    (other / "label").write_text("aether.emulator=other")
    await box.emulator.stop()
    (state_dir / "machines" / box.id / "machine.json").write_text(record)  # as if it had been killed
    (engine.path / f"aether-{box.id}/end").unlink()
    shutil.copytree(engine.path / f"aether-{box.id}", engine.path / "aether-1")
    engine.forget_calls()
    box.api = open_api((await open_emulator(name)).url)
    assert (await box.read())["state"] == "stopped"
    assert {path.name for path in engine.path.glob("aether-*")} == {f"aether-{box.id}", "aether-0"}
    assert f"kill aether-{box.id}" in engine.calls("kill")


@pytest.mark.gen_test
async def test_an_engine_that_is_not_there_is_said_so(engine, name, open_emulator, monkeypatch):
    """With what to do."""
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(EmulatorError, match=f"needs {name}, which is not installed"):
        await open_emulator(name)


@pytest.mark.gen_test
async def test_an_engine_that_does_not_work_is_said_so(engine, name, open_emulator):
    """In its own words."""
    engine.fail("ps")
    with pytest.raises(EmulatorError, match=rf"{name} does not work here: Error: ps is out of order; .*{name} info"):
        await open_emulator(name)


@pytest.mark.gen_test
async def test_an_image_that_is_not_there_is_said_so(engine, name, on):
    """The machine is `stopped`, and says how to get the image."""
    box = await on(name, image="registry.fly.io/app/other:latest", state="stopped")
    error = (await exit_event(box))["error"]
    assert error.startswith(
        "there is no image registry.fly.io/app/other:latest here, and it cannot be fetched; build it"
    )


@pytest.mark.gen_test
async def test_a_container_that_was_removed_is_created_again(engine, name, on):
    """By the start after the one that finds out."""
    box = await on(name)
    await box.stop()
    shutil.rmtree(engine.path / f"aether-{box.id}")
    await start_in_vain(box)
    assert (await exit_event(box))["error"]
    await box.start()


@pytest.mark.logs_warnings
@pytest.mark.gen_test
async def test_a_container_that_cannot_be_removed_is_in_the_log(engine, name, on, caplog):
    """The machine is gone all the same; a later emulator tries again."""
    box = await on(name)
    engine.fail("rm")
    await box.api("DELETE", f"{box.path}?force=true")
    await box.wait("destroyed")
    assert f"machine {box.id}: its container could not be removed: Error: rm is out of order" in caplog.text


@pytest.mark.gen_test
async def test_an_engine_that_dies_stops_the_machine(engine, name, on):
    """It says so, and can be started again when the engine is back, with its files."""
    box = await on(name)
    engine.file(box).touch()
    await box.stop()
    engine.fail("start", "ps")
    await start_in_vain(box)
    assert "start is out of order" in (await exit_event(box))["error"]
    engine.fail()
    await box.start()
    assert engine.file(box).exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [({"init": {"cmd": ["a\0b"]}}, "create cannot be run"), ({"image": "--privileged"}, "cannot be an image")],
)
@pytest.mark.gen_test
async def test_what_no_command_line_can_say_is_refused_by_the_machine(engine, name, on, change, said):
    """It does not start, and no image is an option of the engine's."""
    box = await on(name, state="stopped", **change)
    assert said in (await exit_event(box))["error"]
    assert engine.calls("create") == []


# With a real engine, beside what the tests of every runtime say.


of_engines = pytest.mark.parametrize("runtime", ENGINES, indirect=True)


@of_engines
@pytest.mark.gen_test
async def test_a_machine_has_the_memory_and_processors_of_its_guest(runtime, on):
    """A program that wants more memory is killed; the machine goes on."""
    box = await on(runtime, guest={"cpu_kind": "shared", "cpus": 1, "memory_mb": 256})
    limits = await box.run(
        "cd /sys/fs/cgroup; cat memory.max 2>/dev/null || cat memory/memory.limit_in_bytes;"
        "cut -d ' ' -f 1 cpu.max 2>/dev/null || cat cpu/cpu.cfs_quota_us"
    )
    assert limits == f"{256 << 20}\n100000\n"
    assert await box.run("python3 -c 'print(len(bytearray(1 << 29)))' 2>/dev/null; echo $?") == "137\n"


@of_engines
@pytest.mark.gen_test
async def test_a_real_container_is_wiped_or_kept_as_fly_would(runtime, on, config):
    """A stop wipes a plain file system, no update a persistent one; what is not the user's home, too."""
    plain = await on(runtime, rootfs={"persist": "never"})
    await plain.run("touch mine; sudo touch /etc/mine")
    await plain.restart()
    assert "mine" not in await plain.run("ls -A . /etc")
    kept = await on_same(plain, config())
    await kept.run("touch mine; sudo touch /etc/mine")
    await update(kept, config, "started")
    assert await kept.run("ls mine /etc/mine; echo $GREETING") == "/etc/mine\nmine\nhello\n"


async def on_same(box, config):
    """Create another machine on a box's emulator."""
    answer = await box.api("POST", "/apps/app/machines", {"config": config})
    other = type(box)(box.api, "app", answer.body, box.key)
    await other.wait("started")
    return other


@of_engines
@pytest.mark.gen_test
async def test_a_real_container_ends_well_and_leaves_nothing(runtime, on, config):
    """Exit code 0 by the stop signal; after the destruction neither a container nor an image of it."""
    box = await on(runtime)
    await box.stop()
    assert (await exit_event(box))["exit_code"] == 0
    await update(box, config, "stopped")
    await box.start()
    await box.api("DELETE", f"{box.path}?force=true")
    await box.wait("destroyed")
    for listing in (["ps", "--all"], ["images"]):
        process = await asyncio.create_subprocess_exec(runtime, *listing, stdout=subprocess.PIPE)
        assert box.id.encode() not in (await process.communicate())[0]
