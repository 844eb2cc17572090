"""What is unknown about Fly or differs between its generations, and how slow the emulated one is (pure)."""

from dataclasses import dataclass, fields
from typing import Any, Literal


@dataclass
class Options:
    """How an emulator behaves; the defaults are the fastest and, where Fly is documented, its present behaviour.

    Most may be changed while it runs.

    Attributes:
        pull_delay_s: how long a new machine stays `created` (0; on Fly about 6 s, 70 s on a cold host).
        boot_delay_s: how long each boot stays `starting` (0; on Fly about 0.3 s).
        sshd_delay_s: how much later than `started` SSH is answered (0; on Fly 0.1 s to seconds).
        stop_delay_s: how long a machine whose process has ended stays `stopping` (0; on Fly about 1 s).
        destroy_delay_s: how long a machine stays `destroying` (0).
        replace_delay_s: how long an update stays `replacing` (0; on Fly some seconds).
        still_active_s: for how long after a stop a start is 412 "machine still active" (0; on Fly up to 8 s).
        rate_limit: hold clients to Fly's limits, 429 above them (off).
        retry_after: send `Retry-After` with a 429 (on; not established).
        stop_on_stopped: the status of stopping a stopped machine, 200 (default) or 409 (documented in 2022).
        start_on_started: the status of starting a started machine, 200 (default; not established) or 412.
        persist_restart: `rootfs.persist: "restart"` survives a stop by the API (off; not established).
        lease_body: a lease is answered "wrapped" in status and data (default, as documented) or "flat" (OpenAPI).
        wait_needs_instance_id: waiting for `stopped` without one is 400 (off; on until early 2026).
        shared_ports: machines may have one external port, as on Fly, which spreads connections over those that run
            (off: 409, because SSH could then reach another user's machine).
        purge_destroyed: a destroyed machine is 404 (off: 200, as recorded; Fly forgets it after a while).
    """

    pull_delay_s: float = 0.0
    boot_delay_s: float = 0.0
    sshd_delay_s: float = 0.0
    stop_delay_s: float = 0.0
    destroy_delay_s: float = 0.0
    replace_delay_s: float = 0.0
    still_active_s: float = 0.0
    rate_limit: bool = False
    retry_after: bool = True
    stop_on_stopped: Literal[200, 409] = 200
    start_on_started: Literal[200, 412] = 200
    persist_restart: bool = False
    lease_body: Literal["wrapped", "flat"] = "wrapped"
    wait_needs_instance_id: bool = False
    shared_ports: bool = False
    purge_destroyed: bool = False

    def __post_init__(self) -> None:
        """Refuse values that no emulator can have."""
        allowed: dict[str, tuple[Any, ...]] = {
            "stop_on_stopped": (200, 409),
            "start_on_started": (200, 412),
            "lease_body": ("wrapped", "flat"),
        }
        for name, values in allowed.items():
            if getattr(self, name) not in values:
                raise ValueError(f"{name} must be one of {', '.join(map(str, values))}")
        for field in fields(self):
            if field.name.endswith("_s") and not getattr(self, field.name) >= 0:
                raise ValueError(f"{field.name} must not be negative")
