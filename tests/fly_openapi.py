"""OpenAPI 3.1 description of the part of the Machines API that aether uses (pure).

Written from the documented shapes: fly.io docs (Machines API), the OpenAPI descriptions of 2025 and 2026, and recorded
answers. Objects are open: Fly adds keys.
"""

from typing import Any

from aether.emulator.errors import Json

_STRING: Json = {"type": "string"}
_INTEGER: Json = {"type": "integer"}
_BOOLEAN: Json = {"type": "boolean"}
_PERSISTENT = ["created", "started", "stopped", "suspended", "failed"]
_PASSING = ["creating", "starting", "stopping", "restarting", "suspending", "destroying", "launch_failed"]
_STATES = [*_PERSISTENT, *_PASSING, "updating", "replacing", "destroyed", "replaced", "migrated"]  # fly.io docs
_APP = {"name": "app_name", "in": "path", "required": True, "schema": _STRING}
_ID = {"name": "machine_id", "in": "path", "required": True, "schema": {"type": "string", "pattern": "^[0-9a-f]{14}$"}}
_KEY = {"name": "key", "in": "path", "required": True, "schema": _STRING}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(required: str = "", /, **properties: Any) -> Json:
    return {"type": "object", "required": required.split(), "properties": properties}


def _map() -> Json:
    return {"type": "object", "additionalProperties": _STRING}


def _or_null(schema: Json) -> Json:
    return {"anyOf": [schema, {"type": "null"}]}


def _schemas() -> Json:
    machine = {
        "id": {"type": "string", "pattern": "^[0-9a-f]{14}$"},
        "name": _STRING,
        "state": {"enum": _STATES},
        "region": {"type": "string", "pattern": "^[a-z]{3}$"},
        "instance_id": {"type": "string", "pattern": "^[0-9A-HJKMNP-TV-Z]{26}$"},
        "private_ip": {"type": "string", "pattern": "^fdaa:"},
        "config": _or_null(_ref("MachineConfig")),
        "incomplete_config": _or_null(_ref("MachineConfig")),
        "image_ref": _object("registry repository", registry=_STRING, repository=_STRING, tag=_STRING, digest=_STRING),
        "created_at": {"type": "string", "pattern": "^[0-9-]{10}T[0-9:.]{8,}Z$"},
        "updated_at": {"type": "string", "pattern": "^[0-9-]{10}T[0-9:.]{8,}Z$"},
        "events": {"type": "array", "items": _ref("Event")},
        "host_status": {"enum": ["ok", "unknown", "unreachable"]},
        "nonce": _STRING,
    }
    needed = "id name state region instance_id private_ip config image_ref created_at updated_at"
    return {
        "Machine": _object(needed, **machine),
        "Machines": {"type": "array", "items": _ref("Machine")},
        "MachineConfig": _config(),
        "CreateMachineRequest": _object(
            "config",
            name=_STRING,
            region=_STRING,
            skip_launch=_BOOLEAN,
            lease_ttl=_INTEGER,
            config=_ref("MachineConfig"),
        ),
        "StopRequest": _object(signal={"type": "string", "pattern": "^SIG"}, timeout=_STRING),
        "StartAnswer": _object("previous_state", previous_state={"enum": _STATES}, migrated=_BOOLEAN, new_host=_STRING),
        "WaitAnswer": _object("ok state", ok={"const": True}, state={"enum": _STATES}),
        "Ok": _object("ok", ok={"const": True}),
        "Metadata": _map(),
        "MetadataValue": _object("value", value=_STRING),
        "Event": _event(),
        "Error": {
            "type": "object",
            "anyOf": [{"required": ["error"]}, {"required": ["message"]}],
            "properties": {"error": _STRING, "message": _STRING, "status": _STRING},
        },
    }


