"""SessionInfo: what a list of a machine's sessions says of one."""

from dataclasses import dataclass
from typing import Any

from aether.machines import iso_utc


@dataclass(frozen=True)
class SessionInfo:
    """One running session. Times are seconds since the epoch, by the machine's clock.

    `command` is what runs in front, the shell itself if `is_shell`; `is_attached`: a client has it open.
    """

    id: str
    command: str
    is_shell: bool
    cols: int
    rows: int
    created_at: float
    last_used_at: float
    is_attached: bool

    def to_json(self) -> dict[str, Any]:
        """Return the public form; keys and their meaning are the README's."""
        return {**vars(self), "created_at": iso_utc(self.created_at), "last_used_at": iso_utc(self.last_used_at)}
