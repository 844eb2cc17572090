"""A container engine's command line, podman's or docker's: what both understand."""

import asyncio
import contextlib
import io
import os
import tarfile
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path, PurePosixPath

from aether.emulator.errors import EngineError

_HOME = "home/coder"
_USER_ID = 1000
# How to copy so that files have the owners that the archive says. For podman `archive` means the opposite.
_COPY = {"docker": ("--archive",), "podman": ("--archive=false", "--overwrite")}
_OURS = ("FLY_", "AETHER_")  # the server's own settings, some of them secret
TIMEOUT_S = 60.0  # an engine that has not answered by then hangs
_LONG_TIMEOUTS_S = {"create": 1800.0, "commit": 600.0, "wait": None}  # they may fetch an image, copy files, last
_OUTPUT_LIMIT = 1 << 20  # of each stream; the rest is dropped


class Engine:
    """The program of one engine, run in `directory`: podman writes a file `oom` there when a machine's memory runs out.

    Args:
        timeout_s: after how long most commands are killed; those that may take longer have their own.
    """

    def __init__(self, program: str, directory: Path | None = None, timeout_s: float = TIMEOUT_S) -> None:
        self.program = program
        self._directory = directory
        self._timeout_s = timeout_s

    async def call(self, *arguments: str, stdin: bytes = b"") -> str:
        """Run a command; return its output without the line end; raises EngineError."""
        timeout_s = _LONG_TIMEOUTS_S.get(arguments[0], self._timeout_s)
        try:
            async with asyncio.timeout(timeout_s):
                status, out, err = await self.run(*arguments, stdin=stdin)
        except TimeoutError:
            raise EngineError(f"{arguments[0]} did not end within {timeout_s:g} s") from None
        if status:
            lines = err.decode(errors="replace").strip().splitlines()
            raise EngineError(lines[-1] if lines else f"{arguments[0]} ended with status {status}")
        return out.decode(errors="replace").rstrip("\n")

    async def run(self, *arguments: str, stdin: bytes = b"") -> tuple[int, bytes, bytes]:
        """Run a command; return its exit status, output and errors, a MiB each. A cancellation kills the command.

        Raises EngineError if it cannot be started.
        """
        async with self._opened(*arguments) as process:
            out, err, _ = await asyncio.gather(
                _kept(process.stdout), _kept(process.stderr), _feed(process.stdin, stdin)
            )
        return process.returncode or 0, out, err

    async def copy(self, container: str, packed: bytes) -> None:
        """Unpack a tar file in a container, which need not run; raises EngineError."""
        await self.call("cp", *_COPY[os.path.basename(self.program)], "-", f"{container}:/", stdin=packed)  # noqa: PTH119

    async def limits(self) -> set[str]:
        """Return which of `memory` and `cpu` it can limit here; an ordinary user may lack some. Raises EngineError."""
        if os.path.basename(self.program) == "podman":  # noqa: PTH119
            controllers = await self.call("info", "--format={{.Host.CgroupControllers}}")
            return {"memory", "cpu"} & set(controllers.strip("[]").split())
        answers = await self.call("info", "--format={{.MemoryLimit}} {{.CPUCfsQuota}}")
        return {name for name, answer in zip(("memory", "cpu"), answers.split(), strict=True) if answer == "true"}

    @contextlib.asynccontextmanager
    async def _opened(self, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """Start a command with pipes for its streams; at the end it has ended, or is killed after an exception."""
        pipe = asyncio.subprocess.PIPE
        try:
            process = await asyncio.create_subprocess_exec(
                self.program,
                *arguments,
                stdin=pipe,
                stdout=pipe,
                stderr=pipe,
                cwd=self._directory,
                env=client_environment(os.environ),
                start_new_session=True,
            )
        except (OSError, ValueError) as error:  # the program has been removed, no descriptors, or a NUL
            raise EngineError(f"{arguments[0]} cannot be run: {error}") from None
        try:
            yield process
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            raise
        finally:
            await process.wait()


def client_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of an engine's client: without the server's own settings and secrets."""
    return {name: value for name, value in environ.items() if not name.startswith(_OURS)}


async def _feed(stream: asyncio.StreamWriter | None, data: bytes) -> None:
    assert stream is not None
    with contextlib.suppress(ConnectionError):  # the command does not read it
        stream.write(data)
        await stream.drain()
    stream.close()


async def _kept(stream: asyncio.StreamReader | None) -> bytes:
    """Read to the end; return the first MiB."""
    assert stream is not None
    kept = bytearray()
    while data := await stream.read(65536):
        kept += data[: _OUTPUT_LIMIT - len(kept)]
    return bytes(kept)


def archive(files: Iterable[tuple[str, bytes, int]]) -> bytes:
    """Pack paths, contents and modes as a tar file; what is in the user's home belongs to the user, the rest to root.

    Directories in the home are packed, too: they belong to the user, and replace links that the user has put there.
    Other directories are those of the image, or are created.
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
