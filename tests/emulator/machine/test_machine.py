"""One machine's states, its files over stops and restarts, and its end."""

import asyncio
import socket
from pathlib import Path

import pytest

from tests.processes import supervisor

processes = pytest.mark.parametrize("runtime", ["plain", "bwrap", "sshd"], indirect=True)  # children of ours
plain = pytest.mark.parametrize("runtime", ["plain"], indirect=True)  # what no runtime has a part in


def entries(directory: Path, *names: str) -> list[Path]:
    """List what is in some subdirectories."""
    return [entry for name in names for entry in (directory / name).iterdir()]


@plain
@pytest.mark.gen_test
async def test_states_and_events_in_order(box):
    """A machine is created, starting, started, stopping, stopped; events are newest first, in milliseconds."""
    await box.stop()
    record = await box.read()
    statuses = [event["status"] for event in record["events"]]
    assert statuses == ["stopped", "stopping", "started", "starting", "created"]
    assert record["events"][0]["request"]["exit_event"]["requested_stop"] is True
    assert record["events"][0]["request"]["exit_event"]["exit_code"] == 0
    assert record["events"][0]["timestamp"] > 1_600_000_000_000
    assert (await box.api("GET", f"{box.path}/events?limit=2")).body == record["events"][:2]


@plain
@pytest.mark.gen_test
async def test_start_and_stop_where_nothing_is_to_do(box):
    """Start on a started machine and stop on a stopped one are 200."""
    answer = await box.api("POST", f"{box.path}/start")
    assert answer.body == {"previous_state": "started", "migrated": False, "new_host": ""}
    await box.stop()
    await box.stop()
    assert (await box.read())["state"] == "stopped"
    answer = await box.api("POST", f"{box.path}/start")
    assert answer.body["previous_state"] == "stopped"
    await box.wait("started")


@pytest.mark.gen_test
async def test_start_too_early_is_412(api, config):
    """A machine that is still `created` cannot be started."""
    create = api("POST", "/apps/app/machines", {"config": config(), "skip_launch": True})
    machine = (await create).body["id"]
    answers = [await api("POST", f"/apps/app/machines/{machine}/start")]
    while answers[-1].status == 412:
        answers.append(await api("POST", f"/apps/app/machines/{machine}/start"))
    text = "failed_precondition: unable to start machine from current state: 'created'"
    assert {answer.body["error"] for answer in answers[:-1]} <= {text}


@plain
@pytest.mark.gen_test
async def test_start_while_stopping_is_412(box):
    """A stopping machine cannot be started until it has stopped."""
    async with box.running("trap '' HUP; echo up; sleep 20"):
        await box.api("POST", f"{box.path}/stop", {"timeout": "60s"})
        answer = await box.api("POST", f"{box.path}/start")
        text = "failed_precondition: unable to start machine from current state: 'stopping'"
        assert (answer.status, answer.body) == (412, {"error": text})
        await box.api("DELETE", f"{box.path}?force=true")
    assert (await box.read())["state"] in {"destroying", "destroyed"}


@plain
@pytest.mark.gen_test
async def test_destroy_needs_force_when_running(box):
    """A running machine is destroyed only by force; then GET answers 200 `destroyed` and a wait for more is 404."""
    answer = await box.api("DELETE", box.path)
    text = "unable to destroy machine, not currently stopped, suspended, failed or created"
    assert (answer.status, answer.body) == (412, {"error": f"failed_precondition: {text}"})
    assert (await box.api("DELETE", f"{box.path}?force=true")).body == {"ok": True}
    await box.wait("destroyed")
    assert (await box.read())["state"] == "destroyed"
    assert (await box.api("GET", f"{box.path}/wait?state=started")).status == 404
    assert (await box.api("DELETE", f"{box.path}?force=true")).status == 404


