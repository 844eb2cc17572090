"""PtyHostFile: the program that keeps a machine's shells, under a name that tells its versions apart (pure)."""

import hashlib
from dataclasses import dataclass
from functools import cached_property

FOLDER = "/usr/local/lib/aether"


@dataclass(frozen=True)
class PtyHostFile:
    """`infra/images/base/pty_host.py`, as it is named on a machine."""

    source: bytes

    @cached_property
    def name(self) -> str:
        """The file's name, with the version in it: a machine may have several, and each goes on with its sessions."""
        return f"pty-host-{hashlib.sha256(self.source).hexdigest()[:8]}.py"

    @property
    def path(self) -> str:
        """Where it is on a machine that was created with it."""
        return f"{FOLDER}/{self.name}"
