"""Machines as processes: in namespaces that bubblewrap makes where that works, else ordinary ones.

Neither is a security sandbox: a machine shares the computer's network and reads its files.
"""

import asyncio
import contextlib
import json
import logging
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import BinaryIO

import psutil

from aether.emulator.config import file_content
from aether.emulator.errors import Json, RuntimeUnavailable
from aether.emulator.guest.openssh import SHELL as SSHD_SHELL
from aether.emulator.runtimes import bwrap
from aether.emulator.runtimes.base import BWRAP, PLAIN, SSHD, Isolation
from aether.emulator.runtimes.rootfs import BASH, HOME, Rootfs, Trash
from aether.emulator.runtimes.supervisor_process import SupervisorProcess, open_control, until_readable

log = logging.getLogger(__name__)

_INHERITED = frozenset({"PATH", "LANG", "TZ"})  # no secret: a machine can read its supervisor's environment
_KILL_ROUNDS = 20
_KILL_PAUSE_S = 0.02


class ProcessRuntime:
    """Runs the machines of one emulator as processes.

    Args:
        bubblewrap: the program that puts them in namespaces, if any.
        hidden: directories and files that a machine in namespaces does not see.
        sshd: OpenSSH's server, if it is used instead of the built-in one.
        python: the interpreter of the supervisors.
    """

    def __init__(
        self,
        state_dir: Path,
        bubblewrap: str | None,
        hidden: Iterable[Path] = (),
        sshd: str | None = None,
        python: str = sys.executable,
    ) -> None:
        self.isolation = Isolation.NONE if bubblewrap is None else Isolation.NAMESPACES
        self._bubblewrap = bubblewrap
        self._sshd = sshd
        self._python = python
        self._state_dir = state_dir
        self._hidden = [*hidden]

    @classmethod
    async def choose(
        cls,
        name: str,
        state_dir: Path,
        hidden: Iterable[Path] = (),
        python: str = sys.executable,
        which: Callable[..., str | None] = shutil.which,
    ) -> "ProcessRuntime":
        """Create the runtime: "auto" uses bubblewrap where it works, "bwrap" and "sshd" need it, "plain" does not."""
        sshd = _find_sshd(which) if name == SSHD else None
        bubblewrap = which("bwrap") if name != PLAIN and sys.platform == "linux" else None
        if bubblewrap is not None and not await _works(bubblewrap, state_dir):
            bubblewrap = None
        if bubblewrap is None and name == BWRAP:
            raise RuntimeUnavailable("bubblewrap (bwrap) does not work here; use the runtime 'plain' or 'auto'")
        if bubblewrap is None and name == SSHD:
            text = "the runtime 'sshd' needs bubblewrap, which is not installed or does not work here"
            raise RuntimeUnavailable(f"{text}; apt-get install bubblewrap, or use the runtime 'plain' or 'auto'")
        return cls(state_dir, bubblewrap, hidden, sshd, python)

    async def boot(
        self, rootfs: Rootfs, listener: socket.socket | None, environment: Mapping[str, str], config: Json
    ) -> SupervisorProcess:
        """Write the machine's files and start its supervisor, which will serve SSH on the bound socket `listener`."""
        rootfs.prepare(shell=BASH if self._sshd is None else SSHD_SHELL)
        files = config.get("files", [])
        for file in files:
            rootfs.write(file["guest_path"].lstrip("/"), file_content(file), file.get("mode", 0o644))
        return await self._start(rootfs, listener, environment, [file["guest_path"] for file in files])

    async def _start(
        self, rootfs: Rootfs, listener: socket.socket | None, environment: Mapping[str, str], paths: Iterable[str]
    ) -> SupervisorProcess:
        inherited = [] if listener is None else [listener.fileno()]
        command = self._command(rootfs, inherited)
        theirs, control = await open_control()
        with theirs:
            try:
                if self._bubblewrap is None:
                    process, namespace = await self._spawn(rootfs, command, environment, theirs, inherited), None
                else:
                    options = bwrap.arguments(rootfs, self._state_dir, paths, self._hidden)
                    argv = [self._bubblewrap, *options, *command]
                    process, namespace = await self._spawn_in_namespace(rootfs, argv, environment, theirs, inherited)
            except BaseException:
                control[1].close()
                raise
        return SupervisorProcess(process, namespace, control)

    def _command(self, rootfs: Rootfs, inherited: Iterable[int]) -> list[str]:
        """Build the command line of a supervisor."""
        root = str(rootfs.path) if self._bubblewrap is None else "/"
        command = [self._python, "-P", "-s", "-m", "aether.emulator.guest.supervisor", "--root", root]
        command += [f"--listen-fd={fd}" for fd in inherited]
        return command if self._sshd is None else [*command, f"--sshd={self._sshd}"]

    async def _spawn_in_namespace(
        self, rootfs: Rootfs, argv: list[str], environment: Mapping[str, str], stdin: socket.socket, fds: list[int]
    ) -> tuple[asyncio.subprocess.Process, int | None]:
        """Start bubblewrap, and open a pidfd of the first process of the PID namespace that it makes."""
        reader, writer = os.pipe()
        try:
            argv = [argv[0], "--info-fd", str(writer), *argv[1:]]
            process = await self._spawn(rootfs, argv, environment, stdin, [*fds, writer])
            os.close(writer)
            writer = -1
            return process, await _namespace(reader)
        finally:
            os.close(reader)
            if writer >= 0:
                os.close(writer)

    async def _spawn(
        self, rootfs: Rootfs, argv: list[str], environment: Mapping[str, str], stdin: socket.socket, fds: list[int]
    ) -> asyncio.subprocess.Process:
        with _console(rootfs.path.parent / "console.log") as console:
            return await asyncio.create_subprocess_exec(
                *argv,
                env=_environment(environment),
                cwd=rootfs.path / HOME,
                stdin=stdin.fileno(),
                stdout=console,
                stderr=console,
                pass_fds=fds,
                start_new_session=True,
            )

    async def kill_leftovers(self, machine_id: str) -> None:
        """Kill every process that has the machine's id in its environment.

        A PID namespace ends with its first process; this is for machines without one, and for a bubblewrap that was
        killed before it had made one.
        """
        await asyncio.to_thread(_kill_leftovers, machine_id)

    async def remove(self, machine_id: str) -> None:
        """Do nothing: it has nothing outside of its directory."""


