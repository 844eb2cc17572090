"""A lease on a machine: who holds it may change the machine, others get 409 until it expires.

fly.io docs, Machines API: leases. Which calls need the nonce is what fly-go sends it with: start, stop, update and
destroy; metadata, exec, signal and wait do not. A lease lasts as long as the emulator at most.
"""

import secrets
from dataclasses import dataclass

from aether.emulator.record import Json, rfc3339
from aether.emulator.requests import ApiError

OWNER = "emulator@tokens.fly.io"


@dataclass(frozen=True)
class Lease:
    """One lease."""

    nonce: str
    expires_at: float
    description: str
    version: str

    def view(self) -> Json:
        """Answer it as the API shows it; the time is in whole seconds since the epoch."""
        return {
            "nonce": self.nonce,
            "expires_at": int(self.expires_at),
            "owner": OWNER,
            "description": self.description,
            "version": self.version,
        }


class Leasehold:
    """The lease a machine may have."""

    def __init__(self, machine_id: str) -> None:
        self._machine_id = machine_id
        self._lease: Lease | None = None

    def current(self, now: float) -> Lease | None:
        """Find the lease that is in force."""
        if self._lease is not None and self._lease.expires_at <= now:
            self._lease = None
        return self._lease

    def check(self, nonce: str | None, now: float) -> None:
        """Refuse who lacks the nonce; the body has `message`, not `error` (recorded, community.fly.io 15555)."""
        lease = self.current(now)
        if lease is not None and nonce != lease.nonce:
            held = f"lease currently held by {OWNER}, expires at {rfc3339(lease.expires_at)}"
            text = f"machine ID {self._machine_id} {held}"
            raise ApiError(409, text, {"status": "error", "message": text})

    def take(self, ttl_s: int, description: str, version: str, nonce: str | None, now: float) -> Lease:
        """Give a lease, or prolong the one whose nonce was sent."""
        self.check(nonce, now)
        held = self.current(now)
        self._lease = Lease(held.nonce if held else secrets.token_hex(6), now + ttl_s, description, version)
        return self._lease

    def release(self, nonce: str | None, now: float) -> None:
        """Give the lease back; who has no nonce cannot."""
        if self.current(now) is None:
            raise ApiError(404, "not_found: lease not found")
        self.check(nonce, now)
        self._lease = None
