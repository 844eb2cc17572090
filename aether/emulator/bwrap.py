"""The arguments of bubblewrap: the host's files read-only, with the machine's own in their places.

A path that bubblewrap must mount on has to exist. Where the host lacks one below a read-only directory, that directory
is made anew in memory, with the host's other entries bound back in.
"""

import asyncio
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from aether.emulator.rootfs import HOME, Rootfs

PACKAGE = Path(__file__).resolve().parents[1]
_SYSTEM_FILES = ("etc/passwd", "etc/group", "etc/hostname", "etc/hosts")
_NAMESPACES = (
    *("--unshare-user", "--uid", "1000", "--gid", "1000", "--cap-drop", "ALL"),
    *("--unshare-pid", "--unshare-ipc", "--unshare-uts", "--hostname", "aether", "--die-with-parent"),
)

Table = dict[str, tuple[str, ...]]


def arguments(rootfs: Rootfs, state_dir: Path, files: Iterable[str], hidden: Iterable[Path] = ()) -> list[str]:
    """Build bubblewrap's command line, without the program to run."""
    table = _own(rootfs, files)
    for path in _hidden([state_dir, *hidden]):
        if _nearest(path, table) is None:
            table[path] = ("--tmpfs", path) if os.path.isdir(path) else ("--ro-bind", "/dev/null", path)  # noqa: PTH112
    for path in visible():
        for step, mount in _chain(path):
            nearest = _nearest(step, table)
            if nearest is not None and table[nearest] != ("--ro-bind", nearest, nearest):
                table[step] = mount
    _make_mount_points(rootfs, table)
    root = table.pop("/", ("--ro-bind", "/", "/"))
    mounts = [table[path] for path in sorted(table, key=lambda p: (p.count("/"), p))]
    return [*_NAMESPACES, *root, *(a for mount in mounts for a in mount), "--chdir", f"/{HOME}"]


def _own(rootfs: Rootfs, files: Iterable[str]) -> Table:
    """Bind the machine's own places, and the `files` that lie elsewhere (read-only)."""
    home = os.path.join(os.path.realpath("/home"), "coder")  # noqa: PTH118
    table: Table = {
        "/dev": ("--dev", "/dev"),
        "/proc": ("--proc", "/proc"),
        "/run": ("--tmpfs", "/run"),
        "/tmp": ("--bind", str(rootfs.path / "tmp"), "/tmp"),  # noqa: S108
        home: ("--bind", str(rootfs.path / HOME), home),
        "/etc/ssh": ("--bind", str(rootfs.path / "etc/ssh"), "/etc/ssh"),
    }
    for name in (*_SYSTEM_FILES, *(file.lstrip("/") for file in files)):
        if _nearest(f"/{name}", table) in {None, "/run"}:
            table[f"/{name}"] = ("--ro-bind", str(rootfs.path / name), f"/{name}")
    return table


def _hidden(paths: Iterable[Path]) -> Iterator[str]:
    """Name the directories and files nobody in a machine has any business in, outer ones first."""
    for real in sorted({os.path.realpath(str(path)) for path in ("/home", "/root", Path.home(), *paths)}):
        if real != "/" and os.path.exists(real):  # noqa: PTH110
            yield real


def visible() -> list[str]:
    """Name what the guest needs to run, wherever it is installed, and the host's resolver settings."""
    packages = [p for p in sys.path if p.endswith(("site-packages", "dist-packages"))]
    return [sys.prefix, sys.base_prefix, *packages, str(PACKAGE), sys.executable, "/etc/resolv.conf"]


def _chain(path: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Walk a path; answer a mount for each symbolic link on the way and for the end."""
    done = "/"
    for name in Path(path).parts[1:]:
        step = os.path.join(done, name)  # noqa: PTH118
        if os.path.islink(step):  # noqa: PTH114
            yield step, ("--symlink", os.readlink(step), step)  # noqa: PTH115
            step = os.path.realpath(step)
        done = step
    if os.path.exists(done):  # noqa: PTH110
        yield done, ("--ro-bind", done, done)


def _nearest(path: str, table: Table) -> str | None:
    """Find the deepest mount at or above a path."""
    while path != "/":
        if path in table:
            return path
        path = os.path.dirname(path)  # noqa: PTH120
    return None


def _make_mount_points(rootfs: Rootfs, table: Table) -> None:
    """Let every mount have something to be mounted on."""
    for path in list(table):
        above = _nearest(os.path.dirname(path), table)  # noqa: PTH120
        if above is not None and table[above][0] == "--bind":
            inside = Path(table[above][1]).relative_to(rootfs.path) / Path(path).relative_to(above)
            rootfs.make_directory(str(inside if os.path.isdir(path) else inside.parent))  # noqa: PTH112
        elif above is None and not _exists_alike(path, table[path]):
            _make_anew(os.path.dirname(path), table)  # noqa: PTH120


def _exists_alike(path: str, mount: tuple[str, ...]) -> bool:
    is_directory = mount[0] != "--ro-bind" or os.path.isdir(mount[1])  # noqa: PTH112
    exists = os.path.isdir(path) if is_directory else os.path.isfile(path)  # noqa: PTH112, PTH113
    return exists and not os.path.islink(path)  # noqa: PTH114


def _make_anew(directory: str, table: Table) -> None:
    """Replace a read-only directory by one in memory with the same entries, so that it can hold one more."""
    while not os.path.isdir(directory) or os.path.islink(directory):  # noqa: PTH112, PTH114
        directory = os.path.dirname(directory)  # noqa: PTH120
    if directory in table:
        return
    mounts = [] if directory == "/" else ["--tmpfs", directory]
    for entry in os.scandir(directory):
        if entry.path in table:
            continue
        if entry.is_symlink():
            mounts += ["--symlink", os.readlink(entry.path), entry.path]  # noqa: PTH115
        else:
            mounts += ["--ro-bind-try", entry.path, entry.path]
    table[directory] = tuple(mounts)


async def works(program: str, rootfs: Rootfs, state_dir: Path) -> bool:
    """Find out by trying: user namespaces may be forbidden, in containers above all."""
    rootfs.prepare()
    check = "import os, pwd; os.openpty(); assert pwd.getpwuid(os.getuid()).pw_name == 'coder'"
    process = await asyncio.create_subprocess_exec(
        program,
        *arguments(rootfs, state_dir, ()),
        *(sys.executable, "-I", "-S", "-c", check),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    return await process.wait() == 0