def _find_sshd(which: Callable[..., str | None]) -> str:
    """Find sshd, which has to be started by its absolute path, and is not on the PATH of most users."""
    path = which("sshd") or which("sshd", path="/usr/sbin:/usr/local/sbin:/sbin")
    if path is None or sys.platform != "linux":
        text = "the runtime 'sshd' needs Linux and OpenSSH's server"
        raise RuntimeUnavailable(f"{text}; apt-get install openssh-server, or use the runtime 'auto'")
    return str(Path(path).absolute())


async def _works(bubblewrap: str, state_dir: Path) -> bool:
    probe = Rootfs(state_dir / "probe")
    works = await bwrap.works(bubblewrap, probe, state_dir)
    await Trash(state_dir / "trash").delete(probe.path)
    return works


def _console(path: Path) -> BinaryIO:
    """Open the supervisor's log, empty at each boot."""
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    return path.open("wb")


def _environment(machine: Mapping[str, str]) -> dict[str, str]:
    """Build the supervisor's environment: the server's without its secrets, and the variables of the machine."""
    inherited = {k: v for k, v in os.environ.items() if k in _INHERITED or k.startswith(("LC_", "COVERAGE_"))}
    packages = [p for p in sys.path if p.endswith(("site-packages", "dist-packages"))]
    return {
        **inherited,
        "FLY_MACHINE_ID": machine["FLY_MACHINE_ID"],
        "AETHER_GUEST_ENV": json.dumps(dict(machine)),
        "PYTHONPATH": os.pathsep.join([str(bwrap.PACKAGE.parent), *packages]),
    }


async def _read(fd: int) -> bytes:
    await until_readable(fd)
    return os.read(fd, 4096)


async def _namespace(reader: int) -> int | None:
    """Open a pidfd of the namespace's first process, with which all others end (pid_namespaces(7))."""
    information = b""
    while chunk := await _read(reader):
        information += chunk
    try:
        return os.pidfd_open(json.loads(information)["child-pid"])
    except (ValueError, ProcessLookupError):  # bubblewrap failed, or the machine has already ended
        return None


def _kill_leftovers(machine_id: str) -> None:
    for _ in range(_KILL_ROUNDS):
        left = [p for p in psutil.process_iter() if _belongs(p, machine_id)]
        if not left:
            break
        log.info("machine %s: killing %d processes that it left behind", machine_id, len(left))
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                process.send_signal(signal.SIGKILL)
        time.sleep(_KILL_PAUSE_S)  # not psutil's wait, which might reap a child that asyncio waits for


def _belongs(process: psutil.Process, machine_id: str) -> bool:
    try:
        is_alive = bool(process.status() != psutil.STATUS_ZOMBIE)
        return is_alive and bool(process.environ().get("FLY_MACHINE_ID") == machine_id)
    except (psutil.Error, OSError):
        return False
