"""schemas: they are schemas, and each message that aether sends fits its own."""

import json

import pytest
from jsonschema import Draft202012Validator

from aether import messages, schemas

SESSION = "0f7b1c52-93d4-4ac8-9a5e-0d6b8f1c2e3a"
SENT = [
    messages.output("日本\x1b".encode()),
    messages.output(b"$ ", 1 << 40),
    messages.pong(7, 1 << 20),
    messages.error("no"),
    messages.error("The server restarts.", retry_s=1.0),
    messages.reconnected(),
    messages.session(SESSION, True, 0, 0),
    messages.lost(5),
    messages.replay(9, b"\x1b[?1049h"),
    messages.size(80, 24, 7),
    messages.taken(12),
    messages.foreground("vim grüße.txt", False, False, False, True),
    messages.exited(0, None),
    messages.exited(None, None),
    messages.exited(None, "HUP"),
]


@pytest.mark.parametrize("message", SENT)
def test_what_is_sent_fits_its_schema(message):
    """A client may check what it gets."""
    decoded = json.loads(message)
    Draft202012Validator(schemas.SERVER_SCHEMAS[decoded["type"]]).validate(decoded)


def test_each_message_that_is_sent_has_a_schema():
    """The list above is whole."""
    assert {json.loads(message)["type"] for message in SENT} == set(schemas.SERVER_SCHEMAS)


@pytest.mark.parametrize(
    "schema",
    [
        schemas.CREATE_MACHINE_SCHEMA,
        schemas.TERMINAL_QUERY_SCHEMA,
        *schemas.TERMINAL_SCHEMAS.values(),
        *schemas.SERVER_SCHEMAS.values(),
    ],
)
def test_a_schema_is_one(schema):
    """A misspelt keyword would let everything in."""
    Draft202012Validator.check_schema(schema)
    keywords = {"type", "additionalProperties", "required", "properties", "dependentRequired"}
    assert set(schema) <= keywords
