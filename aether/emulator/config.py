"""What the config of a machine says: its rules, its defaults and its readings (pure).

A key that Fly accepts and the emulator does not support answers 501.
"""

import base64
import binascii
import posixpath
import re

from aether.emulator.errors import ApiError, Json

_UNIMPLEMENTED = ("mounts", "schedule", "containers", "auto_destroy", "standbys", "statics")
_GO_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def check_config(config: Json) -> Json:
    """Apply the rules that no schema can express; return the config with Fly's defaults filled in."""
    for key in _UNIMPLEMENTED:
        if config.get(key):
            raise ApiError(501, f"unimplemented: the emulator does not support config.{key}")
    for file in config.get("files", []):
        _check_file(file)
    grace_s(config.get("stop_config", {}).get("timeout"))
    ssh_port(config)
    guest = {"cpu_kind": "shared", "cpus": 1, "memory_mb": 256, **config.get("guest", {})}
    _check_size(guest)
    return {"env": {}, "init": {}, **config, "guest": guest}


def _check_size(guest: Json) -> None:
    """Accept only the sizes that Fly offers (fly.io docs, Machines API: guest)."""
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
    """Return the external port of the one service a machine may have, which is its SSH port."""
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
    """Whether a connection to the stopped machine starts it; unset means no, although Fly's docs say otherwise."""
    return any(service.get("autostart", False) for service in config.get("services", []))


def grace_s(timeout: str | int | None) -> float:
    """Parse a stop timeout: a Go duration ("1m30s") or nanoseconds; 5 s by default, 300 s at most."""
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
