"""REST: the life cycle of machines."""

from aether import messages
from aether.fleet.registry import Fleet
from aether.handlers.base import BaseHandler, OriginPolicy
from aether.machines import Machine, MachineSize


class FleetHandler(BaseHandler):
    """A handler that serves machines."""

    def initialize(self, policy: OriginPolicy, fleet: Fleet, idle_timeout_s: float, default_size: MachineSize) -> None:
        """Take what the route hands down."""
        super().initialize(policy)
        self.fleet = fleet
        self.idle_timeout_s = idle_timeout_s
        self.default_size = default_size

    def to_json(self, machine: Machine) -> dict[str, object]:
        """Return a machine's public form."""
        return machine.to_json(machine.idle_stop_at(self.idle_timeout_s))


class MachinesHandler(FleetHandler):
    """`/machines`: list and create."""

    async def get(self) -> None:
        """List all machines, oldest first."""
        self.finish({"machines": [self.to_json(machine) for machine in self.fleet.list()]})

    async def post(self) -> None:
        """Create a machine; it boots after the answer."""
        spec = messages.decode_create_machine(self.request.body, self.default_size)
        machine = await self.fleet.create(spec)
        self.set_status(201)
        self.set_header("Location", f"/machines/{machine.id}")
        self.finish(self.to_json(machine))


class MachineHandler(FleetHandler):
    """`/machines/:id`: read and destroy."""

    async def get(self, machine_id: str) -> None:
        """Read one machine."""
        self.finish(self.to_json(self.fleet.get(machine_id)))

    async def delete(self, machine_id: str) -> None:
        """Destroy a machine; answered when it is gone."""
        await self.fleet.destroy(machine_id)
        self.set_status(204)


class StartHandler(FleetHandler):
    """`/machines/:id/start`."""

    async def post(self, machine_id: str) -> None:
        """Start a machine; answered before it runs."""
        self.set_status(202)
        self.finish(self.to_json(self.fleet.start(machine_id)))


class StopHandler(FleetHandler):
    """`/machines/:id/stop`."""

    async def post(self, machine_id: str) -> None:
        """Stop a machine; answered before it has stopped."""
        self.set_status(202)
        self.finish(self.to_json(self.fleet.stop(machine_id, by="by user")))
