"""How a machine's process is started and killed: under bubblewrap where that works, else as a plain process.

Neither is a sandbox in the sense of keeping out malice: a machine shares the computer's network and reads its files.
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
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import BinaryIO

import psutil

from aether.emulator import bwrap
from aether.emulator.process import GuestProcess, open_line, until_readable
from aether.emulator.record import Json
from aether.emulator.requests import file_content
from aether.emulator.rootfs import BASH, HOME, Rootfs, Trash
from aether.emulator.sshd import SHELL as SSHD_SHELL

log = logging.getLogger(__name__)

_INHERITED = frozenset({"PATH", "LANG", "TZ"})  # a machine can read its guest's environment: no secret goes there
_SWEEPS = 20
_SWEEP_PAUSE_S = 0.02


class SandboxError(Exception):
    """A machine's process cannot be started; the message says why."""


class Sandbox:
    """How the machines of one emulator are run."""

    def __init__(
        self, state_dir: Path, program: str | None, hidden: Iterable[Path] = (), sshd: str | None = None
    ) -> None:
        self.is_contained = program is not None
        self._program = program
        self._sshd = sshd
        self._state_dir = state_dir
        self._hidden = [*hidden]

    @classmethod
    async def choose(cls, runtime: str, state_dir: Path, hidden: Iterable[Path] = ()) -> "Sandbox":
        """Pick the runtime: "auto" tries bubblewrap and falls back; "bwrap" and "sshd" insist; it hides `hidden`."""
        sshd = _find_sshd() if runtime == "sshd" else None
        program = shutil.which("bwrap") if runtime != "plain" and sys.platform == "linux" else None
        if program is not None:
            probe = Rootfs(state_dir / "probe")
            if not await bwrap.works(program, probe, state_dir):
                program = None
            await Trash(state_dir / "trash").throw(probe.path)
        if program is None and runtime == "bwrap":
            raise SandboxError("bubblewrap (bwrap) does not work here; use the runtime 'plain' or 'auto'")
        if program is None and runtime == "sshd":
            text = "the runtime 'sshd' needs bubblewrap, which is not installed or does not work here"
            raise SandboxError(f"{text}; apt-get install bubblewrap, or use the runtime 'plain' or 'auto'")
        return cls(state_dir, program, hidden, sshd)

    async def boot(
        self, rootfs: Rootfs, listener: socket.socket | None, environment: Mapping[str, str], config: Json
    ) -> GuestProcess:
        """Write the machine's files and start its guest, which will answer SSH on the bound socket `listener`."""
        rootfs.prepare(shell=BASH if self._sshd is None else SSHD_SHELL)
        files = config.get("files", [])
        for file in files:
            rootfs.write(file["guest_path"].lstrip("/"), file_content(file), file.get("mode", 0o644))
        return await self._start(rootfs, listener, environment, [file["guest_path"] for file in files])

    async def _start(
        self, rootfs: Rootfs, listener: socket.socket | None, environment: Mapping[str, str], paths: Iterable[str]
    ) -> GuestProcess:
        inherited = [] if listener is None else [listener.fileno()]
        root = "/" if self.is_contained else str(rootfs.path)
        guest = [sys.executable, "-P", "-s", "-m", "aether.emulator.guest", "--root", root]
        guest += [f"--listen-fd={fd}" for fd in inherited]
        guest += [] if self._sshd is None else [f"--sshd={self._sshd}"]
        theirs, line = await open_line()
        with theirs:
            try:
                if self._program is None:
                    process, namespace = await self._spawn(rootfs, guest, environment, theirs, inherited), None
                else:
                    options = bwrap.arguments(rootfs, self._state_dir, paths, self._hidden)
                    process, namespace = await self._wrap(options, rootfs, guest, environment, theirs, inherited)
            except BaseException:
                line[1].close()
                raise
        return GuestProcess(process, namespace, line)

    async def _wrap(
        self,
        options: list[str],
        rootfs: Rootfs,
        guest: list[str],
        environment: Mapping[str, str],
        stdin: socket.socket,
        fds: list[int],
    ) -> tuple[asyncio.subprocess.Process, int | None]:
        """Start a guest under bubblewrap, and open a handle on its PID namespace."""
        assert self._program is not None
        reader, writer = os.pipe()
        try:
            argv = [self._program, "--info-fd", str(writer), *options, *guest]
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

    async def sweep(self, machine_id: str) -> None:
        """Kill whatever has the machine's id in its environment.

        A PID namespace needs none of this, save where bubblewrap itself was killed before it had made one.
        """
        await asyncio.to_thread(_sweep, machine_id)

    async def remove(self, machine_id: str) -> None:
        """Nothing is anywhere else."""


def _find_sshd() -> str:
    """Find sshd, which is started by its whole path and is on few users' own."""
    path = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/sbin")
    if path is None or sys.platform != "linux":
        text = "the runtime 'sshd' needs Linux and OpenSSH's server"
        raise SandboxError(f"{text}; apt-get install openssh-server, or use the runtime 'auto'")
    return str(Path(path).absolute())


def _console(path: Path) -> BinaryIO:
    """Open the guest's log, empty at each boot."""
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    return path.open("wb")


def _environment(machine: Mapping[str, str]) -> dict[str, str]:
    """Build the guest's own environment: the server's without its secrets, and what the guest hands to shells."""
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
    """Open a pidfd of the namespace's first process; its end is the end of all others (pid_namespaces(7))."""
    information = b""
    while chunk := await _read(reader):
        information += chunk
    try:
        return os.pidfd_open(json.loads(information)["child-pid"])
    except (ValueError, ProcessLookupError):  # bubblewrap failed, or the machine is gone already
        return None


def _sweep(machine_id: str) -> None:
    for _ in range(_SWEEPS):
        left = [p for p in psutil.process_iter() if _belongs(p, machine_id)]
        if not left:
            break
        log.info("machine %s: killing %d processes it left behind", machine_id, len(left))
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                process.send_signal(signal.SIGKILL)
        time.sleep(_SWEEP_PAUSE_S)  # and not psutil's wait, which would reap a child of somebody else's


def _belongs(process: psutil.Process, machine_id: str) -> bool:
    try:
        is_alive = bool(process.status() != psutil.STATUS_ZOMBIE)
        return is_alive and bool(process.environ().get("FLY_MACHINE_ID") == machine_id)
    except (psutil.Error, OSError):
        return False
