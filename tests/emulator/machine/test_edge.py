"""edge: which machine answers at an external port."""

import asyncssh
import pytest

from aether.emulator.errors import ApiError
from aether.emulator.options import Options


def service(port, autostart=False):
    return {"protocol": "tcp", "internal_port": 2222, "ports": [{"port": port}], "autostart": autostart}


def connect(box):
    """Connect once, without waiting until a server listens."""
    options = {"username": "coder", "client_keys": [box.key], "known_hosts": None, "config": None, "agent_path": None}
    return asyncssh.connect("127.0.0.1", box.port, **options)


@pytest.mark.gen_test
async def test_a_port_of_its_own_leads_to_its_machine(api, create):
    """Two machines, two ports."""
    boxes = [await create(api), await create(api)]
    for box in boxes:
        assert await box.run("echo -n $FLY_MACHINE_ID") == box.id


@pytest.mark.gen_test
async def test_connections_to_a_shared_port_are_spread_over_the_machines_that_run(open_emulator, open_api, create):
    """As on Fly: on a shared port a connection reaches any of the machines."""
    emulator = await open_emulator(options=Options(shared_ports=True))
    one = await create(open_api(emulator.url))
    other = await create(one.api, services=[service(one.port)])
    await one.listening()
    seen = set()
    while seen != {one.id, other.id}:
        seen.add(await one.run("echo -n $FLY_MACHINE_ID"))
    await other.stop()
    assert {await one.run("echo -n $FLY_MACHINE_ID") for _ in range(8)} == {one.id}


@pytest.mark.gen_test
async def test_without_that_option_a_second_machine_on_a_port_is_refused(api, create, config):
    """Otherwise SSH could reach another machine than the one the user means."""
    box = await create(api)
    answer = await api("POST", "/apps/app/machines", {"config": config(services=[service(box.port)])})
    assert answer.status == 409
    assert f"port {box.port} is already in use" in answer.body["error"]


@pytest.mark.gen_test
async def test_a_stopped_machine_does_not_answer(box):
    """autostart is false: a connection must not start a stopped machine."""
    await box.stop()
    with pytest.raises(ConnectionRefusedError):
        async with connect(box):
            pass
    assert (await box.read())["state"] == "stopped"


@pytest.mark.gen_test
async def test_with_autostart_a_connection_starts_a_stopped_machine_which_answers_it(api, create, config):
    """Fly's proxy does that, so any port scan starts machines and costs money; also after a restart of the emulator."""
    services = config()["services"]
    box = await create(api, services=[{**services[0], "autostart": True}])
    for _ in range(2):
        await box.stop()
        async with connect(box) as connection:
            assert (await connection.run("echo -n $FLY_MACHINE_ID")).stdout == box.id
        assert (await box.read())["state"] == "started"


@pytest.mark.gen_test
async def test_a_machine_that_is_destroyed_or_updated_waits_for_no_connection(open_emulator, open_api, create, config):
    """Its port is free for another."""
    emulator = await open_emulator()
    services = config()["services"]
    box = await create(open_api(emulator.url), services=[{**services[0], "autostart": True}])
    await box.stop()
    await box.api("POST", box.path, {"config": {**config(), "services": services}})
    await box.wait("stopped")
    with pytest.raises(ConnectionRefusedError):
        await connect(box)
    await box.api("POST", box.path, {"config": {**config(), "services": [{**services[0], "autostart": True}]}})
    await box.wait("stopped")
    await box.api("DELETE", box.path)
    await box.wait("destroyed")
    with pytest.raises(ConnectionRefusedError):
        await connect(box)


@pytest.mark.gen_test
async def test_after_a_restart_of_the_emulator_a_connection_still_starts_a_machine(
    open_emulator, open_api, create, config
):
    """A stopped machine is kept with its service."""
    emulator = await open_emulator()
    services = config()["services"]
    box = await create(open_api(emulator.url), services=[{**services[0], "autostart": True}])
    await emulator.stop()
    again = await open_emulator()
    box.api = open_api(again.url)
    assert (await box.read())["state"] == "stopped"
    async with connect(box) as connection:
        assert (await connection.run("echo -n $FLY_MACHINE_ID")).stdout == box.id


@pytest.mark.gen_test
async def test_a_private_address_is_kept_until_the_machine_migrates(fast):
    """It can change between a stop and a start, and at no other time."""
    fly = await fast()
    path = await fly.started()

    async def address():
        return (await fly.api("GET", path)).body["private_ip"]

    first = await address()
    with pytest.raises(ApiError, match="unable to migrate"):
        fly.emulator.migrate(path[-14:])
    await fly.api("POST", f"{path}/stop")
    await fly.reach(path, "stopped")
    assert await address() == first
    fly.emulator.migrate(path[-14:])
    await fly.api("POST", f"{path}/start")
    await fly.reach(path, "started")
    assert await address() != first
