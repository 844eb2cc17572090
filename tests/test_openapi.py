"""openapi: the description is valid, complete, and true."""

import json
import re

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from aether import openapi, schemas
from aether.terminals.session_info import SessionInfo


def test_the_document_is_valid_openapi():
    """Generators can use it."""
    validate(openapi.document("1.2.3"))


@pytest.mark.gen_test
async def test_the_document_describes_every_route_that_is_not_the_page_s(aether, call):
    """A route that is not described is a failing test."""
    patterns = {pattern.replace("/sessions/([^/]+)", "/sessions/{session}") for pattern, *_ in aether.routes()}
    served = {pattern.replace("([^/]+)", "{id}") for pattern in patterns}
    served = {path for path in served if not re.fullmatch(r"/|/terminal\.html|/(page|xterm)/.*", path)}
    described = json.loads((await call("GET", "/openapi.json")).body)
    assert set(described["paths"]) == served


@pytest.mark.gen_test
async def test_a_machine_fits_its_own_description(machine):
    """The schema and the JSON have the same keys."""
    schema = openapi.document("1")["components"]["schemas"]["Machine"]
    assert set(await machine()) == set(schema["properties"])


def test_a_session_fits_its_own_description():
    """The schema and the JSON have the same keys."""
    schema = openapi.document("1")["components"]["schemas"]["Session"]
    info = SessionInfo("0f7b1c52-93d4-4ac8-9a5e-0d6b8f1c2e3a", "bash", True, 80, 24, 1e9, 1e9, True)
    assert set(info.to_json()) == set(schema["properties"])
    Draft202012Validator(schema).validate(info.to_json())


def test_the_terminal_s_query_and_messages_are_described():
    """Each one that the code knows."""
    document = openapi.document("1")
    terminal = document["paths"]["/machines/{id}/terminal"]
    named = {parameter["name"] for parameter in terminal["parameters"] if parameter["in"] == "query"}
    assert named == set(schemas.TERMINAL_QUERY_SCHEMA["properties"])
    described = [
        document["components"]["schemas"][name]["oneOf"] for name in ("MessageToTerminal", "MessageFromTerminal")
    ]
    assert described == [[*schemas.TERMINAL_SCHEMAS.values()], [*schemas.SERVER_SCHEMAS.values()]]
    assert all(name in terminal["get"]["description"] for name in ("MessageToTerminal", "MessageFromTerminal"))
