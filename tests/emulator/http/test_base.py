"""base: who is answered, how errors look, and which action each method is."""

import re
import time

import pytest

from aether.emulator.faults import ACTIONS
from aether.emulator.http.base import no_capacity
from aether.emulator.http.limits import RateLimits
from aether.emulator.http.routes import application

MACHINES = "/apps/app/machines"


def test_every_action_has_a_route(emulator):
    """Limits and faults know each action by the name the routes give it, and no other."""
    rules = application(emulator.machines, RateLimits(time.time), "T").wildcard_router.rules
    assert {action for rule in rules for action in rule.target.actions.values()} == ACTIONS


def test_every_action_has_a_method(emulator):
    """A handler names actions for just the methods it has."""
    for rule in application(emulator.machines, RateLimits(time.time), "T").wildcard_router.rules:
        own = {name.upper() for name in vars(rule.target)} & {"GET", "POST", "PUT", "PATCH", "DELETE"}
        assert own == set(rule.target.actions)


def test_full_host_and_full_region_differ():
    """A start is refused by the host, a create by the region, which says so in `status` as well."""
    assert no_capacity("start").status == 409
    assert no_capacity("create").body["status"] == "insufficient_capacity"


@pytest.mark.parametrize("value", ["bearer T", "BEARER T", "Bearer  T ", "flyv1 T"])
@pytest.mark.gen_test
async def test_scheme_is_not_case_sensitive(emulator, open_api, value):
    """A scheme counts however it is spelled (RFC 9110 section 11.1)."""
    assert (await open_api(emulator.url, None)("GET", MACHINES, Authorization=value)).status == 200


@pytest.mark.parametrize("value", ["T", "Basic T", "Bearer", "Bearer T T", "Bearer t", "BearerT", "Bearer \xdc"])
@pytest.mark.gen_test
async def test_nothing_but_the_token_counts(emulator, open_api, value):
    """The token without a scheme, with another, or almost the token, is refused."""
    assert (await open_api(emulator.url, None)("GET", MACHINES, Authorization=value)).status == 401


@pytest.mark.parametrize(("host", "status"), [("LOCALHOST:1", 200), ("[::1]:80", 200), ("localhost.", 403), ("", 403)])
@pytest.mark.gen_test
async def test_host_must_be_a_name_of_loopback(api, host, status):
    """The port does not matter and the name does."""
    assert (await api("GET", MACHINES, Host=host)).status == status


@pytest.mark.gen_test
async def test_foreign_host_is_told_before_the_token_is_looked_at(emulator, open_api):
    """A page that rebinds a name learns nothing of tokens."""
    answer = await open_api(emulator.url, "wrong")("GET", MACHINES, Host="evil.example")
    text = "unauthorized: the emulator answers on 127.0.0.1 and localhost only"
    assert (answer.status, answer.body) == (403, {"error": text})


@pytest.mark.logs_warnings
@pytest.mark.gen_test
async def test_tornados_own_errors_look_like_flys(api):
    """An error the framework finds has the same shape and headers as ours."""
    answer = await api("GET", f"{MACHINES}?include_deleted=%ff")
    assert (answer.status, answer.body) == (400, {"error": "Bad Request"})
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"


@pytest.mark.gen_test
async def test_request_id_on_every_answer(api):
    """Every answer carries `fly-request-id`, a ULID and a region, errors included."""
    for path in (MACHINES, "/nowhere", f"{MACHINES}/12345"):
        answer = await api("GET", path)
        assert re.fullmatch(r"[0-9A-Z]{26}-[a-z]{3}", answer.headers["fly-request-id"])


@pytest.mark.parametrize("token", [None, "wrong", ""])
@pytest.mark.gen_test
async def test_wrong_token_is_401(emulator, open_api, token):
    """Without the token nothing is answered, not even that a path does not exist."""
    for path in (MACHINES, "/nowhere", "/platform/regions"):
        answer = await open_api(emulator.url, token)("GET", path)
        assert answer.status == 401
        assert answer.body == {"error": "Authenticate: token validation error"}


@pytest.mark.gen_test
async def test_macaroon_scheme_is_accepted(emulator, open_api):
    """`Authorization: FlyV1 T` is as good as `Bearer T`."""
    answer = await open_api(emulator.url, None)("GET", MACHINES, Authorization="FlyV1 T")
    assert (answer.status, answer.body) == (200, [])


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "10.0.0.1:80"])
@pytest.mark.gen_test
async def test_foreign_host_is_403(api, host):
    """A page of another site that resolves to loopback (DNS rebinding) is refused."""
    assert (await api("GET", MACHINES, Host=host)).status == 403
