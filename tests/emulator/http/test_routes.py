"""routes: what is served, what only Fly has (501), and what does not exist (404)."""

import logging
import time

import pytest

from aether.emulator.http.base import BaseHandler
from aether.emulator.http.limits import RateLimits
from aether.emulator.http.routes import application

ONE = "/apps/app/machines/0123456789abcd"

LACKING = [
    ("POST", f"{ONE}/suspend"),
    ("POST", f"{ONE}/restart"),
    ("POST", f"{ONE}/uncordon"),
    ("GET", f"{ONE}/versions"),
    ("GET", f"{ONE}/ps"),
    ("POST", f"{ONE}/memory/reclaim"),
    ("GET", "/apps"),
    ("DELETE", "/apps/app"),
    ("GET", "/apps/app/volumes/vol_1/snapshots"),
    ("GET", "/apps/app/secrets"),
    ("POST", "/apps/app/ip_assignments"),
    ("GET", "/platform/regions"),
    ("GET", "/orgs/personal/machines"),
    ("POST", "/tokens/kms"),
]
NOWHERE = [
    "",
    "/",
    "/nowhere",
    "/apps/app/machines/",
    "/apps/app/nonsense",
    f"{ONE}/",
    f"{ONE}/nonsense",
    f"{ONE}/suspended",
    f"{ONE}/start/again",
    f"{ONE}/metadata/a/b",
    f"/x{ONE}",
    f"/v1{ONE}",
]
FOUND = [
    ("GET", ONE),
    ("DELETE", ONE),
    ("POST", f"{ONE}/start"),
    ("POST", f"{ONE}/stop"),
    ("GET", f"{ONE}/wait"),
    ("GET", f"{ONE}/events"),
    ("GET", f"{ONE}/lease"),
    ("DELETE", f"{ONE}/lease"),
    ("POST", f"{ONE}/exec"),
    ("GET", f"{ONE}/metadata"),
    ("GET", f"{ONE}/metadata/key"),
    ("DELETE", f"{ONE}/metadata/key"),
]


@pytest.mark.gen_test
async def test_what_fly_has_and_we_lack_is_named(api):
    """A call of Fly's that the emulator lacks is 501 with its path, never a polite success."""
    for method, path in LACKING:
        answer = await api(method, path)
        text = f"unimplemented: the emulator does not implement /v1{path}"
        assert (answer.status, answer.body) == (501, {"error": text})


@pytest.mark.gen_test
async def test_what_does_not_exist_is_404(api):
    """A path that is not Fly's is not found, however near it comes."""
    for path in NOWHERE:
        answer = await api("POST", path, {})
        assert (answer.status, answer.body) == (404, {"error": "not_found: no such path"}), path


@pytest.mark.gen_test
async def test_what_we_have_asks_for_the_machine(api):
    """Each path of a machine leads to a handler, which here finds no such machine."""
    for method, path in FOUND:
        answer = await api(method, path)
        assert (answer.status, answer.body) == (404, {"error": "not_found: machine not found"}), path


@pytest.mark.parametrize(
    ("method", "path"),
    [("PUT", "/apps/app/machines"), ("PUT", ONE), ("GET", f"{ONE}/start"), ("DELETE", f"{ONE}/metadata")],
)
@pytest.mark.gen_test
async def test_another_method_on_our_paths_is_501(api, method, path):
    """A method Fly has on a path of ours and we lack is no 405, which would say that Fly lacks it."""
    answer = await api(method, path, {} if method != "GET" else None)
    text = f"unimplemented: the emulator does not implement {method} here"
    assert (answer.status, answer.body) == (501, {"error": text})


@pytest.mark.gen_test
async def test_nothing_is_answered_without_the_token(emulator, open_api):
    """Who does not know the token does not even learn which paths there are."""
    stranger = open_api(emulator.url, "wrong")
    for method, path in [*LACKING, *FOUND, *(("GET", path) for path in NOWHERE)]:
        assert (await stranger(method, path)).status == 401, path


def test_every_handler_authenticates(emulator):
    """Each route, and the one for all other paths, is of the class that refuses clients without the token."""
    routes = application(emulator.machines, RateLimits(time.time), "T")
    handlers = [rule.target for rule in routes.wildcard_router.rules] + [routes.settings["default_handler_class"]]
    assert len(handlers) > len(FOUND)
    assert all(issubclass(handler, BaseHandler) for handler in handlers)


@pytest.mark.gen_test
async def test_requests_are_not_logged(api, caplog):
    """The log has the machines' life cycle; a client that polls does not drown it."""
    caplog.set_level(logging.DEBUG, "tornado.access")
    await api("GET", "/apps/app/machines")
    await api("GET", "/nowhere")
    assert [record for record in caplog.records if record.name == "tornado.access"] == []


@pytest.mark.gen_test
async def test_what_fly_has_and_we_lack_is_501(api):
    """An unimplemented call is never a success; a path that does not exist is 404."""
    machine = (await api("POST", "/apps/app/machines", {"config": {"image": "i"}, "skip_launch": True})).body["id"]
    path = f"/apps/app/machines/{machine}"
    for lacking in ("suspend", "restart", "cordon"):
        answer = await api("POST", f"{path}/{lacking}", {})
        assert answer.status == 501
        assert answer.body["error"].startswith("unimplemented: the emulator does not")
    assert (await api("POST", "/apps", {})).status == 501
    assert (await api("GET", f"{path}/nonsense")).status == 404
