"""HTTP: decode, one call, encode. Statuses and texts are Fly's; what the emulator does not support answers 501."""

import asyncio
import shlex
from typing import Any

from aether.emulator import requests
from aether.emulator.config import grace_s
from aether.emulator.errors import ApiError, Json
from aether.emulator.http.base import BaseHandler
from aether.emulator.machine.leases import Lease
from aether.emulator.machine.record import EVENTS_KEPT, EVENTS_SHOWN, summary, unreachable
from aether.emulator.machine.store import SETTLED

_WAITABLE = ("started", "stopped", "suspended", "destroyed", "failed", "settled")


class MachinesHandler(BaseHandler):
    """`/v1/apps/{app}/machines`."""

    actions = {"GET": "list", "POST": "create"}  # noqa: RUF012  (BaseHandler declares it as a ClassVar)

    def get(self, app: str) -> None:
        """List."""
        is_all, is_summary = self.flag("include_deleted"), self.flag("summary")
        if self.fault is not None and self.fault.kind == "stale-list":
            seen = [view for owner, view in self.fault.seen.values() if owner == app]
            views = [v for v in seen if self._matches(v) and (is_all or v["state"] != "destroyed")]
        else:
            machines = self.machines.of_app(app, is_all)
            views = [m.view() for m in machines if self._matches(m.store.record)]
        views = [self._shown(view) for view in views]
        self.answer([summary(view) for view in views] if is_summary else views)

    def post(self, app: str) -> None:
        """Create: the answer precedes the boot."""
        request = requests.decode(self.request.body, requests.CREATE, "createMachineRequest")
        machine = self.machines.create(app, request)
        view = machine.view()
        if request.get("lease_ttl"):
            now = machine.store.now()
            lease = machine.lease.acquire(request["lease_ttl"], "", view["instance_id"], None, now)
            view["nonce"] = lease.nonce
        self.answer(view)

    def _shown(self, view: Json) -> Json:
        fault = self.fault
        is_lost = fault is not None and fault.kind == "host-unreachable" and fault.machine in {None, view["id"]}
        return unreachable(view) if is_lost else view

    def _matches(self, record: Json) -> bool:
        metadata = record["config"].get("metadata", {})
        for key in self.request.query_arguments:
            value = self.get_query_argument(key)
            if key.startswith("metadata.") and metadata.get(key.removeprefix("metadata.")) != value:
                return False
            if key in {"region", "state"} and record[key] not in value.split(","):
                return False
        return True


class MachineHandler(BaseHandler):
    """`/v1/apps/{app}/machines/{id}`."""

    actions = {"GET": "get", "POST": "update", "DELETE": "destroy"}  # noqa: RUF012

    def get(self, app: str, machine_id: str) -> None:
        """Get."""
        fault = self.fault
        if fault is not None and fault.kind == "stale-get":
            if machine_id not in fault.seen:
                raise ApiError(404, "not_found: machine not found")
            self.answer(fault.seen[machine_id][1])
            return
        view = self.machine(app, machine_id).view()
        self.answer(unreachable(view) if fault is not None and fault.kind == "host-unreachable" else view)

    def post(self, app: str, machine_id: str) -> None:
        """Update: the whole config is replaced."""
        machine = self.leased(app, machine_id)
        request = requests.decode(self.request.body, requests.CREATE, "updateMachineRequest")
        self.machines.update(machine, request)
        self.answer(machine.view())

    def delete(self, app: str, machine_id: str) -> None:
        """Destroy."""
        self.leased(app, machine_id).destroy(self.flag("force", "kill"))
        self.answer({"ok": True})


class StartHandler(BaseHandler):
    """`…/start`."""

    actions = {"POST": "start"}  # noqa: RUF012

    def post(self, app: str, machine_id: str) -> None:
        """Start."""
        machine = self.leased(app, machine_id)
        requests.decode(self.request.body, requests.START, "startRequest")
        self.answer({"previous_state": machine.start(), "migrated": False, "new_host": ""})


class StopHandler(BaseHandler):
    """`…/stop`."""

    actions = {"POST": "stop"}  # noqa: RUF012

    def post(self, app: str, machine_id: str) -> None:
        """Stop."""
        machine = self.leased(app, machine_id)
        request = requests.decode(self.request.body, requests.STOP, "stopRequest")
        timeout = request.get("timeout")
        machine.stop(None if timeout is None else grace_s(timeout))
        self.answer({"ok": True})


