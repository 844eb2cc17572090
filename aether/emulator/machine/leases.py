"""A lease on a machine: its holder may change the machine, other clients get 409 until it expires (pure).

fly.io docs, Machines API: leases. The nonce is needed for the calls with which fly-go sends it: start, stop, update and
destroy; not for metadata, exec, signal and wait. A lease does not outlive the emulator.
"""

import secrets
from dataclasses import dataclass

from aether.emulator.errors import ApiError, Json
from aether.emulator.machine.record import rfc3339

OWNER = "emulator@tokens.fly.io"


@dataclass(frozen=True)
class Lease:
    """One lease."""

    nonce: str
    expires_at: float
    description: str
    version: str

    def view(self) -> Json:
        """Return it as the API shows it; the time is in whole seconds since the epoch."""
        return {
            "nonce": self.nonce,
            "expires_at": int(self.expires_at),
            "owner": OWNER,
            "description": self.description,
            "version": self.version,
        }


class CurrentLease:
    """The lease that a machine has, if any."""

    def __init__(self, machine_id: str) -> None:
        self._machine_id = machine_id
        self._lease: Lease | None = None

    def get(self, now: float) -> Lease | None:
        """Return the lease unless it has expired."""
        if self._lease is not None and self._lease.expires_at <= now:
            self._lease = None
        return self._lease

    def check(self, nonce: str | None, now: float) -> None:
        """Refuse a request without the nonce; the body has `message`, not `error` (community.fly.io 15555)."""
        lease = self.get(now)
        if lease is not None and nonce != lease.nonce:
            held = f"lease currently held by {OWNER}, expires at {rfc3339(lease.expires_at)}"
            text = f"machine ID {self._machine_id} {held}"
            raise ApiError(409, text, {"status": "error", "message": text})

    def acquire(self, ttl_s: int, description: str, version: str, nonce: str | None, now: float) -> Lease:
        """Grant a lease, or extend the one whose nonce was sent."""
        self.check(nonce, now)
        held = self.get(now)
        self._lease = Lease(held.nonce if held else secrets.token_hex(6), now + ttl_s, description, version)
        return self._lease

    def release(self, nonce: str | None, now: float) -> None:
        """End the lease, for which the nonce is needed."""
        if self.get(now) is None:
            raise ApiError(404, "not_found: lease not found")
        self.check(nonce, now)
        self._lease = None
