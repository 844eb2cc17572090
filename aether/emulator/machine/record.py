"""The JSON of a machine as Fly answers it: identifiers, events, image references (pure)."""

import hashlib
import re
import secrets
from datetime import UTC, datetime

from aether.emulator.errors import Json

EVENTS_KEPT = 50  # SPEC-2026: GET …/events answers at most 50
EVENTS_SHOWN = 20  # about 20 events come inside a Machine
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def ulid(now: float) -> str:
    """Create a ULID: 48 bits of milliseconds and 80 random ones, in Crockford's base 32."""
    value = (int(now * 1000) << 80) | secrets.randbits(80)
    return "".join(_CROCKFORD[(value >> shift) & 31] for shift in range(125, -1, -5))


def rfc3339(now: float) -> str:
    """Format a time as Fly does: UTC, whole seconds, `Z`."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def new_machine(name: str | None, region: str, config: Json, now: float) -> Json:
    """Build the record of a new machine; the fields are those of a recorded answer of Fly's."""
    machine_id = secrets.token_hex(7)
    return {
        "id": machine_id,
        "name": name or f"local-machine-{int(machine_id[-4:], 16)}",
        "state": "created",
        "region": region,
        "instance_id": ulid(now),
        "private_ip": private_ip(),
        "config": config,
        "incomplete_config": None,
        "image_ref": image_ref(config["image"]),
        "created_at": rfc3339(now),
        "updated_at": rfc3339(now),
        "events": [],
        "host_status": "ok",
    }


def private_ip() -> str:
    """Generate a 6PN address (`fdaa::/16`), at which nothing answers."""
    groups = [f"{secrets.randbelow(65535) + 1:x}" for _ in range(5)]
    return f"fdaa:0:{':'.join(groups)}:2"


def image_ref(image: str) -> Json:
    """Split an image name into Fly's `image_ref`; a digest that is not given is computed from the name."""
    name, _, digest = image.partition("@")
    registry, slash, repository = name.partition("/")
    if not slash or not re.search(r"[.:]|^localhost$", registry):
        registry, repository = "docker-hub-mirror.fly.io", name if slash else f"library/{name}"
    repository, _, tag = repository.partition(":")
    digest = digest or "sha256:" + hashlib.sha256(image.encode()).hexdigest()
    return {
        "registry": registry,
        "repository": repository,
        "tag": tag or "latest",
        "digest": digest,
        "labels": None,
    }


def event(kind: str, status: str, source: str, now: float, request: Json | None = None) -> Json:
    """Build one event; its timestamp is in milliseconds."""
    return {
        "id": ulid(now),
        "type": kind,
        "status": status,
        "source": source,
        "timestamp": int(now * 1000),
        "request": request,
    }


def exit_request(code: int, requested: bool, error: str, now: float, oom_killed: bool = False) -> Json:
    """Build the `request` of an exit event; a negative code is the signal that ended the process."""
    signal = -code if code < 0 else -1
    exit_code = 128 - code if code < 0 else code
    moment = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {
        "exit_event": {
            "requested_stop": requested,
            "restarting": False,
            "guest_exit_code": exit_code,
            "guest_signal": signal,
            "guest_error": error,
            "exit_code": exit_code,
            "signal": signal,
            "error": error,
            "oom_killed": oom_killed,
            "exited_at": moment,
        },
        "restart_count": 0,
    }


def summary(view: Json) -> Json:
    """Remove what `summary=true` leaves out of a list (SPEC-2026)."""
    dropped = {"config", "incomplete_config", "checks", "events", "host_status", "nonce"}
    return {key: value for key, value in view.items() if key not in dropped}


def unreachable(view: Json) -> Json:
    """Show a machine whose host cannot be reached: its config is only in `incomplete_config` (fly-go, Machine)."""
    return {**view, "host_status": "unreachable", "config": None, "incomplete_config": view["config"]}


def environment(app: str, record: Json) -> dict[str, str]:
    """Build the variables that Fly sets in a machine (fly.io docs, machine runtime environment), and `config.env`."""
    config = record["config"]
    return {
        **config["env"],
        "FLY_APP_NAME": app,
        "FLY_MACHINE_ID": record["id"],
        "FLY_REGION": record["region"],
        "FLY_PRIVATE_IP": record["private_ip"],
        "FLY_IMAGE_REF": config["image"],
        "FLY_MACHINE_VERSION": record["instance_id"],
        "FLY_VM_MEMORY_MB": str(config["guest"]["memory_mb"]),
        "FLY_PROCESS_GROUP": config.get("metadata", {}).get("fly_process_group", ""),
    }
