"""MachineTerminals: the terminals of one machine, over its SSH connections."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator

from aether.errors import AetherError
from aether.messages import TerminalQuery
from aether.ssh.pool import ConnectionPool
from aether.terminals.attachment import Client
from aether.terminals.flow import TypingPriority
from aether.terminals.terminal import Terminal, TerminalMachine


class MachineTerminals:
    """Opens and ends the terminals of one machine.

    Args:
        machine: whose terminals they are.
        pool: its SSH connections.
        pause: how a terminal waits between two questions to the provider.
    """

    def __init__(
        self,
        machine: TerminalMachine,
        pool: ConnectionPool,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._machine = machine
        self.pool = pool
        self._pause = pause
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
        forget = self._terminals.discard
        terminal = Terminal(client, query, self._machine, self.pool, self._priority, forget, self._pause)
        self._terminals.add(terminal)
        terminal.open()
        return terminal

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