def _config() -> Json:
    ports = {"type": "array", "items": _object(port={"type": "integer", "minimum": 1, "maximum": 65535})}
    service = _object("protocol internal_port", protocol=_STRING, internal_port=_INTEGER, ports=ports)
    service["properties"] |= {"autostart": _BOOLEAN, "autostop": {"type": ["string", "boolean"]}}
    file = _object("guest_path", guest_path=_STRING, raw_value=_STRING, secret_name=_STRING, mode=_INTEGER)
    return _object(
        "image",
        image=_STRING,
        env=_map(),
        metadata=_map(),
        guest=_object("cpu_kind cpus memory_mb", cpu_kind=_STRING, cpus=_INTEGER, memory_mb=_INTEGER),
        files={"type": "array", "items": file},
        services={"type": "array", "items": service},
        restart=_object(policy={"enum": ["no", "always", "on-failure", "spot-price"]}),
        rootfs=_object(persist={"enum": ["never", "always", "restart"]}, size_gb=_INTEGER),
        stop_config=_object(signal=_STRING, timeout={"type": ["string", "integer"]}),
    )


def _event() -> Json:
    exit_event = _object(
        "requested_stop exit_code oom_killed",
        requested_stop=_BOOLEAN,
        oom_killed=_BOOLEAN,
        exit_code=_INTEGER,
        signal=_INTEGER,
        exited_at=_STRING,
    )
    event = _object("id type status source timestamp", id=_STRING, type=_STRING, status=_STRING, source=_STRING)
    event["properties"]["timestamp"] = {"type": "integer", "minimum": 10**12}  # milliseconds
    event["properties"]["request"] = _or_null(_object(exit_event=exit_event))
    return event


def _operation(operation_id: str, answer: Json | None, body: str = "", **query: Json) -> Json:
    """Describe one call: its answer (None: 204 and empty), the schema of its body, its query."""
    success: Json = {"description": "done"}
    if answer is not None:
        success["content"] = {"application/json": {"schema": answer}}
    failure = {"description": "refused", "content": {"application/json": {"schema": _ref("Error")}}}
    operation: Json = {
        "operationId": operation_id,
        "parameters": [{"name": name, "in": "query", "schema": schema} for name, schema in query.items()],
        "responses": {"204" if answer is None else "200": success, "default": failure},
    }
    if body:
        operation["requestBody"] = {"content": {"application/json": {"schema": _ref(body)}}}
    return operation


def document() -> Json:
    """Build the whole description."""
    one = "/v1/apps/{app_name}/machines/{machine_id}"
    seconds: Json = {"type": "integer", "minimum": 1, "maximum": 60}
    wait = _operation("wait", _ref("WaitAnswer"), state=_STRING, timeout=seconds, instance_id=_STRING)
    paths: dict[str, Json] = {
        "/v1/apps/{app_name}/machines": {
            "get": _operation("list", _ref("Machines"), include_deleted=_BOOLEAN, region=_STRING, state=_STRING),
            "post": _operation("create", _ref("Machine"), "CreateMachineRequest"),
        },
        one: {
            "get": _operation("get", _ref("Machine")),
            "delete": _operation("destroy", _ref("Ok"), force=_BOOLEAN),
        },
        f"{one}/start": {"post": _operation("start", _ref("StartAnswer"))},
        f"{one}/stop": {"post": _operation("stop", _ref("Ok"), "StopRequest")},
        f"{one}/wait": {"get": wait},
        f"{one}/metadata": {"get": _operation("get_metadata", _ref("Metadata"))},
        f"{one}/metadata/{{key}}": {
            "get": _operation("get_metadata_value", _ref("MetadataValue")),
            "post": _operation("set_metadata_value", None, "MetadataValue"),
            "delete": _operation("remove_metadata_value", None),
        },
    }
    for path, item in paths.items():
        item["parameters"] = [p for p in (_APP, _ID, _KEY) if f"{{{p['name']}}}" in path]
    return {
        "openapi": "3.1.0",
        "info": {"title": "Fly Machines API, the part that aether uses", "version": "1"},
        "servers": [{"url": "https://api.machines.dev"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }
