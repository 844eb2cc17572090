"""fast: many machines without a process."""

import asyncio
import os

import psutil
import pytest


@pytest.mark.gen_test
async def test_a_life_without_a_process(fast):
    """A machine goes through the same states, with the same events, and nothing runs."""
    fly = await fast()
    path = await fly.started()
    before = psutil.Process(os.getpid()).children()
    await fly.api("POST", f"{path}/stop")
    await fly.reach(path, "stopped")
    statuses = [event["status"] for event in (await fly.api("GET", path)).body["events"]]
    assert statuses == ["stopped", "stopping", "started", "starting", "created"]
    assert before == psutil.Process(os.getpid()).children()


@pytest.mark.gen_test
async def test_port_is_a_number_only(fast, config):
    """An SSH port belongs to one living machine, and nothing has it open."""
    fly = await fast()
    request = config()
    port = request["services"][0]["ports"][0]["port"]
    path = await fly.started(config=request)
    refused = await fly.api("POST", "/apps/app/machines", {"config": request})
    assert refused.body == {"error": f"aborted: external port {port} is already in use on this computer"}
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    await fly.api("DELETE", f"{path}?force=true")
    await fly.reach(path, "destroyed")
    await fly.started(config=request)


@pytest.mark.gen_test
async def test_machines_are_found_again(fast):
    """Another emulator on the same state directory has the machines, stopped."""
    first = await fast()
    path = await first.started(name="box")
    await first.emulator.stop()
    second = await fast()
    assert await second.state(path) == "stopped"
    await second.api("POST", f"{path}/start")
    await second.reach(path, "started")


@pytest.mark.gen_test
async def test_commands_are_501(fast):
    """There is nothing a command could run in."""
    fly = await fast()
    answer = await fly.api("POST", f"{await fly.started()}/exec", {"command": ["true"]})
    assert answer.status == 501


@pytest.mark.gen_test
async def test_a_thousand_machines(fast):
    """A thousand machines are created, listed and stopped; takes seconds."""
    fly = await fast()
    machines = [fly.emulator.machines.create("app", {"config": {"image": "i"}, "name": f"m{n}"}) for n in range(1000)]
    await asyncio.gather(*(machine.store.wait(["started"], 60) for machine in machines))
    assert {machine.state for machine in machines} == {"started"}
    assert len(await fly.listed("?state=started")) == 1000
    for machine in machines:
        machine.stop(None)
    await asyncio.gather(*(machine.store.wait(["stopped"], 60) for machine in machines))
    assert {machine.state for machine in machines} == {"stopped"}
