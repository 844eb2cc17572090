"""REST: the sessions of a machine, which go on without a client."""

from aether import messages
from aether.errors import SessionNotFound
from aether.fleet.registry import Fleet
from aether.handlers.base import BaseHandler, OriginPolicy


class FleetSessionsHandler(BaseHandler):
    """A handler that serves sessions."""

    def initialize(self, policy: OriginPolicy, fleet: Fleet) -> None:
        """Take what the route hands down."""
        super().initialize(policy)
        self.fleet = fleet


class SessionsHandler(FleetSessionsHandler):
    """`/machines/:id/sessions`: list."""

    async def get(self, machine_id: str) -> None:
        """List the running sessions of a machine."""
        self.finish({"sessions": [session.to_json() for session in await self.fleet.sessions(machine_id)]})


class SessionHandler(FleetSessionsHandler):
    """`/machines/:id/sessions/:session`: end."""

    async def delete(self, machine_id: str, session_id: str) -> None:
        """Hang up a session."""
        if not messages.is_session_id(session_id):
            raise SessionNotFound(f"there is no session {session_id}; GET /machines/{machine_id}/sessions lists them")
        await self.fleet.end_session(machine_id, session_id)
        self.set_status(204)
