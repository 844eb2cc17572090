"""life: delays, updates and spontaneous ends, without processes and in virtual time; with processes in test_machine."""

import asyncio

import pytest

from aether.emulator.options import Options

EXIT = ("requested_stop", "oom_killed", "exit_code", "guest_exit_code", "signal")


async def exit_of(fly, path):
    event = (await fly.api("GET", path)).body["events"][0]
    assert (event["type"], event["status"]) == ("exit", "stopped")
    return tuple(event["request"]["exit_event"][key] for key in EXIT)


@pytest.mark.gen_test
async def test_states_last_as_long_as_the_options_say(fast):
    """Each delay is a stretch of time in its state, answered before it begins."""
    fly = await fast(pull_delay_s=6, boot_delay_s=2, stop_delay_s=3, destroy_delay_s=4)
    path = await fly.create()
    seen = [await fly.state(path)]
    for seconds in (5, 1, 1, 1):
        await fly.clock.advance(seconds)
        seen.append(await fly.state(path))
    for method, call, seconds in (("POST", "/stop", 3), ("POST", "/start", 2), ("DELETE", "?force=true", 7)):
        await fly.api(method, f"{path}{call}")
        seen.append(await fly.state(path))
        await fly.clock.advance(seconds)
        seen.append(await fly.state(path))
    booted = ["created", "created", "starting", "starting", "started"]
    assert seen == [*booted, "stopping", "stopped", "starting", "started", "destroying", "destroyed"]


@pytest.mark.parametrize("options", [{"pull_delay_s": 60}, {"boot_delay_s": 60}, {"sshd_delay_s": 60}])
@pytest.mark.parametrize(("method", "call", "end"), [("POST", "/stop", "stopped"), ("DELETE", "?force=1", "destroyed")])
@pytest.mark.gen_test
async def test_a_boot_that_is_no_longer_wanted_ends_at_once(fast, options, method, call, end):
    """A stop or destroy during a delay ends it."""
    fly = await fast(**options)
    path = await fly.create()
    await fly.clock.advance(0)
    await fly.api(method, f"{path}{call}")
    await fly.reach(path, end)
    assert fly.clock.sleepers == 0


@pytest.mark.gen_test
async def test_emulator_ends_in_the_middle_of_delays(fast):
    """The end of the emulator waits for no delay; its machines are stopped then, or gone."""
    fly = await fast(boot_delay_s=60, destroy_delay_s=60)
    paths = [await fly.create(), await fly.create()]
    await fly.api("DELETE", f"{paths[1]}?force=true")
    await fly.emulator.stop()
    again = await fast()
    assert await again.listed() == [paths[0][-14:]]
    assert await again.state(paths[0]) == "stopped"


@pytest.mark.gen_test
async def test_crash(fast):
    """A machine whose process fails is stopped, not by a request, and its exit code says why."""
    fly = await fast()
    path = await fly.started()
    await fly.emulator.crash(path[-14:], exit_code=3)
    assert await exit_of(fly, path) == (False, False, 3, 3, -1)
    await fly.api("POST", f"{path}/start")
    await fly.reach(path, "started")


@pytest.mark.gen_test
async def test_out_of_memory(fast):
    """A machine that runs out of memory says so."""
    fly = await fast(sshd_delay_s=60)
    path = await fly.started()
    await fly.emulator.oom(path[-14:])
    assert await exit_of(fly, path) == (False, True, 137, 137, -1)


@pytest.mark.gen_test
async def test_vanished(fast):
    """A machine that another client destroyed is gone, whatever it did."""
    fly = await fast()
    paths = [await fly.started(), await fly.create(skip_launch=True)]
    for path in paths:
        await fly.emulator.vanish(path[-14:])
        assert await fly.state(path) == "destroyed"
    await fly.emulator.vanish(paths[0][-14:])


