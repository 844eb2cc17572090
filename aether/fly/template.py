"""MachineTemplate: the config aether's machines are created with at Fly, and where their SSH servers are.

Sources: Fly docs "Machines API, Machine config object", "Public network services" and "Private networking".
"""

import base64
from dataclasses import dataclass
from typing import Any

from aether.host_file import PtyHostFile
from aether.machines import SSH_PORTS, Machine

SSHD_PORT = 2222  # Fly's own SSH server holds 22 on the private network
HOST_KEY_PATH = "/etc/ssh/ssh_host_ed25519_key"
STOP_TIMEOUT = "10s"
CONFIRMED = "no"  # the value of META_PENDING once the caller was told of the machine

# Metadata keys must not begin with `fly`; these are ours.
META_ID = "aether_id"
META_DEPLOYMENT = "aether_deployment"
META_NAME = "aether_name"
META_SSH_PORT = "aether_ssh_port"
META_HOST_KEY = "aether_host_key"
META_PENDING = "aether_pending"  # a seal from the creation until the caller is told of the machine, then CONFIRMED
META_LAST_ACTIVITY = "aether_last_activity"  # seconds since the epoch; set while the machine is used


@dataclass(frozen=True)
class SshNetwork:
    """How machines are reached: `public` by a port of their own on `host`, `private` by their 6PN address."""

    kind: str
    host: str
    ports: range = SSH_PORTS  # new machines get one of these

    def services(self, ssh_port: int) -> list[dict[str, Any]]:
        """Return the machine's `services`; a shared external port would be load-balanced to other machines."""
        if self.kind == "private":
            return []
        return [
            {
                "protocol": "tcp",
                "internal_port": SSHD_PORT,
                "ports": [{"port": ssh_port}],
                "autostart": False,
                "autostop": "off",
            }
        ]

    def address(self, machine: Machine) -> tuple[str, int]:
        """Return host and port of the machine's SSH server."""
        if self.kind == "private":
            return machine.private_ip, SSHD_PORT
        return self.host, machine.ssh_port


@dataclass(frozen=True)
class MachineTemplate:
    """What all machines of a deployment have in common."""

    deployment: str
    image: str
    rootfs_gb: int
    ssh_user: str
    user_public_key: str
    network: SshNetwork
    pty_host: PtyHostFile | None = None  # what machines get when they are created, if they keep sessions

    def config(self, machine: Machine, host_private_key: str) -> dict[str, Any]:
        """Return the `config` of a create call.

        `rootfs.persist` keeps the user's files over a stop: a plain root file system is wiped by it.
        `restart.policy` "no" lets a stop be a stop.
        """
        size = machine.size
        return {
            "image": machine.image,
            "guest": {"cpu_kind": size.cpu_kind, "cpus": size.cpus, "memory_mb": size.memory_mb},
            "services": self.network.services(machine.ssh_port),
            "files": self._files(host_private_key),
            "rootfs": {"persist": "always", "size_gb": self.rootfs_gb},
            "restart": {"policy": "no"},
            "stop_config": {"signal": "SIGTERM", "timeout": STOP_TIMEOUT},
            "metadata": self.metadata(machine),
        }

    def metadata(self, machine: Machine) -> dict[str, str]:
        """Return what another server needs in order to adopt this machine."""
        return {
            META_ID: machine.id,
            META_DEPLOYMENT: self.deployment,
            META_NAME: machine.name,
            META_SSH_PORT: str(machine.ssh_port),
            META_HOST_KEY: machine.host_public_key,
        }

    def _files(self, host_private_key: str) -> list[dict[str, Any]]:
        files = [
            _file(HOST_KEY_PATH, host_private_key, 0o600),
            _file(f"/etc/ssh/authorized_keys.d/{self.ssh_user}", self.user_public_key, 0o644),
        ]
        if self.pty_host:
            files.append(_file(self.pty_host.path, self.pty_host.source.decode(), 0o644))
        return files


def fly_name(machine: Machine) -> str:
    """Return the machine's name at Fly: readable, and unique because of the id in it."""
    short = machine.id[:8]
    return machine.name if machine.name.endswith(short) else f"{machine.name}-{short}"


def _file(guest_path: str, text: str, mode: int) -> dict[str, Any]:
    raw = base64.b64encode(text.encode()).decode()
    return {"guest_path": guest_path, "raw_value": raw, "mode": mode}
