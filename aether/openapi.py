"""The OpenAPI description of the REST calls, made from the schemas that check them."""

from typing import Any

from aether.machines import MachineState
from aether.schemas import COLS, CREATE_MACHINE_SCHEMA, ROWS

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
    },
}
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
_ID = {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "format": "uuid"}}


def document(version: str) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of all REST calls."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "aether", "version": version, "license": {"name": "MIT"}},
        "paths": _paths(),
        "components": {
            "schemas": {"Machine": _MACHINE, "CreateMachine": CREATE_MACHINE_SCHEMA, "Error": _ERROR},
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
        "/machines/{id}/terminal": {
            "parameters": [
                _ID,
                _query("cols", COLS),
                _query("rows", ROWS),
                _query("reconnect", {"enum": [0, 1]}),
            ],
            "get": _call("Open a terminal: upgrades to a WebSocket", 101, None, 400),
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