@pytest.mark.gen_test
async def test_destroy_removes_what_the_user_locked(box, state_dir):
    """Destroying removes directories their owner made read-only."""
    await box.run("mkdir -p a/b && touch a/b/c && chmod 500 a/b && chmod 0 a")
    await box.api("DELETE", f"{box.path}?kill=true")
    await box.wait("destroyed")
    assert entries(state_dir, "machines", "trash") == []


@pytest.mark.gen_test
async def test_files_persist_if_asked(box):
    """With rootfs.persist "always" the user's files, the skeleton's changes included, survive stop and start."""
    await box.run("echo mine > file; echo 'export MINE=1' >> .bashrc; rm .profile")
    await box.restart()
    assert await box.run("cat file; tail -n1 .bashrc; ls .profile 2>&1 | wc -l") == "mine\nexport MINE=1\n1\n"


@plain
@pytest.mark.gen_test
async def test_files_are_wiped_by_default(runtime, on):
    """A plain root filesystem is reset between stop and start, as Fly's is; `files` are written again."""
    box = await on(runtime, rootfs={"persist": "never"})
    await box.run("echo mine > file")
    await box.restart()
    assert "file" not in (await box.run("ls -A")).split()


@plain
@pytest.mark.gen_test
async def test_host_key_survives_a_stop(box):
    """A machine keeps its host key as long as its root filesystem."""
    keys = []
    for _ in range(2):
        async with box.ssh() as connection:
            keys.append(connection.get_server_host_key().export_public_key())
        await box.restart()
    assert keys[0] == keys[1]


@pytest.mark.gen_test
async def test_files_are_written_with_their_mode(runtime, on, encode):
    """`files` appear inside with their content and mode, and again after the user removed them."""
    path = "/home/coder/.config/tool/key"
    box = await on(runtime, files=[{"guest_path": path, "raw_value": encode(b"secret\n"), "mode": 0o600}])
    assert await box.run("cat .config/tool/key; stat -c %a .config/tool/key") == "secret\n600\n"
    await box.run("rm -r .config; mkdir .config")
    await box.restart()
    assert await box.run("cat .config/tool/key") == "secret\n"


