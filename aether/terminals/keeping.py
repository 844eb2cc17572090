"""Keeping: how shells outlive the connections that they are used over."""

from dataclasses import dataclass

from aether.host_file import PtyHostFile
from aether.ssh.pool import ConnectionPool
from aether.terminals.pty_host import PtyHost


@dataclass(frozen=True)
class SessionPolicy:
    """What holds for a session without a client.

    Attributes:
        grace_s: how long its program waits for a client once the log is full.
        max_detached: how many of them a machine may have.
    """

    grace_s: float = 60.0
    max_detached: int = 16


@dataclass(frozen=True)
class Keeping:
    """How the sessions of one machine are kept: the way to its PTY host, and what holds without a client."""

    host: PtyHost
    policy: SessionPolicy


@dataclass(frozen=True)
class Sessions:
    """How a server's sessions are kept: the PTY host's program, and what holds without a client."""

    file: PtyHostFile
    policy: SessionPolicy

    def of(self, pool: ConnectionPool) -> Keeping:
        """Return how those of the machine are kept that `pool` connects to."""
        return Keeping(PtyHost(pool, self.file), self.policy)
