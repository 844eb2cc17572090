"""OpenSSH's sshd as the SSH server of a machine under bubblewrap; it runs and logs in as the machine's one user.

The supervisor accepts and starts an `sshd -i` for each connection: that answers sooner than an sshd that listens (which
executes itself again for each connection, too), and the port stays bound. Data do not pass through the supervisor.
"""

import asyncio
import contextlib
import os
import re
import shlex
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from aether.emulator.guest.children import DRAIN_S, WAKE_AFTER_S, Children

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
        endings = {end_of(shell.pid): shell for shell in shells(processes())}
        for shell in endings.values():
            hang_up(shell)
        if endings:
            _, alive = await asyncio.wait(endings, timeout=min(WAKE_AFTER_S, grace_s))
            for ending in alive:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(endings[ending].pid, signal.SIGWINCH)
            ended, _ = await asyncio.wait(endings, timeout=max(ends_at - loop.time(), 0))
            await _until_drained([endings[ending].terminal for ending in ended], loop.time() + DRAIN_S)
        for pid in self._connections:
            os.kill(pid, signal.SIGTERM)  # which sshd passes on to its child
        await self._children.wait(max(ends_at - loop.time(), 0))


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


class Process(NamedTuple):
    """One line of the process table."""

    pid: int
    name: str
    is_asleep: bool
    parent: int
    terminal: int  # its device number, 0 without one
    foreground: int  # process group of its terminal, -1 without one


def processes() -> dict[int, Process]:
    """Read the process table of the machine (proc(5), /proc/pid/stat)."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            head, _, tail = path.read_text(errors="replace").rpartition(")")
            pid, _, name = head.partition(" (")
            fields = tail.split()
            found[int(pid)] = Process(int(pid), name, fields[0] == "S", int(fields[1]), int(fields[4]), int(fields[5]))
    return found


def shells(processes: Mapping[int, Process]) -> Iterator[Process]:
    """Find what sshd started: children of an sshd (since OpenSSH 9.8, sshd-session) that are not sshd themselves."""
    for process in processes.values():
        parent = processes.get(process.parent)
        if parent is not None and parent.name.startswith("sshd") and not process.name.startswith("sshd"):
            yield process


async def _until_drained(terminals: list[int], ends_at: float) -> None:
    """Wait until sshd has read all output of the terminals, which it then closes, and has sent it."""
    paths = [Path(f"/dev/pts/{os.minor(terminal)}") for terminal in terminals if terminal]
    while any(path.exists() for path in paths) or _is_sending():
        if asyncio.get_running_loop().time() > ends_at:
            break
        await asyncio.sleep(_POLL_S)


def _is_sending() -> bool:
    """Whether any sshd is busy: one that has nothing to send sleeps, and so does one that cannot send."""
    return any(not process.is_asleep for process in processes().values() if process.name.startswith("sshd"))


def hang_up(shell: Process) -> None:
    """Send SIGHUP to a shell and the foreground job of its terminal."""
    for group in {shell.pid, shell.foreground} - {-1, 0}:
        for number in (signal.SIGHUP, signal.SIGCONT):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, number)


def end_of(pid: int) -> "asyncio.Future[None]":
    """Return a future that is done when the process has ended."""
    loop = asyncio.get_running_loop()
    end: asyncio.Future[None] = loop.create_future()
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        end.set_result(None)
        return end

    def done(_: "asyncio.Future[None]") -> None:
        loop.remove_reader(fd)
        os.close(fd)

    loop.add_reader(fd, end.set_result, None)
    end.add_done_callback(done)
    return end
