"""metadata: the map as a whole; and key by key."""

import pytest


@pytest.fixture
def metadata(fast):
    """`await metadata(a="1")` → a caller of a new machine's metadata, and the emulator."""

    async def create(**values):
        fly = await fast()
        path = await fly.create(config={"image": "i", "metadata": values})

        async def call(method, body=None):
            answer = await fly.api(method, f"{path}/metadata", body)
            return (answer.status, answer.body)

        return call, (await fly.api("GET", path)).body["instance_id"]

    return create


@pytest.mark.gen_test
async def test_patch_sets_and_removes(metadata):
    """A patch leaves other keys; null and the empty string remove one."""
    call, _ = await metadata(a="1", b="2", c="3")
    assert await call("PATCH", {"metadata": {"a": None, "b": "", "d": "4"}}) == (204, None)
    assert await call("GET") == (200, {"c": "3", "d": "4"})


@pytest.mark.gen_test
async def test_put_replaces_everything(metadata):
    """A put leaves nothing of what was."""
    call, _ = await metadata(a="1")
    assert await call("PUT", {"metadata": {"b": "2"}}) == (204, None)
    assert await call("GET") == (200, {"b": "2"})


@pytest.mark.gen_test
async def test_put_of_another_version_is_412(metadata):
    """Who names the version they saw does not overwrite a later one."""
    call, version = await metadata(a="1")
    assert (await call("PUT", {"metadata": {}, "machine_version": "01HQ73A7BFFDF1B6WMGHFZZ4E7"}))[0] == 412
    assert await call("GET") == (200, {"a": "1"})
    assert (await call("PUT", {"metadata": {}, "machine_version": version}))[0] == 204


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
@pytest.mark.parametrize("body", [{}, {"metadata": {"a": 1}}, {"metadata": []}])
@pytest.mark.gen_test
async def test_values_are_text(metadata, method, body):
    """What is no map of strings is refused and changes nothing."""
    call, _ = await metadata(a="1")
    assert (await call(method, body))[0] == 400
    assert await call("GET") == (200, {"a": "1"})


@pytest.mark.gen_test
async def test_metadata(api):
    """Metadata is read as a map or by key, and set and removed with 204."""
    machine = (await api("POST", "/apps/app/machines", {"config": {"image": "i"}, "skip_launch": True})).body["id"]
    path = f"/apps/app/machines/{machine}/metadata"
    answer = await api("POST", f"{path}/a", {"value": "1"})
    assert (answer.status, answer.body) == (204, None)
    assert (await api("GET", path)).body == {"a": "1"}
    assert (await api("GET", f"{path}/a")).body == {"value": "1"}
    assert (await api("DELETE", f"{path}/a")).status == 204
    assert (await api("GET", f"{path}/a")).status == 404
