"""JSON Schemas of all that comes in, and of the messages that go out over a terminal's WebSocket."""

from typing import Any

MAX_INPUT_CHARS = 1 << 20
MAX_OFFSET = (1 << 53) - 1
"""Offsets count bytes; larger ones are no integers in JavaScript."""
CPUS = [1, 2, 4, 8, 16]
COLS = {"type": "integer", "minimum": 2, "maximum": 500}
ROWS = {"type": "integer", "minimum": 1, "maximum": 300}
OFFSET = {"type": "integer", "minimum": 0, "maximum": MAX_OFFSET}
UUID = {
    "type": "string",
    "pattern": "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$(?!\\n)",
    "description": "a UUID in lower-case hexadecimal digits",
}
_COUNT = {"type": "integer", "minimum": 0, "maximum": 1 << 31}
_TEXT = {"type": "string"}
_FLAG = {"type": "boolean"}

CREATE_MACHINE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "name": {
            "type": "string",
            "pattern": "^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$(?!\\n)",
            "description": "lower-case letters, digits and hyphens, at most 40, no hyphen at either end",
        },
        "region": {
            "type": "string",
            "description": "a Fly region such as iad, or several in order of preference: iad,dfw",
            "pattern": "^[a-z]{2,10}(,[a-z]{2,10})*$(?!\\n)",
        },
        "cpu_kind": {"enum": ["shared", "performance"]},
        "cpus": {"enum": CPUS},
        "memory_mb": {"type": "integer", "minimum": 256, "maximum": 131072, "multipleOf": 256},
    },
}
_HOST_TIME = {"type": "number", "minimum": 0, "maximum": 1e11}
_HOST_SESSION: dict[str, Any] = {
    "id": UUID,
    "command": {"type": "string", "maxLength": 200},
    "is_shell": _FLAG,
    "cols": COLS,
    "rows": ROWS,
    "created_at": _HOST_TIME,
    "last_used_at": _HOST_TIME,
    "is_attached": _FLAG,
}
HOST_SESSIONS_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["sessions"],
    "properties": {
        "sessions": {"type": "array", "items": {"required": [*_HOST_SESSION], "properties": _HOST_SESSION}},
    },
}
"""What a machine's PTY host says of its sessions; the machine is its user's, and so is what it says."""
TERMINAL_QUERY_SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "cols": COLS,
        "rows": ROWS,
        "reconnect": {"enum": [0, 1]},
        "session": UUID,
        "offset": OFFSET,
        "client": UUID,
    },
    "dependentRequired": {"offset": ["session"], "client": ["session"]},
}


def _message(kind: str, required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["type", *required],
        "properties": {"type": {"const": kind}, **required, **(optional or {})},
    }


TERMINAL_SCHEMAS = {
    "input": _message("input", {"data": {**_TEXT, "maxLength": MAX_INPUT_CHARS}}, {"offset": OFFSET}),
    "resize": _message("resize", {"cols": COLS, "rows": ROWS}),
    "ack": _message("ack", {"bytes": _COUNT}),
    "ping": _message("ping", {"number": _COUNT}),
}
"""What a client may send over a terminal's WebSocket, by its `type`."""

SERVER_SCHEMAS = {
    "output": _message("output", {"data": _TEXT}, {"offset": OFFSET}),
    "pong": _message("pong", {"number": _COUNT, "waiting": {"type": "integer", "minimum": 0}}),
    "error": _message("error", {"message": _TEXT}, {"retry_s": {"type": "number", "minimum": 0}}),
    "reconnected": _message("reconnected", {"message": _TEXT}),
    "session": _message("session", {"id": UUID, "is_new": _FLAG, "offset": OFFSET, "taken": OFFSET}),
    "lost": _message("lost", {"bytes": OFFSET}),
    "replay": _message("replay", {"until": OFFSET, "modes": _TEXT}),
    "size": _message("size", {"cols": COLS, "rows": ROWS, "offset": OFFSET}),
    "taken": _message("taken", {"offset": OFFSET}),
    "foreground": _message(
        "foreground", {"command": _TEXT, "is_shell": _FLAG, "echo": _FLAG, "canonical": _FLAG, "ixon": _FLAG}
    ),
    "exit": _message("exit", {}, {"status": {"type": ["integer", "null"]}, "signal": _TEXT}),
}
"""What a client gets over a terminal's WebSocket, by its `type`; from `session` on only if it opened with a session."""
