"""registry: which names, ports and ids are taken, and which machines an app has."""

import socket

import pytest

MACHINES = "/apps/app/machines"


@pytest.mark.gen_test
async def test_port_in_use_is_409(api, config):
    """A machine whose external port is taken on this computer is not created."""
    request = {"config": config()}
    port = request["config"]["services"][0]["ports"][0]["port"]
    text = f"aborted: external port {port} is already in use on this computer"
    with socket.create_server(("127.0.0.1", port)):
        answer = await api("POST", MACHINES, request)
    assert (answer.status, answer.body) == (409, {"error": text})
    assert (await api("GET", MACHINES)).body == []


@pytest.mark.gen_test
async def test_port_of_a_stopped_machine_is_409(api, create, config):
    """An external port belongs to its machine while that lives, running or not."""
    box = await create(api)
    await box.stop()
    answer = await api("POST", "/apps/other/machines", {"config": config(services=box.record["config"]["services"])})
    assert answer.status == 409


@pytest.mark.gen_test
async def test_name_violation_is_409(api):
    """A name is unique among the living machines of an app, and free again after a destroy."""
    request = {"name": "x", "config": {"image": "i"}, "skip_launch": True}
    first = (await api("POST", MACHINES, request)).body["id"]
    answer = await api("POST", MACHINES, request)
    text = f'unique machine name violation, machine ID {first} already exists with name "x"'
    assert (answer.status, answer.body) == (409, {"error": f"already_exists: {text}"})
    assert (await api("POST", "/apps/other/machines", request)).status == 200
    await api("DELETE", f"{MACHINES}/{first}?force=true")
    await api("GET", f"{MACHINES}/{first}/wait?state=destroyed")
    assert (await api("POST", MACHINES, request)).status == 200


@pytest.mark.gen_test
async def test_malformed_and_unknown_id_differ(api):
    """An id that cannot be one is 400, one that does not exist is 404; apps do not see each other's machines."""
    answer = await api("GET", f"{MACHINES}/12345")
    assert (answer.status, answer.body) == (400, {"error": "invalid machine ID, '12345'"})
    answer = await api("GET", f"{MACHINES}/{'0' * 14}")
    assert (answer.status, answer.body) == (404, {"error": "not_found: machine not found"})
    mine = (await api("POST", MACHINES, {"config": {"image": "i"}, "skip_launch": True})).body["id"]
    assert (await api("GET", f"/apps/other/machines/{mine}")).status == 404


@pytest.mark.gen_test
async def test_of_many_destroyed_machines_only_the_last_are_kept(fast):
    """An emulator that runs for weeks does not grow with each machine that was ever created."""
    fly = await fast()
    for _ in range(320):
        machine = fly.emulator.machines.create("app", {"config": {"image": "i"}, "skip_launch": True})
        await fly.emulator.vanish(machine.id)
    assert 200 <= len(fly.emulator.machines.of_app("app", include_deleted=True)) < 320
    assert fly.emulator.machines.find("app", machine.id).state == "destroyed"
