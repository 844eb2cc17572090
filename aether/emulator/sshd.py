"""OpenSSH's sshd as the SSH server of a machine under bubblewrap, whose one user it runs and lets in as.

The guest accepts and starts an `sshd -i` for each connection: it answers sooner than one that listens (it would execute
itself anew for each connection, too), and the port stays reserved. What is typed does not pass through us.
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

from aether.emulator.children import LAST_WORDS_S, NUDGE_S, Children

SHELL = "/run/aether/bash"  # what /etc/passwd must call coder's shell
_CONFIG_PATH = "/run/aether/sshd_config"
_HOST_KEY_PATH = "/etc/ssh/ssh_host_ed25519_key"
_BACKLOG = 128
_POLL_S = 0.01  # neither devpts nor proc tells of a change
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
Subsystem sftp internal-sftp
LogLevel ERROR
"""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_CLIENTS_OWN = re.compile(r"TERM|COLORTERM|LANG|LC_.*")


class Sshd:
    """The connections of one machine, an sshd each."""

    def __init__(self, program: str, children: Children, environment: Mapping[str, str]) -> None:
        self._program = program
        self._children = children
        self._environment = environment
        self._connections: set[int] = set()
        self._listener: socket.socket | None = None

    async def listen(self, listener: socket.socket) -> None:
        """Answer SSH on a bound socket."""
        _prepare(self._environment)
        self._listener = listener
        listener.setblocking(False)
        listener.listen(_BACKLOG)
        asyncio.get_running_loop().add_reader(listener, self._accept, listener)

    def _accept(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except OSError:  # gone already, or no descriptor is free now
            return
        with connection:
            connection.setblocking(True)
            fds = (connection.fileno(), connection.fileno(), 2)
            argv = [self._program, "-i", "-e", "-f", _CONFIG_PATH]
            pid = self._children.start(self._program, argv, {}, fds, False, lambda _: self._connections.discard(pid))
            self._connections.add(pid)

    async def stop(self, grace_s: float) -> None:
        """Accept no more, hang up every shell, give all time for their last words, end the connections."""
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + grace_s
        if self._listener is not None:
            loop.remove_reader(self._listener)
            self._listener.close()
        endings = {end_of(shell.pid): shell for shell in shells(processes())}
        for shell in endings.values():
            hang_up(shell)
        if endings:
            _, alive = await asyncio.wait(endings, timeout=min(NUDGE_S, grace_s))
            for ending in alive:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(endings[ending].pid, signal.SIGWINCH)
            ended, _ = await asyncio.wait(endings, timeout=max(ends_at - loop.time(), 0))
            await _until_read([endings[ending].terminal for ending in ended], loop.time() + LAST_WORDS_S)
        for pid in self._connections:
            os.kill(pid, signal.SIGTERM)  # sshd tells its own child
        await self._children.wait(max(ends_at - loop.time(), 0))


def shell_script(environment: Mapping[str, str]) -> str:
    """Write the program that sshd takes for the user's shell: it sets the variables and becomes the real shell.

    `SetEnv` in sshd's configuration could not: a value may have several lines, and a locale gives way to the client's.
    """
    lines = ["#!/bin/sh", "unset MAIL"]
    for name, value in environment.items():
        if _NAME.fullmatch(name) and "\0" not in value:  # others are none to a shell
            condition = f'[ "${{{name}+set}}" ] || ' if _CLIENTS_OWN.fullmatch(name) else ""
            lines.append(f"{condition}export {name}={shlex.quote(value)}")
    return "\n".join([*lines, "[ $# -gt 0 ] || set -- -l", f'exec {shlex.quote(environment["SHELL"])} "$@"', ""])


def _prepare(environment: Mapping[str, str]) -> None:
    """Write what sshd reads, in memory, and make sure of a host key that it does not think too public."""
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
    """Read the processes of the machine (proc(5), /proc/pid/stat)."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            head, _, tail = path.read_text(errors="replace").rpartition(")")
            pid, _, name = head.partition(" (")
            fields = tail.split()
            found[int(pid)] = Process(int(pid), name, fields[0] == "S", int(fields[1]), int(fields[4]), int(fields[5]))
    return found


def shells(processes: Mapping[int, Process]) -> Iterator[Process]:
    """Find what sshd started: children of an sshd (since OpenSSH 9.8, sshd-session) that are none themselves."""
    for process in processes.values():
        parent = processes.get(process.parent)
        if parent is not None and parent.name.startswith("sshd") and not process.name.startswith("sshd"):
            yield process


async def _until_read(terminals: list[int], ends_at: float) -> None:
    """Wait until sshd has read terminals empty, which it closes then, and has sent what it read."""
    paths = [Path(f"/dev/pts/{os.minor(terminal)}") for terminal in terminals if terminal]
    while any(path.exists() for path in paths) or _is_sending():
        if asyncio.get_running_loop().time() > ends_at:
            break
        await asyncio.sleep(_POLL_S)


def _is_sending() -> bool:
    """Say whether an sshd does something: one that has nothing to send sleeps, as one does that cannot."""
    return any(not process.is_asleep for process in processes().values() if process.name.startswith("sshd"))


def hang_up(shell: Process) -> None:
    """Tell a shell and the job in front that their line is gone."""
    for group in {shell.pid, shell.foreground} - {-1, 0}:
        for number in (signal.SIGHUP, signal.SIGCONT):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, number)


def end_of(pid: int) -> "asyncio.Future[None]":
    """Return a future of a process's end."""
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
