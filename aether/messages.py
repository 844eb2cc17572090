"""JSON Schemas with compiled validators: all untrusted input is decoded here, and messages out are encoded.

Validators are compiled once and chosen by the message's `type`. A terminal message is checked for each key that is
typed, so by `fastjsonschema`, which makes a Python function of a schema (1 µs, where jsonschema takes 30); jsonschema
explains what is wrong.
"""

import json
from dataclasses import dataclass
from typing import Any, NamedTuple

import fastjsonschema
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from aether.errors import InvalidMessage
from aether.machines import MachineSize, MachineSpec

MAX_INPUT_CHARS = 1 << 20
CPUS = [1, 2, 4, 8, 16]
COLS = {"type": "integer", "minimum": 2, "maximum": 500}
ROWS = {"type": "integer", "minimum": 1, "maximum": 300}

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
INPUT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["type", "data"],
    "properties": {"type": {"const": "input"}, "data": {"type": "string", "maxLength": MAX_INPUT_CHARS}, "offset": {"type": "integer"}},
}
RESIZE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["type", "cols", "rows"],
    "properties": {"type": {"const": "resize"}, "cols": COLS, "rows": ROWS},
}
ACK_SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["type", "bytes"],
    "properties": {"type": {"const": "ack"}, "bytes": {"type": "integer", "minimum": 0, "maximum": 1 << 31}},
}
PING_SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["type", "number"],
    "properties": {"type": {"const": "ping"}, "number": {"type": "integer", "minimum": 0, "maximum": 1 << 31}},
}
TERMINAL_QUERY_SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"cols": COLS, "rows": ROWS, "reconnect": {"enum": [0, 1]}, "session": {"type":"string"}, "client": {"type":"string"}, "offset": {"type":"integer"}},
}
TERMINAL_SCHEMAS = {"input": INPUT_SCHEMA, "resize": RESIZE_SCHEMA, "ack": ACK_SCHEMA, "ping": PING_SCHEMA}
"""What a client may send over a terminal's WebSocket, by its `type`."""

_encode_string = json.JSONEncoder(ensure_ascii=False).encode  # a string by itself is encoded without any set-up
_decode_object = json.JSONDecoder().raw_decode
_CREATE_MACHINE = Draft202012Validator(CREATE_MACHINE_SCHEMA)
_TERMINAL_QUERY = Draft202012Validator(TERMINAL_QUERY_SCHEMA)
_TERMINAL = {
    kind: (fastjsonschema.compile(schema), Draft202012Validator(schema)) for kind, schema in TERMINAL_SCHEMAS.items()
}


class Input(NamedTuple):
    """Keys for the shell, as the UTF-8 bytes that go down the PTY."""

    data: bytes
    offset: int | None = None


class Resize(NamedTuple):
    """A new window size in character cells."""

    cols: int
    rows: int


class Ack(NamedTuple):
    """The client has drawn so many more bytes (of UTF-8) of output."""

    bytes: int


@dataclass(frozen=True)
class Ping:
    """The client checks that the connection works, and measures the round trip."""

    number: int


@dataclass(frozen=True)
class TerminalQuery:
    """What the terminal URL's query says."""

    size: Resize
    is_reconnect: bool
    session: str | None = None
    offset: int | None = None
    client: str | None = None


def decode_create_machine(body: bytes, defaults: MachineSize) -> MachineSpec:
    """Decode the body of `POST /machines`, empty for all defaults; raise InvalidMessage with the path."""
    wanted = _parse(body) if body.strip() else {}
    _check(_CREATE_MACHINE, wanted)
    size = MachineSize(
        cpu_kind=wanted.get("cpu_kind", defaults.cpu_kind),
        cpus=int(wanted.get("cpus", defaults.cpus)),
        memory_mb=int(wanted.get("memory_mb", defaults.memory_mb)),
    )
    check_size(size)
    return MachineSpec(name=wanted.get("name"), region=wanted.get("region"), size=size)


def check_size(size: MachineSize) -> None:
    """Refuse sizes that Fly refuses (Fly docs, "Machine sizing"); raise InvalidMessage."""
    if size.cpus not in CPUS:
        raise InvalidMessage(f"cpus must be one of {', '.join(map(str, CPUS))}, not {size.cpus}", path="cpus")
    low, high, step = (256, 2048, 256) if size.cpu_kind == "shared" else (2048, 8192, 1024)
    low, high = low * size.cpus, high * size.cpus
    if not low <= size.memory_mb <= high or size.memory_mb % step:
        raise InvalidMessage(
            f"memory_mb for {size.cpus} {size.cpu_kind} cpus must be a multiple of {step} "
            f"from {low} to {high}, not {size.memory_mb}",
            path="memory_mb",
        )


