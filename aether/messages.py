"""Compiled validators of the schemas: all untrusted input is decoded here, and messages out are encoded.

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
from aether.schemas import CPUS, CREATE_MACHINE_SCHEMA, TERMINAL_QUERY_SCHEMA, TERMINAL_SCHEMAS, UUID

_encode_string = json.JSONEncoder(ensure_ascii=False).encode  # a string by itself is encoded without any set-up
_decode_object = json.JSONDecoder().raw_decode
_CREATE_MACHINE = Draft202012Validator(CREATE_MACHINE_SCHEMA)
_TERMINAL_QUERY = Draft202012Validator(TERMINAL_QUERY_SCHEMA)
_UUID = Draft202012Validator(UUID)
_TERMINAL = {
    kind: (fastjsonschema.compile(schema), Draft202012Validator(schema)) for kind, schema in TERMINAL_SCHEMAS.items()
}


class Input(NamedTuple):
    """Keys for the shell, as the UTF-8 bytes that go down the PTY; `offset`: where they begin in the client's input."""

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
    """What the terminal URL's query says.

    `session` and `client` are UUIDs; `offset` is where in the session's output to resume, in bytes.
    """

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
    """Decode the terminal URL's query; raise InvalidMessage with the path."""
    wanted: dict[str, Any] = {
        key: int(value) if value.isascii() and value.isdecimal() and len(value) < 17 else value
        for key, value in arguments.items()
    }
    _check(_TERMINAL_QUERY, wanted)
    size = Resize(cols=wanted.get("cols", 80), rows=wanted.get("rows", 24))
    names = {key: wanted.get(key) for key in ("session", "offset", "client")}
    return TerminalQuery(size=size, is_reconnect=wanted.get("reconnect") == 1, **names)


def is_session_id(text: str) -> bool:
    """Return whether a session may have this id."""
    return _UUID.is_valid(text)


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
        data = wanted["data"].encode()
    except UnicodeEncodeError as error:
        raise InvalidMessage("data holds half of a surrogate pair; send whole characters", "data") from error
    return Input(data, int(wanted["offset"])) if "offset" in wanted else Input(data)


def output(data: bytes, offset: int | None = None) -> bytes:
    """Encode terminal output, which must be valid UTF-8; `offset` is the log's position after it, in a session.

    As Latin-1, a character a byte, JSON's escapes leave the bytes of UTF-8 as they are: 20 % less time than as text.
    """
    text = _encode_string(data.decode("latin-1")).encode("latin-1")
    if offset is None:
        return b'{"type":"output","data":%b}' % text
    return b'{"type":"output","data":%b,"offset":%d}' % (text, offset)


def pong(number: int, waiting_bytes: int) -> bytes:
    """Encode the answer to a ping and to all before it; the shell has not taken `waiting_bytes` of input yet."""
    return b'{"type":"pong","number":%d,"waiting":%d}' % (number, waiting_bytes)


def error(message: str, retry_s: float | None = None) -> bytes:
    """Encode an error for the terminal's client, and when it may come back."""
    return _message("error", message=message, **({} if retry_s is None else {"retry_s": retry_s}))


def reconnected() -> bytes:
    """Encode the PRD's message to a client that lost its shell."""
    return _message("reconnected", message="Connection lost. Reconnected — new session.")


def session(session_id: str, is_new: bool, offset: int, taken: int) -> bytes:
    """Encode that a session is here: output follows from `offset`, and `taken` bytes of the client's input are in."""
    return _message("session", id=session_id, is_new=is_new, offset=offset, taken=taken)


def lost(lost_bytes: int) -> bytes:
    """Encode how much output is gone for ever."""
    return _message("lost", bytes=lost_bytes)


def replay(until: int, modes: bytes) -> bytes:
    """Encode that output up to `until` is not new; `modes` (UTF-8) sets the terminal as it was at the beginning."""
    return _message("replay", until=until, modes=modes.decode(errors="replace"))


def size(cols: int, rows: int, offset: int) -> bytes:
    """Encode the size that the terminal had from `offset` on."""
    return _message("size", cols=cols, rows=rows, offset=offset)


def taken(offset: int) -> bytes:
    """Encode how much of the client's input was taken, in bytes from its beginning."""
    return b'{"type":"taken","offset":%d}' % offset


def foreground(command: str, is_shell: bool, echo: bool, canonical: bool, ixon: bool) -> bytes:
    """Encode what runs in front, and its terminal's modes (termios(3): ECHO, ICANON, IXON)."""
    return _message("foreground", command=command, is_shell=is_shell, echo=echo, canonical=canonical, ixon=ixon)


def exited(status: int | None, signal: str | None) -> bytes:
    """Encode the shell's end: its exit status, None if it is not known, or the signal (such as `HUP`) that ended it."""
    return _message("exit", **({"status": status} if signal is None else {"signal": signal}))


def _message(kind: str, **fields: Any) -> bytes:
    return json.dumps({"type": kind, **fields}, ensure_ascii=False).encode(errors="replace")


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