@pytest.mark.gen_test
async def test_signals_end_the_machine(fast):
    """SIGKILL and SIGTERM, by name or number, end the main process; others are 501, and none reaches a stopped one."""
    fly = await fast()
    path = await fly.started()
    assert (await fly.api("POST", f"{path}/signal", {"signal": "SIGHUP"})).status == 501
    assert (await fly.api("POST", f"{path}/signal", {"signal": 9})).status == 200
    await fly.reach(path, "stopped")
    assert await exit_of(fly, path) == (False, False, 137, 137, 9)
    assert (await fly.api("POST", f"{path}/signal", {"signal": "SIGTERM"})).status == 412


@pytest.mark.gen_test
async def test_update_restarts_with_another_config(fast):
    """An update replaces the whole config under a new instance_id, and a started machine starts again."""
    fly = await fast(replace_delay_s=5)
    path = await fly.started(config={"image": "i", "env": {"A": "1"}, "metadata": {"a": "1"}})
    before = (await fly.api("GET", path)).body
    updated = (await fly.api("POST", path, {"config": {"image": "j"}})).body
    assert (updated["state"], updated["config"]["env"], "metadata" in updated["config"]) == ("replacing", {}, False)
    assert updated["instance_id"] != before["instance_id"]
    assert (updated["image_ref"]["repository"], updated["name"]) == ("library/j", before["name"])
    await fly.clock.advance(5)
    assert await fly.state(path) == "started"


@pytest.mark.parametrize("request_", [{}, {"skip_launch": True}])
@pytest.mark.gen_test
async def test_update_of_a_stopped_machine_leaves_it_stopped(fast, request_):
    """A machine that does not run is replaced for a while and then stopped; so is one not to be launched."""
    fly = await fast(replace_delay_s=5)
    path = await fly.started()
    if not request_:
        await fly.api("POST", f"{path}/stop")
        await fly.reach(path, "stopped")
    await fly.api("POST", path, {"config": {"image": "j"}, **request_})
    assert await fly.state(path) == "replacing"
    await fly.clock.advance(5)
    assert await fly.state(path) == "stopped"


@pytest.mark.gen_test
async def test_destroy_during_an_update(fast):
    """A machine that is being replaced is destroyed by force, running or not."""
    fly = await fast(replace_delay_s=5)
    paths = [await fly.started(), await fly.create(skip_launch=True)]
    await fly.reach(paths[1], "stopped")
    for path in paths:
        await fly.api("POST", path, {"config": {"image": "j"}})
        assert (await fly.api("DELETE", path)).status == 412
        assert (await fly.api("DELETE", f"{path}?force=true")).status == 200
        await fly.reach(path, "destroyed")


@pytest.mark.gen_test
async def test_emulator_ends_during_an_update(fast):
    """The machine is stopped, and has the new config."""
    fly = await fast(replace_delay_s=5)
    path = await fly.started()
    await fly.api("POST", path, {"config": {"image": "j"}})
    await fly.emulator.stop()
    machine = (await (await fast()).api("GET", path)).body
    assert (machine["state"], machine["config"]["image"]) == ("stopped", "j")


@pytest.mark.parametrize(("is_kept", "listed"), [(True, "file"), (False, "")])
@pytest.mark.gen_test
async def test_files_with_persist_restart(open_emulator, open_api, create, is_kept, listed):
    """Whether `persist: "restart"` survives a stop is not established, so it is an option."""
    emulator = await open_emulator(options=Options(persist_restart=is_kept))
    box = await create(open_api(emulator.url), rootfs={"persist": "restart"})
    await box.run("echo mine > file")
    await box.restart()
    assert (await box.run("ls")).strip() == listed


@pytest.mark.gen_test
async def test_ssh_later_than_started(open_emulator, open_api, create, virtual):
    """A started machine refuses SSH until its server listens."""
    options = Options(sshd_delay_s=5)
    emulator = await open_emulator(clock=virtual, sleep=virtual.sleep, options=options)
    box = await create(open_api(emulator.url))
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", box.port)
    await virtual.advance(5)
    assert await box.run("echo up") == "up\n"
