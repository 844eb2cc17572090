"""A container engine's command line, podman's or docker's: what both understand."""

import asyncio
import contextlib
import io
import os
import tarfile
import time
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

_HOME = "home/coder"
_USER_ID = 1000
# How to copy so that files have the owners that the archive says. For podman `archive` means the opposite.
_COPY = {"docker": ("--archive",), "podman": ("--archive=false", "--overwrite")}
_OURS = ("FLY_", "AETHER_")  # the server's own settings, its secrets among them


class EngineError(Exception):
    """A command failed; the message is the last line of what it said."""


class Engine:
    """One engine's program."""

    def __init__(self, program: str) -> None:
        self.program = program

    async def call(self, *arguments: str, stdin: bytes = b"") -> str:
        """Run a command and answer what it printed, without the line end; EngineError."""
        process = await self.open(*arguments)
        out, err = await _communicate(process, stdin)
        if process.returncode:
            lines = err.decode(errors="replace").strip().splitlines()
            raise EngineError(lines[-1] if lines else f"{arguments[0]} ended with status {process.returncode}")
        return out.decode(errors="replace").rstrip("\n")

    async def run(self, *arguments: str, stdin: bytes = b"") -> tuple[int, bytes, bytes]:
        """Run a command and answer its exit status, output and errors; whoever is cancelled meanwhile kills it."""
        process = await self.open(*arguments)
        out, err = await _communicate(process, stdin)
        return process.returncode or 0, out, err

    async def copy(self, container: str, packed: bytes) -> None:
        """Unpack a tar file in a container, which need not run; EngineError."""
        await self.call("cp", *_COPY[os.path.basename(self.program)], "-", f"{container}:/", stdin=packed)  # noqa: PTH119

    async def limits(self) -> set[str]:
        """Say which of `memory` and `cpu` it can limit here: as an ordinary user it may lack some; EngineError."""
        if os.path.basename(self.program) == "podman":  # noqa: PTH119
            controllers = await self.call("info", "--format={{.Host.CgroupControllers}}")
            return {"memory", "cpu"} & set(controllers.strip("[]").split())
        answers = await self.call("info", "--format={{.MemoryLimit}} {{.CPUCfsQuota}}")
        return {name for name, answer in zip(("memory", "cpu"), answers.split(), strict=True) if answer == "true"}

    async def open(self, *arguments: str) -> asyncio.subprocess.Process:
        """Start a command, all its streams open."""
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            self.program,
            *arguments,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            env=client_environment(os.environ),
            start_new_session=True,
        )


def client_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Leave the server's own secrets out of what an engine's client gets."""
    return {name: value for name, value in environ.items() if not name.startswith(_OURS)}


async def _communicate(process: asyncio.subprocess.Process, stdin: bytes) -> tuple[bytes, bytes]:
    try:
        return await process.communicate(stdin)
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise


def archive(files: Iterable[tuple[str, bytes, int]]) -> bytes:
    """Pack paths, contents and modes as a tar file; what lies in the user's home is the user's, all else root's.

    Directories in the home are packed, too, so that they are the user's, and stand where the user may have put a link.
    All others are the image's, or made.
    """
    packed = io.BytesIO()
    directories: set[PurePosixPath] = set()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for path, content, mode in files:
            relative = PurePosixPath(path.lstrip("/"))
            for above in reversed(relative.parents):
                if above.is_relative_to(_HOME) and above != PurePosixPath(_HOME) and above not in directories:
                    directories.add(above)
                    tar.addfile(_entry(above, 0o755, tarfile.DIRTYPE))
            entry = _entry(relative, mode, tarfile.REGTYPE)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def _entry(path: PurePosixPath, mode: int, kind: bytes) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(str(path))
    entry.type, entry.mode, entry.mtime = kind, mode, time.time()
    entry.uid = entry.gid = _USER_ID if path.is_relative_to(_HOME) else 0
    return entry
