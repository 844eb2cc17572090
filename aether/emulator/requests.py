"""What a request may say: schemas, compiled once, and the rules behind them (pure).

Sources: fly.io docs, Machines API (config object), and the OpenAPI description of 2026. A key Fly would accept and the
emulator cannot honour answers 501; keys it does not know are kept, as Fly keeps them.
"""

import base64
import binascii
import json
import posixpath
import re
from typing import Any, NoReturn

from jsonschema import Draft202012Validator, TypeChecker, ValidationError
from jsonschema.validators import extend

from aether.emulator.record import Json


class ApiError(Exception):
    """An answer that is not a success: its status, the text of `error`, and the body if that has other keys."""

    def __init__(self, status: int, message: str, body: Json | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.body = {"error": message} if body is None else body


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
    """Take `1` for an integer but not `1.0`, as Go does."""
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

_UNIMPLEMENTED = ("mounts", "schedule", "containers", "auto_destroy", "standbys", "statics")
_GO_TYPES = {dict: "object", list: "array", str: "string", bool: "bool", int: "number", float: "number"}
_GO_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def decode(body: bytes, validator: Draft202012Validator, go_type: str, keeps_nulls: bool = False) -> Json:
    """Read a JSON body strictly; an empty one is `{}`, and null is as good as absent, as in Go."""
    try:
        value = json.loads(body, parse_constant=_refuse_constant) if body.strip() else {}
        json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair is no text
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
    """Say what is wrong in the words of Go's JSON decoder, as Fly does for a wrong type."""
    path = ".".join(str(part) for part in error.absolute_path)
    if error.validator == "type":
        kind, wanted = _GO_TYPES.get(type(error.instance), "value"), error.validator_value
        if not path:
            return f"json: cannot unmarshal {kind} into Go value of type main.{go_type}"
        return f"json: cannot unmarshal {kind} into Go struct field {go_type}.{path} of type {wanted}"
    return f"invalid_argument: {path or 'body'}: {error.message}"


def check_create(request: Json) -> Json:
    """Apply the rules no schema can say, and answer the config with Fly's defaults filled in."""
    config: Json = request["config"]
    for key in _UNIMPLEMENTED:
        if config.get(key):
            raise ApiError(501, f"unimplemented: the emulator does not support config.{key}")
    for file in config.get("files", []):
        _check_file(file)
    grace_s(config.get("stop_config", {}).get("timeout"))
    ssh_port(config)
    guest = {"cpu_kind": "shared", "cpus": 1, "memory_mb": 256, **config.get("guest", {})}
    _check_guest(guest)
    return {"env": {}, "init": {}, **config, "guest": guest}


def _check_guest(guest: Json) -> None:
    """Hold a guest to Fly's sizes (fly.io docs, Machines API: guest)."""
    kind, cpus, memory_mb = guest["cpu_kind"], guest["cpus"], guest["memory_mb"]
    limits = {"shared": (256, 256, 2048), "performance": (1024, 2048, 8192)}
    if kind not in limits:
        raise ApiError(422, f"invalid_argument: unknown cpu_kind {kind!r}, use shared or performance")
    step, least, most = limits[kind]
    if cpus not in {1, 2, 4, 6, 8, 10, 12, 14, 16}:
        raise ApiError(422, f"invalid_argument: invalid number of CPUs: {cpus}")
    if memory_mb % step:
        raise ApiError(422, f"invalid_argument: memory_mb {memory_mb} is not a multiple of {step}")
    if not least * cpus <= memory_mb <= most * cpus:
        raise ApiError(
            422,
            f"invalid_argument: memory_mb {memory_mb} is outside {least * cpus} to {most * cpus}"
            f" for {cpus} {kind} CPUs",
        )


def _check_file(file: Json) -> None:
    path = file["guest_path"]
    if not path.isprintable() or not path.isascii():
        raise ApiError(400, f"invalid_argument: guest_path {path!r} is not plain ASCII")
    if "secret_name" in file or "image_config" in file:
        raise ApiError(501, "unimplemented: the emulator does not support files from secrets or images")
    if not path.startswith("/") or path != posixpath.normpath(path) or path.startswith("//"):
        raise ApiError(400, f"invalid_argument: guest_path {path!r} is not an absolute, plain path")
    if path == "/":
        raise ApiError(400, "invalid_argument: guest_path '/' is a directory")
    file_content(file)


def file_content(file: Json) -> bytes:
    """Decode a file's `raw_value`."""
    try:
        return base64.b64decode(file.get("raw_value", ""), validate=True)
    except (binascii.Error, ValueError):
        raise ApiError(400, f"invalid_argument: raw_value of {file['guest_path']} is not valid base64") from None


def ssh_port(config: Json) -> int | None:
    """Find the external port of the one service a machine may have, which is its SSH port."""
    services = config.get("services", [])
    if not services:
        return None
    service, ports = services[0], services[0].get("ports", [])
    if len(services) > 1 or len(ports) != 1 or service.get("protocol") != "tcp":
        raise ApiError(501, "unimplemented: the emulator supports one tcp service with one port")
    if ports[0].get("handlers") or "port" not in ports[0]:
        raise ApiError(501, "unimplemented: the emulator supports one port without handlers")
    return int(ports[0]["port"])


def is_autostarted(config: Json) -> bool:
    """Say whether a connection to the stopped machine starts it; unset means no, though the docs disagree."""
    return any(service.get("autostart", False) for service in config.get("services", []))


def grace_s(timeout: str | int | None) -> float:
    """Read a stop timeout: a Go duration ("1m30s") or nanoseconds; 5 s by default, 300 s at most."""
    if timeout is None:
        return 5.0
    if isinstance(timeout, int):
        seconds = timeout * 1e-9
    else:
        parts = re.findall(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)", timeout)
        if timeout != "0" and (not parts or "".join(n + u for n, u in parts) != timeout):
            raise ApiError(400, f'invalid_argument: time: invalid duration "{timeout}"')
        seconds = sum(float(number) * _GO_UNITS[unit] for number, unit in parts)
    if not 0 <= seconds <= 300:
        raise ApiError(422, "invalid_argument: the stop timeout must be between 0s and 5m0s")
    return seconds
