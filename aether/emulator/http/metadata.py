"""HTTP: a machine's metadata, as a map and key by key."""

from aether.emulator import requests
from aether.emulator.errors import ApiError
from aether.emulator.http.base import BaseHandler


class MetadataHandler(BaseHandler):
    """`…/metadata`."""

    actions = {"GET": "metadata", "PATCH": "metadata", "PUT": "metadata"}  # noqa: RUF012

    def get(self, app: str, machine_id: str) -> None:
        """Read the whole map."""
        self.answer(self.machine(app, machine_id).store.metadata)

    def patch(self, app: str, machine_id: str) -> None:
        """Set some keys; null or an empty string removes one."""
        store = self.machine(app, machine_id).store
        request = requests.decode(self.request.body, requests.METADATA_PATCH, "metadataRequest", keeps_nulls=True)
        store.set_metadata({key: value or None for key, value in request["metadata"].items()})
        self.set_status(204)

    def put(self, app: str, machine_id: str) -> None:
        """Replace all keys; with `machine_version`, only those of that version of the machine."""
        store = self.machine(app, machine_id).store
        request = requests.decode(self.request.body, requests.METADATA_PUT, "metadataRequest")
        version = store.record["instance_id"]
        if request.get("machine_version", version) != version:
            raise ApiError(412, f"failed_precondition: machine version mismatch, current version is {version}")
        store.set_metadata(request["metadata"], replaces_all=True)
        self.set_status(204)


class MetadataKeyHandler(BaseHandler):
    """`…/metadata/{key}`."""

    actions = {"GET": "metadata", "POST": "metadata", "DELETE": "metadata"}  # noqa: RUF012

    def get(self, app: str, machine_id: str, key: str) -> None:
        """Read one value."""
        metadata = self.machine(app, machine_id).store.metadata
        if key not in metadata:
            raise ApiError(404, f"not_found: metadata key '{key}' not found")
        self.answer({"value": metadata[key]})

    def post(self, app: str, machine_id: str, key: str) -> None:
        """Set one value."""
        machine = self.machine(app, machine_id)
        request = requests.decode(self.request.body, requests.METADATA, "metadataRequest")
        machine.store.set_metadata({key: request["value"]})
        self.set_status(204)

    def delete(self, app: str, machine_id: str, key: str) -> None:
        """Remove one value."""
        self.machine(app, machine_id).store.set_metadata({key: None})
        self.set_status(204)