@pytest.mark.parametrize("link", [".ssh", ".ssh/authorized_keys"])
@pytest.mark.gen_test
async def test_planted_symlink_leads_nowhere(runtime, on, encode, tmp_path, link):
    """A symbolic link in the root filesystem never makes the emulator write outside of it."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "authorized_keys").write_text("untouched")
    file = {"guest_path": "/home/coder/.ssh/authorized_keys", "raw_value": encode(b"# new\n")}
    box = await on(runtime, files=[file])
    target = outside if link == ".ssh" else outside / "authorized_keys"
    await box.run(f"rm -rf {link} && ln -s {target} {link}")
    await box.restart()
    assert (outside / "authorized_keys").read_text() == "untouched"
    assert await box.run("cat .ssh/authorized_keys") == "# new\n"


@plain
@pytest.mark.gen_test
async def test_restart_shows_the_machines_stopped(runtime, open_emulator, open_api, create):
    """Another emulator on the same state directory has the same machines, stopped, with their files."""
    emulator = await open_emulator(runtime)
    box = await create(open_api(emulator.url))
    await box.run("echo mine > file")
    await emulator.stop()
    box.api = open_api((await open_emulator(runtime)).url)
    assert [(m["id"], m["state"]) for m in (await box.api("GET", "/apps/app/machines")).body] == [(box.id, "stopped")]
    await box.start()
    assert await box.run("cat file") == "mine\n"


@pytest.mark.gen_test
async def test_recovery_after_a_crash(open_emulator, open_api, create, state_dir, marker):
    """A machine that ran when the emulator was killed is found `stopped`, and what it left behind is killed."""
    emulator = await open_emulator()
    box = await create(open_api(emulator.url))
    path = state_dir / "machines" / box.id / "machine.json"
    running = path.read_text()
    await emulator.stop()
    path.write_text(running)
    orphan = await asyncio.create_subprocess_exec("sleep", marker, env={"FLY_MACHINE_ID": box.id, "PATH": "/bin"})
    box.api = open_api((await open_emulator()).url)
    await orphan.wait()
    event = (await box.read())["events"][0]
    assert (event["type"], event["status"]) == ("exit", "stopped")
    assert event["request"]["exit_event"]["requested_stop"] is False


@pytest.mark.gen_test
async def test_destroyed_machine_is_not_kept(open_emulator, open_api, create):
    """A destroyed machine is known for the life of the emulator, not longer."""
    emulator = await open_emulator()
    box = await create(open_api(emulator.url))
    await box.api("DELETE", f"{box.path}?force=true")
    await emulator.stop()
    box.api = open_api((await open_emulator()).url)
    assert (await box.api("GET", box.path)).status == 404


@plain
@pytest.mark.gen_test
async def test_record_is_private(box, state_dir):
    """Only its owner can read the state directory: `files` contain keys."""
    directory = state_dir / "machines" / box.id
    assert [oct(path.stat().st_mode & 0o777) for path in (state_dir, directory)] == ["0o700", "0o700"]
    assert oct((directory / "machine.json").stat().st_mode & 0o777) == "0o600"


@plain
@pytest.mark.gen_test
async def test_port_taken_at_start_leaves_it_stopped(box):
    """A start that does not get its port is answered, then the machine is `stopped` with the reason."""
    await box.stop()
    with socket.create_server(("127.0.0.1", box.port)):
        assert (await box.api("POST", f"{box.path}/start")).status == 200
        await box.wait("stopped")
    exit_event = (await box.read())["events"][0]["request"]["exit_event"]
    assert exit_event["error"] == f"aborted: external port {box.port} is already in use on this computer"
    await box.start()


@plain
@pytest.mark.gen_test
async def test_port_refuses_when_stopped(box):
    """Nothing listens on the SSH port of a machine that does not run."""
    await box.listening()
    await box.stop()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", box.port)


@processes
@pytest.mark.gen_test
async def test_supervisor_that_dies_stops_the_machine(box):
    """A machine whose process is killed is `stopped`, and its exit event says that no stop was requested."""
    await box.listening()
    supervisor().kill()
    await box.wait("stopped")
    exit_event = (await box.read())["events"][0]["request"]["exit_event"]
    assert (exit_event["requested_stop"], exit_event["exit_code"]) == (False, 137)


@pytest.mark.gen_test
async def test_skip_launch_settles_stopped(api, config):
    """A machine created with skip_launch is prepared but not booted."""
    answer = await api("POST", "/apps/app/machines", {"config": config(), "skip_launch": True})
    assert answer.body["state"] == "created"
    path = f"/apps/app/machines/{answer.body['id']}"
    assert (await api("GET", f"{path}/wait?state=settled")).body["state"] == "stopped"
    assert (await api("POST", f"{path}/start")).body["previous_state"] == "stopped"
    assert (await api("GET", f"{path}/wait?state=started")).status == 200


@pytest.mark.gen_test
async def test_many_machines_at_once(runtime, open_emulator, open_api, create):
    """Machines boot and stop side by side."""
    api = open_api((await open_emulator(runtime)).url)
    boxes = await asyncio.gather(*(create(api) for _ in range(6)))
    outputs = await asyncio.gather(*(box.run("echo $FLY_MACHINE_ID") for box in boxes))
    assert outputs == [f"{box.id}\n" for box in boxes]
    await asyncio.gather(*(box.stop() for box in boxes))


@pytest.mark.gen_test
async def test_destroy_during_the_boot(api, config, state_dir: Path):
    """A machine destroyed before it was up leaves nothing."""
    machine = (await api("POST", "/apps/app/machines", {"config": config()})).body["id"]
    path = f"/apps/app/machines/{machine}"
    assert (await api("DELETE", f"{path}?force=true")).status == 200
    assert (await api("GET", f"{path}/wait?state=destroyed")).status in {200, 404}
    assert entries(state_dir, "machines") == []
