"""The bodies of requests: their schemas, compiled once, and how they are decoded (pure).

Sources: fly.io docs, Machines API (config object), and the OpenAPI description of 2026. Keys without a schema are kept,
as Fly keeps them. The rules that no schema can express are in `config`.
"""

import json
from typing import Any, NoReturn

from jsonschema import Draft202012Validator, TypeChecker, ValidationError
from jsonschema.validators import extend

from aether.emulator.errors import ApiError, Json


def _map_of_strings() -> Json:
    return {"type": "object", "additionalProperties": {"type": "string"}}


def _object(**properties: Any) -> Json:
    return {"type": "object", "properties": properties}


_STRING, _INTEGER, _BOOLEAN = {"type": "string"}, {"type": "integer"}, {"type": "boolean"}
_STRINGS: Json = {"type": "array", "items": _STRING}
_MODE = {"type": "integer", "minimum": 0, "maximum": 0o7777}
_PORT = {"type": "integer", "minimum": 1, "maximum": 65535}

_CONFIG = {
    "required": ["image"],
    **_object(
        image={"type": "string", "minLength": 1},
        env=_map_of_strings(),
        metadata=_map_of_strings(),
        files={
            "type": "array",
            "items": {
                "required": ["guest_path"],
                **_object(guest_path=_STRING, raw_value=_STRING, secret_name=_STRING, mode=_MODE),
            },
        },
        guest=_object(cpu_kind=_STRING, cpus=_INTEGER, memory_mb=_INTEGER),
        services={
            "type": "array",
            "items": _object(
                protocol=_STRING,
                internal_port=_PORT,
                autostart=_BOOLEAN,
                ports={"type": "array", "items": _object(port=_PORT, handlers={"type": "array"})},
            ),
        },
        restart=_object(policy={"enum": ["no", "always", "on-failure", "spot-price"]}),
        rootfs=_object(persist={"enum": ["never", "always", "restart"]}, size_gb=_INTEGER),
        stop_config=_object(signal=_STRING, timeout={"type": ["string", "integer"]}),
        init=_object(exec=_STRINGS, entrypoint=_STRINGS, cmd=_STRINGS),
        mounts={"type": "array"},
        auto_destroy=_BOOLEAN,
    ),
}
_CREATE = {
    "required": ["config"],
    **_object(
        name=_STRING,
        region=_STRING,
        skip_launch=_BOOLEAN,
        lease_ttl=_INTEGER,
        config=_CONFIG,
        current_version=_STRING,
    ),
}
_COMMAND = {"type": "array", "items": _STRING, "minItems": 1}


def _is_whole(checker: TypeChecker, value: Any) -> bool:
    """Accept `1` as an integer but not `1.0`, as Go does."""
    return isinstance(value, int) and not isinstance(value, bool)


_CHECKER = Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_whole)
_Validator = extend(Draft202012Validator, type_checker=_CHECKER)  # type: ignore[no-untyped-call]
CREATE = _Validator(_CREATE)
STOP = _Validator(_object(signal=_STRING, timeout={"type": ["string", "integer"]}))
START = _Validator(_object())
METADATA = _Validator({"required": ["value"], **_object(value=_STRING)})
METADATA_PUT = _Validator({"required": ["metadata"], **_object(metadata=_map_of_strings(), machine_version=_STRING)})
METADATA_PATCH = _Validator(
    {
        "required": ["metadata"],
        **_object(metadata={"type": "object", "additionalProperties": {"type": ["string", "null"]}}),
    }
)
LEASE = _Validator(_object(ttl={"type": "integer", "minimum": 1}, description=_STRING))
SIGNAL = _Validator({"required": ["signal"], **_object(signal={"type": ["string", "integer"]})})
EXEC = _Validator(_object(command=_COMMAND, cmd=_STRING, timeout=_INTEGER, stdin=_STRING))

_GO_TYPES = {dict: "object", list: "array", str: "string", bool: "bool", int: "number", float: "number"}


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def decode(body: bytes, validator: Draft202012Validator, go_type: str, keeps_nulls: bool = False) -> Json:
    """Decode a JSON body strictly; an empty one is `{}`, and a key that is null counts as absent, as in Go."""
    try:
        value = json.loads(body, parse_constant=_refuse_constant) if body.strip() else {}
        json.dumps(value, ensure_ascii=False).encode()  # an unpaired surrogate is not valid text
        value = value if keeps_nulls else _without_nulls(value)
        error = next(iter(validator.iter_errors(value)), None)
    except (ValueError, RecursionError):
        raise ApiError(400, "invalid_argument: the request body is not valid JSON") from None
    if error is not None:
        raise ApiError(400, _describe(error, go_type))
    return dict(value)


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_nulls(v) for k, v in value.items() if v is not None}
    return [_without_nulls(v) for v in value] if isinstance(value, list) else value


def _describe(error: ValidationError, go_type: str) -> str:
    """Describe what is wrong; a wrong type in the words of Go's JSON decoder, as Fly does."""
    path = ".".join(str(part) for part in error.absolute_path)
    if error.validator == "type":
        kind, wanted = _GO_TYPES.get(type(error.instance), "value"), error.validator_value
        if not path:
            return f"json: cannot unmarshal {kind} into Go value of type main.{go_type}"
        return f"json: cannot unmarshal {kind} into Go struct field {go_type}.{path} of type {wanted}"
    return f"invalid_argument: {path or 'body'}: {error.message}"
