"""stub (pure)"""

from dataclasses import dataclass


@dataclass
class SessionInfo:
    id: str
    command: str
    is_shell: bool
    cols: int
    rows: int
    created_at: float
    last_used_at: float
    is_attached: bool
