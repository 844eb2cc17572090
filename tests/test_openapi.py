"""openapi: the description is valid, complete, and true."""

import json
import re

import pytest
from openapi_spec_validator import validate

from aether import openapi


def test_the_document_is_valid_openapi():
    """Generators can use it."""
    validate(openapi.document("1.2.3"))


@pytest.mark.gen_test
async def test_the_document_describes_every_route_that_is_not_the_page_s(aether, call):
    """A route that is not described is a failing test."""
    served = {pattern.replace("([^/]+)", "{id}") for pattern, *_ in aether.routes()}
    served = {path for path in served if not re.fullmatch(r"/|/terminal\.html|/(page|xterm)/.*", path)}
    described = json.loads((await call("GET", "/openapi.json")).body)
    assert set(described["paths"]) == served


@pytest.mark.gen_test
async def test_a_machine_fits_its_own_description(machine):
    """The schema and the JSON have the same keys."""
    schema = openapi.document("1")["components"]["schemas"]["Machine"]
    assert set(await machine()) == set(schema["properties"])
