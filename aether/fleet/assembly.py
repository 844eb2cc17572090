"""assemble: a fleet over Fly, and what keeps the two in step."""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import asyncssh

from aether.fleet.creation import MachineCreation
from aether.fleet.lifecycle import LAST_OUTPUT_S, MachineLifecycle
from aether.fleet.reconcile import Reconciler
from aether.fleet.registry import Fleet
from aether.fleet.tombstones import Tombstones
from aether.fly.operations import Operations
from aether.fly.template import MachineTemplate
from aether.machines import Machine
from aether.ssh.keys import secret_of
from aether.ssh.pool import ConnectionPool, Keepalive
from aether.terminals.keeping import Sessions


@dataclass(frozen=True)
class FleetOptions:
    """What may differ between two fleets.

    Attributes:
        region: where new machines go unless the caller says otherwise; empty: Fly chooses.
        max_machines, max_terminals: more are refused with LimitExceeded.
        last_output_s: how long a stopping machine has to close its terminals itself.
        keepalive: how a dead SSH connection is noticed.
        choose_port: picks one of the free SSH ports for a new machine.
        sessions: how shells outlive their connections; None: they do not.
    """

    region: str = ""
    max_machines: int = 50
    max_terminals: int = 1000
    last_output_s: float = LAST_OUTPUT_S
    keepalive: Keepalive = Keepalive()
    choose_port: Callable[[Sequence[int]], int] = random.choice
    sessions: Sessions | None = None


@dataclass(frozen=True)
class Assembly:
    """The parts that belong to one fleet."""

    fleet: Fleet
    reconciler: Reconciler
    tombstones: Tombstones


def assemble(
    operations: Operations,
    template: MachineTemplate,
    user_key: asyncssh.SSHKey,
    options: FleetOptions = FleetOptions(),
    clock: Callable[[], float] = time.time,
) -> Assembly:
    """Make a fleet of machines created from `template`, which `user_key` opens."""
    tombstones = Tombstones(clock)
    region, secret = options.region, secret_of(user_key)
    creation = MachineCreation(operations, template, region, secret, tombstones, clock, options.choose_port)

    def lifecycle(machine: Machine) -> MachineLifecycle:
        pool = _pool(template, user_key, options.keepalive, machine)
        return MachineLifecycle(machine, operations, pool, clock, options.last_output_s, options.sessions)

    fleet = Fleet(creation, lifecycle, tombstones, options.max_machines, options.max_terminals)
    reconciler = Reconciler(fleet, operations, creation, template.deployment, clock)
    return Assembly(fleet, reconciler, tombstones)


def _pool(
    template: MachineTemplate, user_key: asyncssh.SSHKey, keepalive: Keepalive, machine: Machine
) -> ConnectionPool:
    def address() -> tuple[str, int]:
        return template.network.address(machine)  # anew each time, as it changes when the machine moves

    return ConnectionPool(address, template.ssh_user, user_key, machine.host_public_key, keepalive)