def decode_terminal_query(arguments: dict[str, str]) -> TerminalQuery:
    """Decode the terminal URL's query (`cols`, `rows`, `reconnect`); raise InvalidMessage with the path."""
    wanted: dict[str, Any] = {
        key: int(value) if value.isascii() and value.isdecimal() and len(value) < 10 else value
        for key, value in arguments.items()
    }
    _check(_TERMINAL_QUERY, wanted)
    size = Resize(cols=wanted.get("cols", 80), rows=wanted.get("rows", 24))
    return TerminalQuery(size=size, is_reconnect=wanted.get("reconnect") == 1, session=wanted.get("session"), offset=wanted.get("offset"), client=wanted.get("client"))


def decode_terminal(message: str | bytes) -> Input | Resize | Ack | Ping:
    """Decode one terminal message from the browser; raise InvalidMessage with the path."""
    wanted = _parse(message)
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    validators = _TERMINAL.get(kind) if isinstance(kind, str) else None
    if validators is None:
        raise InvalidMessage(
            f'terminal messages are JSON objects whose "type" is one of {", ".join(sorted(_TERMINAL))}',
            path="type",
        )
    is_valid, explain = validators
    try:
        is_valid(wanted)
    except fastjsonschema.JsonSchemaValueException:
        _check(explain, wanted)
    if kind == "ack":
        return Ack(int(wanted["bytes"]))
    if kind == "ping":
        return Ping(int(wanted["number"]))
    if kind == "resize":
        return Resize(cols=int(wanted["cols"]), rows=int(wanted["rows"]))
    try:
        return Input(wanted["data"].encode(), wanted.get("offset"))
    except UnicodeEncodeError as error:
        raise InvalidMessage("data holds half of a surrogate pair; send whole characters", "data") from error


def _j(**k): return json.dumps(k, ensure_ascii=False).encode()
def session(id,is_new,offset,taken): return _j(type="session",id=id,is_new=is_new,offset=offset,taken=taken)
def lost(bytes): return _j(type="lost",bytes=bytes)
def replay(until,modes): return _j(type="replay",until=until,modes=modes if isinstance(modes,str) else modes.decode())
def size(cols,rows,offset): return _j(type="size",cols=cols,rows=rows,offset=offset)
def taken(offset): return _j(type="taken",offset=offset)
def foreground(command,is_shell,echo,canonical,ixon): return _j(type="foreground",command=command,is_shell=is_shell,echo=echo,canonical=canonical,ixon=ixon)
def exited(status,signal): return _j(type="exit",status=status) if signal is None else _j(type="exit",signal=signal)
def output(data: bytes, offset=None) -> bytes:
    """Encode terminal output, which must be valid UTF-8.

    As Latin-1, a character a byte, JSON's escapes leave the bytes of UTF-8 as they are: 20 % less time than as text.
    """
    if offset is not None: return b'{"type":"output","data":%b,"offset":%d}' % (_encode_string(data.decode("latin-1")).encode("latin-1"),offset)
    return b'{"type":"output","data":%b}' % _encode_string(data.decode("latin-1")).encode("latin-1")


def pong(number: int, waiting_bytes: int) -> bytes:
    """Encode the answer to a ping and to all before it; the shell has not taken `waiting_bytes` of input yet."""
    return b'{"type":"pong","number":%d,"waiting":%d}' % (number, waiting_bytes)


def error(message: str) -> bytes:
    """Encode an error for the terminal's client."""
    return json.dumps({"type": "error", "message": message}, ensure_ascii=False).encode()


def reconnected() -> bytes:
    """Encode the PRD's message to a client that lost its shell."""
    message = "Connection lost. Reconnected — new session."
    return json.dumps({"type": "reconnected", "message": message}, ensure_ascii=False).encode()


def _parse(text: str | bytes) -> Any:
    try:
        if isinstance(text, str) and text[:1] == "{":  # json.loads would look for white space at both ends, twice a key
            wanted, end = _decode_object(text)
            if end == len(text):
                return wanted
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidMessage(f"not valid JSON: {str(error)[:200]}") from error


def _check(validator: Draft202012Validator, wanted: Any) -> None:
    if validator.is_valid(wanted):
        return
    worst = best_match(validator.iter_errors(wanted))
    assert worst is not None
    path = ".".join(str(step) for step in worst.absolute_path)
    hint = worst.schema.get("description") if worst.validator == "pattern" and isinstance(worst.schema, dict) else None
    raise InvalidMessage(f"must be {hint}" if hint else worst.message[:300], path=path)
