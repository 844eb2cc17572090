"""OpenSSH's sshd as the SSH server of a machine under bubblewrap; it runs and logs in as the machine's one user.

The supervisor accepts and starts an `sshd -i` for each connection: that answers sooner than an sshd that listens (which
executes itself again for each connection, too), and the port stays bound. Data do not pass through the supervisor.
"""

import asyncio
import os
import re
import shlex
import signal
import socket
import subprocess
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

from aether.emulator.guest.children import DRAIN_S, WAKE_AFTER_S, Children
from aether.emulator.guest.process_table import Process, end_of, hang_up, leaders, processes, serve_clients, wake

SHELL = "/run/aether/bash"  # what /etc/passwd must call coder's shell
_CONFIG_PATH = "/run/aether/sshd_config"
_HOST_KEY_PATH = "/etc/ssh/ssh_host_ed25519_key"
_BACKLOG = 128
_POLL_S = 0.01  # neither devpts nor proc reports changes
# AllowTcpForwarding and PermitOpen hold for Unix sockets, too (OpenSSH's channels.c, channel_connect_to_path), and no
# pattern is for these only. So this lists what the PTY host calls its sockets (infra/images/base/pty_host.py).
_SOCKETS = " ".join(f"[/tmp/aether-1000-0f1ba701/{number}]:*" for number in range(10))
_CONFIG = f"""\
HostKey {_HOST_KEY_PATH}
AuthorizedKeysFile /etc/ssh/authorized_keys.d/%u .ssh/authorized_keys
AuthenticationMethods publickey
PasswordAuthentication no
KbdInteractiveAuthentication no
AllowUsers coder
UsePAM no
StrictModes no
UseDNS no
PrintMotd no
PrintLastLog no
PidFile none
Compression no
TCPKeepAlive yes
ClientAliveInterval 15
MaxSessions 64
AcceptEnv LANG LC_* COLORTERM
PermitUserEnvironment no
AllowStreamLocalForwarding local
StreamLocalBindUnlink no
AllowTcpForwarding local
PermitOpen {_SOCKETS}
PermitListen none
GatewayPorts no
AllowAgentForwarding no
X11Forwarding no
PermitTunnel no
Subsystem sftp internal-sftp
LogLevel ERROR
"""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_FROM_CLIENT = re.compile(r"TERM|COLORTERM|LANG|LC_.*")


class OpenSshServer:
    """The connections of one machine, an sshd each."""

    def __init__(self, program: str, children: Children, environment: Mapping[str, str]) -> None:
        self._program = program
        self._children = children
        self._environment = environment
        self._connections: set[int] = set()
        self._listener: socket.socket | None = None

    async def listen(self, listener: socket.socket) -> None:
        """Serve SSH on a bound socket."""
        _prepare(self._environment)
        self._listener = listener
        listener.setblocking(False)
        listener.listen(_BACKLOG)
        asyncio.get_running_loop().add_reader(listener, self._accept, listener)

    def _accept(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except OSError:  # the client has disconnected, or no descriptor is free
            return
        with connection:
            connection.setblocking(True)
            fds = (connection.fileno(), connection.fileno(), 2)
            argv = [self._program, "-i", "-e", "-f", _CONFIG_PATH]
            pid = self._children.start(self._program, argv, {}, fds, False, lambda _: self._connections.discard(pid))
            self._connections.add(pid)

    async def stop(self, grace_s: float) -> None:
        """Stop accepting, send SIGHUP to every shell, let the rest of their output be sent, end the connections."""
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + grace_s
        if self._listener is not None:
            loop.remove_reader(self._listener)
            self._listener.close()
        await self._hang_up(ends_at, grace_s)
        for pid in self._connections:
            os.kill(pid, signal.SIGTERM)  # which sshd passes on to its child
        await self._children.wait(max(ends_at - loop.time(), 0))

    async def _hang_up(self, ends_at: float, grace_s: float) -> None:
        """Hang up all shells, give them time, and wait for their last output; PTY hosts send theirs through sshd."""
        loop = asyncio.get_running_loop()
        table = processes()
        endings = {end_of(shell.pid): shell for shell in shells(table)}
        for shell in endings.values():
            hang_up(shell)
        if not endings:
            return
        _, alive = await asyncio.wait(endings, timeout=min(WAKE_AFTER_S, grace_s))
        for ending in alive:
            wake(endings[ending])
        done, _ = await asyncio.wait(endings, timeout=max(ends_at - loop.time(), 0))
        ended = [endings[ending] for ending in done]
        hosts = {shell.parent for shell in ended if not _is_of_sshd(shell, table)}
        await _until_drained(ended, hosts, loop.time() + DRAIN_S)


def shell_script(environment: Mapping[str, str]) -> str:
    """Build the script that is the user's shell to sshd: it sets the variables and executes the real shell.

    `SetEnv` in sshd's configuration would not do: a value may have several lines, and the client's locale has priority.
    """
    lines = ["#!/bin/sh", "unset MAIL"]
    for name, value in environment.items():
        if _NAME.fullmatch(name) and "\0" not in value:  # other names cannot be variables of a shell
            condition = f'[ "${{{name}+set}}" ] || ' if _FROM_CLIENT.fullmatch(name) else ""
            lines.append(f"{condition}export {name}={shlex.quote(value)}")
    return "\n".join([*lines, "[ $# -gt 0 ] || set -- -l", f'exec {shlex.quote(environment["SHELL"])} "$@"', ""])


def _prepare(environment: Mapping[str, str]) -> None:
    """Write what sshd reads, in memory, and ensure that there is a host key whose mode it accepts."""
    key = Path(_HOST_KEY_PATH)
    if not key.exists():
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", key], check=True)
    key.chmod(0o600)
    Path(_CONFIG_PATH).parent.mkdir(exist_ok=True)
    Path(_CONFIG_PATH).write_text(_CONFIG)
    Path(SHELL).touch(mode=0o700)
    Path(SHELL).write_bytes(shell_script(environment).encode(errors="surrogateescape"))


def shells(table: Mapping[int, Process]) -> Iterator[Process]:
    """Find what sshd started (since OpenSSH 9.8, sshd-session does), and who else leads the session of a terminal."""
    found = {process.pid for process in leaders(table)}
    for process in table.values():
        if process.pid in found or (_is_of_sshd(process, table) and not process.name.startswith("sshd")):
            yield process


def _is_of_sshd(process: Process, table: Mapping[int, Process]) -> bool:
    parent = table.get(process.parent)
    return parent is not None and parent.name.startswith("sshd")


async def _until_drained(ended: Iterable[Process], hosts: Collection[int], ends_at: float) -> None:
    """Wait until who has the other end of the shells' terminals has read all output and closed them, and it is sent.

    Args:
        hosts: those that are not sshd: they send through it, and close their connections after the last byte.
    """
    paths = [Path(f"/dev/pts/{os.minor(shell.terminal)}") for shell in ended if shell.terminal]
    while any(path.exists() for path in paths) or serve_clients(hosts) or _is_sending(hosts):
        if asyncio.get_running_loop().time() > ends_at:
            break
        await asyncio.sleep(_POLL_S)


def _is_sending(hosts: Collection[int]) -> bool:
    """Whether any sshd is busy: one that has nothing to send sleeps, and so does one that cannot send."""
    senders = [p for p in processes().values() if p.name.startswith("sshd") or p.pid in hosts]
    return any(not process.is_asleep for process in senders)
