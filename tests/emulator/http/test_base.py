"""base: what every handler shares, beside what test_handlers, test_faults and test_limits ask."""

import time

from aether.emulator.faults import ACTIONS
from aether.emulator.http.base import no_capacity
from aether.emulator.http.limits import RateLimits
from aether.emulator.http.routes import application


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
