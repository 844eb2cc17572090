"""The OpenAPI description of the REST calls, made from the schemas that check them."""

from typing import Any

from aether.machines import MachineState
from aether.schemas import (
    COLS,
    CREATE_MACHINE_SCHEMA,
    ROWS,
    SERVER_SCHEMAS,
    TERMINAL_QUERY_SCHEMA,
    TERMINAL_SCHEMAS,
    UUID,
)

_TIME = {"type": "string", "format": "date-time"}
_MACHINE = {
    "type": "object",
    "required": ["id", "name", "state", "region", "image", "guest", "created_at", "last_activity_at"],
    "properties": {
        "id": {"type": "string", "format": "uuid"},
        "name": {"type": "string"},
        "state": {"enum": [state.value for state in MachineState]},
        "region": {"type": "string"},
        "image": {"type": "string"},
        "guest": {
            "type": "object",
            "properties": {
                "cpu_kind": {"type": "string"},
                "cpus": {"type": "integer"},
                "memory_mb": {"type": "integer"},
            },
        },
        "created_at": _TIME,
        "last_activity_at": _TIME,
        "idle_stop_at": {**_TIME, "type": ["string", "null"]},
        "fly_machine_id": {"type": "string"},
        "error": {
            "type": ["object", "null"],
            "properties": {"code": {"type": "string"}, "message": {"type": "string"}},
        },
        "sessions": {
            "type": "object",
            "description": "whether its shells outlive a connection, null until a terminal was opened, and why not",
            "properties": {"kept": {"type": ["boolean", "null"]}, "reason": {"type": ["string", "null"]}},
        },
    },
}
_SESSION_FIELDS = {
    "id": UUID,
    "command": {"type": "string", "description": "what runs in front"},
    "is_shell": {"type": "boolean", "description": "whether that is the shell itself"},
    "cols": COLS,
    "rows": ROWS,
    "created_at": _TIME,
    "last_used_at": _TIME,
    "is_attached": {"type": "boolean", "description": "whether a client has it open"},
}
_SESSION = {"type": "object", "required": [*_SESSION_FIELDS], "properties": _SESSION_FIELDS}
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {
                "code": {"type": "string"},
                "message": {"type": "string"},
                "path": {"type": "string"},
            },
        }
    },
}
_MACHINES = {
    "type": "object",
    "properties": {"machines": {"type": "array", "items": {"$ref": "#/components/schemas/Machine"}}},
}
_SESSIONS = {
    "type": "object",
    "required": ["sessions"],
    "properties": {"sessions": {"type": "array", "items": {"$ref": "#/components/schemas/Session"}}},
}
_SESSION_ID = {"name": "session", "in": "path", "required": True, "schema": UUID}
_ID = {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "format": "uuid"}}

_MESSAGES = "Text messages: you send `MessageToTerminal`, and get `MessageFromTerminal`, as JSON."


def document(version: str) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of all REST calls."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "aether", "version": version, "license": {"name": "MIT"}},
        "paths": _paths(),
        "components": {
            "schemas": {
                "Machine": _MACHINE,
                "CreateMachine": CREATE_MACHINE_SCHEMA,
                "Session": _SESSION,
                "MessageToTerminal": {"oneOf": [*TERMINAL_SCHEMAS.values()]},
                "MessageFromTerminal": {"oneOf": [*SERVER_SCHEMAS.values()]},
                "Error": _ERROR,
            },
        },
    }


def _paths() -> dict[str, Any]:
    machine = {"$ref": "#/components/schemas/Machine"}
    create = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/CreateMachine"}}}}
    return {
        "/machines": {
            "get": _call("List all machines", 200, _MACHINES),
            "post": {**_call("Create a machine", 201, machine, 400, 429, 502, 504), "requestBody": create},
        },
        "/machines/{id}": {
            "parameters": [_ID],
            "get": _call("Read a machine", 200, machine, 404),
            "delete": _call("Destroy a machine", 204, None, 404, 502, 504),
        },
        "/machines/{id}/start": {"parameters": [_ID], "post": _call("Start a machine", 202, machine, 404)},
        "/machines/{id}/stop": {"parameters": [_ID], "post": _call("Stop a machine", 202, machine, 404)},
        "/machines/{id}/sessions": {
            "parameters": [_ID],
            "get": _call("List the running sessions of a machine", 200, _SESSIONS, 404, 502, 504),
        },
        "/machines/{id}/sessions/{session}": {
            "parameters": [_ID, _SESSION_ID],
            "delete": _call("Hang up a session", 204, None, 404, 409, 502, 504),
        },
        "/machines/{id}/terminal": {
            "parameters": [_ID, *(_query(*each) for each in TERMINAL_QUERY_SCHEMA["properties"].items())],
            "get": {**_call("Open a terminal: upgrades to a WebSocket", 101, None, 400), "description": _MESSAGES},
        },
        "/healthz": {"get": _call("Whether the server is running", 200, {"type": "object"})},
        "/readyz": {"get": _call("Whether it serves machines", 200, {"type": "object"}, 503)},
        "/metrics": {"get": _call("Prometheus metrics", 200, None)},
        "/openapi.json": {"get": _call("This document", 200, {"type": "object"})},
    }


def _call(summary: str, status: int, schema: dict[str, Any] | None, *errors: int) -> dict[str, Any]:
    success: dict[str, Any] = {"description": summary}
    if schema is not None:
        success["content"] = {"application/json": {"schema": schema}}
    refused = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}}
    answers: dict[str, Any] = {str(status): success}
    for code in (*errors, 403):
        answers[str(code)] = {"description": "see error.message", **refused}
    return {"summary": summary, "responses": answers}


def _query(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": schema}
