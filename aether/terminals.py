"""Terminals: one machine's SSH connection and the sessions over it."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from aether.activity import ActivityPublisher
from aether.errors import AetherError
from aether.flow import Typing
from aether.messages import TerminalQuery
from aether.output import Client
from aether.sessions import TerminalSession
from aether.ssh.client import SshLink

DIAGNOSES = 3
DIAGNOSIS_PAUSE_S = 0.5


class Terminals:
    """Opens and ends the terminals of one machine.

    Args:
        until_running: returns once the machine runs, raises where it will not.
        ended_error: what terminals are told of a machine that does not run, None while it runs.
        check: asks Fly what became of the machine.
    """

    def __init__(
        self,
        link: SshLink,
        activity: ActivityPublisher,
        until_running: Callable[[], Awaitable[None]],
        ended_error: Callable[[], AetherError | None],
        check: Callable[[], Awaitable[None]],
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._link = link
        self._activity = activity
        self._until_running = until_running
        self._ended_error = ended_error
        self._check = check
        self._pause = pause
        self._sessions: set[TerminalSession] = set()
        self._typing = Typing()

    def __len__(self) -> int:
        """Return how many are open or opening."""
        return len(self._sessions)

    def open(self, client: Client, query: TerminalQuery) -> TerminalSession:
        """Return a session whose shell opens once the machine runs."""
        session = TerminalSession(
            self._activity, client, query, self._ended_error, self._diagnose, self._sessions.discard, self._typing
        )
        self._sessions.add(session)
        session.open(self._attach)
        return session

    async def end(self, error: AetherError, patience_s: float = 0.0) -> None:
        """End all sessions with `error`, and the connection: a machine that is frozen holds nobody up.

        Args:
            patience_s: for the machine to hang up itself, behind the last output.
        """
        sessions = list(self._sessions)
        if sessions and patience_s:
            await asyncio.wait([session.over for session in sessions], timeout=patience_s)
        for session in sessions:
            session.end(error)
        await self._link.close()
        for session in sessions:
            await session.wait_ended()  # no gather: a session that waits for itself must be seen to do so

    async def _attach(self, session: TerminalSession) -> None:
        await self._until_running()
        await self._link.open_terminal(lambda: session, session.size.cols, session.size.rows)

    async def _diagnose(self) -> AetherError | None:
        """Say why a shell is gone that did not exit, None if only the connection was lost.

        Fly may notice the end of a machine after we do, so it is asked more than once.
        """
        for number in range(DIAGNOSES):
            if number:
                await self._pause(DIAGNOSIS_PAUSE_S)
            with contextlib.suppress(AetherError):
                await self._check()
            if (error := self._ended_error()) is not None:
                return error
        return None
