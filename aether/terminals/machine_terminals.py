"""MachineTerminals: the terminals of one machine, over its SSH connections."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator

from aether.errors import AetherError, SessionNotFound, SessionTaken
from aether.messages import TerminalQuery
from aether.ssh.pool import ConnectionPool
from aether.terminals.attachment import Client
from aether.terminals.diagnosis import Diagnosis, TerminalMachine
from aether.terminals.flow import TypingPriority
from aether.terminals.keeping import Sessions
from aether.terminals.session_info import SessionInfo
from aether.terminals.terminal import Terminal


class MachineTerminals:
    """Opens and ends the terminals of one machine.

    Args:
        machine: whose terminals they are.
        pool: its SSH connections.
        sessions: how shells outlive their connections; None: they do not.
        pause: how a terminal waits between two questions to the provider.
    """

    def __init__(
        self,
        machine: TerminalMachine,
        pool: ConnectionPool,
        sessions: Sessions | None = None,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._machine = machine
        self.pool = pool
        self._keeping = None if sessions is None else sessions.of(pool)
        self._diagnosis = Diagnosis(machine, pause)
        self._terminals: set[Terminal] = set()
        self._priority = TypingPriority()

    def __len__(self) -> int:
        """Return how many are open or opening."""
        return len(self._terminals)

    def __iter__(self) -> Iterator[Terminal]:
        """Iterate over those that are open or opening."""
        return iter([*self._terminals])

    def open(self, client: Client, query: TerminalQuery) -> Terminal:
        """Return a terminal whose shell opens once the machine runs."""
        for known in self:
            if known.is_of(query):  # the page has lost that connection, and the server has not heard of it
                known.end(SessionTaken("This page has opened the terminal again."))
        shared = (self._machine, self.pool, self._keeping, self._priority, self._diagnosis)
        terminal = Terminal(client, query, *shared, on_end=self._terminals.discard)
        self._terminals.add(terminal)
        terminal.open()
        return terminal

    async def sessions(self) -> list[SessionInfo]:
        """Return the machine's sessions, oldest first; raise SshError, ProviderTimeout unless the machine ends."""
        if self._keeping is None:
            return []
        try:
            return await self._keeping.host.sessions()
        except AetherError:
            if self._machine.ended_error() is None:
                raise
            return []

    async def end_session(self, session: str) -> None:
        """Hang up a session; raise SessionNotFound, SshError, ProviderTimeout."""
        if self._keeping is None:
            raise SessionNotFound("this server keeps no sessions (AETHER_SESSIONS)")
        await self._keeping.host.hang_up(session)

    async def end(self, error: AetherError, patience_s: float = 0.0) -> None:
        """End all terminals with `error`, and the connections, whether the machine answers or not.

        Args:
            patience_s: how long to wait for the machine to close them itself, after the last output.
        """
        terminals = list(self._terminals)
        if terminals and patience_s:
            await asyncio.wait([terminal.over for terminal in terminals], timeout=patience_s)
        for terminal in terminals:
            terminal.end(error)
        await self.pool.close()
        for terminal in terminals:
            await terminal.wait_ended()  # no gather: a terminal that waits for itself must be able to see that
