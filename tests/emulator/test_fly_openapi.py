"""fly_openapi: the description is valid and fits what the emulator serves; the contract suite holds answers to it."""

import re
import time

from openapi_spec_validator import validate

from aether.emulator.http.limits import RateLimits
from aether.emulator.http.routes import application
from tests import fly_openapi


def test_the_description_is_valid():
    """Generators can use it."""
    validate(fly_openapi.document())


def test_every_call_is_served(emulator):
    """The emulator has each described path and method."""
    rules = application(emulator.machines, RateLimits(time.time), "T").wildcard_router.rules
    for path, item in fly_openapi.document()["paths"].items():
        concrete = re.sub(r"\{\w+\}", "x", path)
        rule = next(rule for rule in rules if rule.matcher.regex.fullmatch(concrete))
        assert {method.upper() for method in item if method != "parameters"} <= set(rule.target.actions)
