"""The arguments of bubblewrap: the host's files read-only, with the machine's own mounted over them.

A path that bubblewrap mounts on has to exist. Where the host lacks one below a read-only directory, that directory is
recreated in memory, with the host's other entries bound into it.
"""

import asyncio
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from aether.emulator.runtimes.rootfs import HOME, Rootfs

PACKAGE = Path(__file__).resolve().parents[2]  # aether itself
_SYSTEM_FILES = ("etc/passwd", "etc/group", "etc/hostname", "etc/hosts")
_NAMESPACES = (
    *("--unshare-user", "--uid", "1000", "--gid", "1000", "--cap-drop", "ALL"),
    *("--unshare-pid", "--unshare-ipc", "--unshare-uts", "--hostname", "aether", "--die-with-parent"),
)

# A mount's arguments by its path. Paths are strings here, as bubblewrap takes them: hence os.path, against PTH.
Table = dict[str, tuple[str, ...]]


def arguments(
    rootfs: Rootfs,
    state_dir: Path,
    files: Iterable[str],
    hidden: Iterable[Path] = (),
    base_prefix: str = sys.base_prefix,
) -> list[str]:
    """Build bubblewrap's command line, without the program to run.

    Args:
        files: paths of the machine's own files.
        hidden: directories and files that the machine does not see, beside homes and `state_dir`.
        base_prefix: where this Python is installed, which the machine sees.
    """
    table = _own(rootfs, files)
    _hide([state_dir, *hidden], table)
    _show(_visible(base_prefix), table)
    _make_mount_points(rootfs, table)
    root = table.pop("/", ("--ro-bind", "/", "/"))
    mounts = [table[path] for path in sorted(table, key=lambda p: (p.count("/"), p))]
    return [*_NAMESPACES, *root, *(a for mount in mounts for a in mount), "--chdir", f"/{HOME}"]


def _own(rootfs: Rootfs, files: Iterable[str]) -> Table:
    """Bind the machine's own directories, and (read-only) the `files` that are elsewhere."""
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


def _hide(paths: Iterable[Path], table: Table) -> None:
    """Cover homes, and directories and files that a machine must not see."""
    for path in sorted({os.path.realpath(str(path)) for path in ("/home", "/root", Path.home(), *paths)}):
        if path != "/" and os.path.exists(path) and _nearest(path, table) is None:  # noqa: PTH110
            table[path] = ("--tmpfs", path) if os.path.isdir(path) else ("--ro-bind", "/dev/null", path)  # noqa: PTH112


def _show(paths: Iterable[str], table: Table) -> None:
    """Bind what is needed where it would be hidden."""
    for path in paths:
        for step, mount in _chain(path):
            nearest = _nearest(step, table)
            if nearest is not None and table[nearest] != ("--ro-bind", nearest, nearest):
                table[step] = mount


def _visible(base_prefix: str) -> list[str]:
    """Return what the supervisor needs, wherever it is installed, and the host's resolver settings."""
    packages = [p for p in sys.path if p.endswith(("site-packages", "dist-packages"))]
    return [sys.prefix, base_prefix, *packages, str(PACKAGE), sys.executable, "/etc/resolv.conf"]


def _chain(path: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Walk a path; yield a mount for each symbolic link on the way and for its end."""
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
    """See that every mount has something to be mounted on."""
    for path in list(table):
        above = _nearest(os.path.dirname(path), table)  # noqa: PTH120
        if above is not None and table[above][0] == "--bind":
            inside = Path(table[above][1]).relative_to(rootfs.path) / Path(path).relative_to(above)
            rootfs.make_directory(str(inside if os.path.isdir(path) else inside.parent))  # noqa: PTH112
        elif above is None and not _exists_alike(path, table[path]):
            _recreate(os.path.dirname(path), table)  # noqa: PTH120


def _exists_alike(path: str, mount: tuple[str, ...]) -> bool:
    is_directory = mount[0] != "--ro-bind" or os.path.isdir(mount[1])  # noqa: PTH112
    exists = os.path.isdir(path) if is_directory else os.path.isfile(path)  # noqa: PTH112, PTH113
    return exists and not os.path.islink(path)  # noqa: PTH114


def _recreate(directory: str, table: Table) -> None:
    """Replace a read-only directory by one in memory with the same entries, to which one can be added."""
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
    """Try whether bubblewrap works: user namespaces may be forbidden, for example in containers."""
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