class SignalHandler(BaseHandler):
    """`…/signal`."""

    actions = {"POST": "signal"}  # noqa: RUF012

    def post(self, app: str, machine_id: str) -> None:
        """Send a signal to the machine's main process."""
        request = requests.decode(self.request.body, requests.SIGNAL, "signalRequest")
        self.machine(app, machine_id).kill(request["signal"])
        self.answer({"ok": True})


class ExecHandler(BaseHandler):
    """`…/exec`."""

    actions = {"POST": "exec"}  # noqa: RUF012

    async def post(self, app: str, machine_id: str) -> None:
        """Run a command inside; 200 even if it failed."""
        machine = self.machine(app, machine_id)
        request = requests.decode(self.request.body, requests.EXEC, "execRequest")
        command = request.get("command") or shlex.split(request.get("cmd", ""))
        if not command:
            raise ApiError(400, "invalid_argument: command is required")
        timeout_s = request.get("timeout") or 30
        self.answer(await machine.run(command, request.get("stdin", ""), timeout_s))


class LeaseHandler(BaseHandler):
    """`…/lease`."""

    actions = {"GET": "lease", "POST": "lease", "DELETE": "lease"}  # noqa: RUF012

    def get(self, app: str, machine_id: str) -> None:
        """Read the present lease."""
        machine = self.machine(app, machine_id)
        lease = machine.lease.get(machine.store.now())
        if lease is None:
            raise ApiError(404, "not_found: lease not found")
        self._show(lease)

    def post(self, app: str, machine_id: str) -> None:
        """Acquire a lease, or extend the one whose nonce is sent."""
        machine = self.machine(app, machine_id)
        request = requests.decode(self.request.body, requests.LEASE, "leaseRequest")
        version, now = machine.store.record["instance_id"], machine.store.now()
        ttl_s, description = request.get("ttl", 30), request.get("description", "")
        lease = machine.lease.acquire(ttl_s, description, version, self.nonce, now)
        self.set_status(201)
        self._show(lease)

    def delete(self, app: str, machine_id: str) -> None:
        """Release the lease."""
        machine = self.machine(app, machine_id)
        machine.lease.release(self.nonce, machine.store.now())
        self._wrap({"ok": True})

    def _show(self, lease: Lease) -> None:
        self._wrap(lease.view())

    def _wrap(self, data: Json) -> None:
        is_wrapped = self.machines.options.lease_body == "wrapped"
        self.answer({"status": "success", "data": data} if is_wrapped else data)


class WaitHandler(BaseHandler):
    """`…/wait`."""

    actions = {"GET": "wait"}  # noqa: RUF012
    _task: "asyncio.Task[Any] | None" = None

    async def get(self, app: str, machine_id: str) -> None:
        """Wait for a state; a client that disconnects ends its wait."""
        machine = self.machine(app, machine_id)
        timeout_s = self.number("timeout", 60)
        if not 1 <= timeout_s <= 60:
            text = "invalid WaitMachineRequest.Timeout: value must be inside range [1s, 1m0s]"
            raise ApiError(400, f"invalid_argument: {text}")
        versions = self.get_query_arguments("version") + self.get_query_arguments("instance_id")
        states = self._states()
        if self.machines.options.wait_needs_instance_id and "stopped" in states and not versions:
            raise ApiError(400, "instance_id required when waiting for stopped machine")
        for version in versions:
            if version != machine.store.record["instance_id"]:
                raise ApiError(404, f"not_found: machine version {version} not found")
        self._task = asyncio.current_task()
        self.answer({"ok": True, "state": await machine.store.wait(states, timeout_s)})

    def _states(self) -> list[str]:
        wanted = [s for arg in self.get_query_arguments("state") for s in arg.split(",") if s] or ["started"]
        for state in wanted:
            if state not in _WAITABLE:
                raise ApiError(400, f"invalid_argument: cannot wait for state '{state}'")
        return sorted(SETTLED) if "settled" in wanted else wanted

    def on_connection_close(self) -> None:
        """End the wait of a client that has disconnected."""
        super().on_connection_close()
        if self._task is not None:
            self._task.cancel()


class EventsHandler(BaseHandler):
    """`…/events`."""

    actions = {"GET": "events"}  # noqa: RUF012

    def get(self, app: str, machine_id: str) -> None:
        """List events, newest first."""
        limit = min(max(self.number("limit", EVENTS_SHOWN), 1), EVENTS_KEPT)
        self.answer(self.machine(app, machine_id).store.events(limit))
