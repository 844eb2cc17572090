"""A machine's root filesystem: a directory the emulator fills before each boot.

The machine's user owns these files and may have placed symbolic links anywhere, so nothing here follows one: every step
starts at an open directory, and whatever stands in the place of a directory is replaced.
"""

import asyncio
import contextlib
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

HOME = "home/coder"
BASH = "/bin/bash"

_BASHRC = rb"""# ~/.bashrc: yours to change.
case $- in *i*) ;; *) return ;; esac
PS1='coder@aether:\w$ '
HISTCONTROL=ignoreboth
HISTSIZE=10000
shopt -s histappend checkwinsize
PROMPT_COMMAND='history -a'
if ls --color=auto / >/dev/null 2>&1; then alias ls='ls --color=auto'; else alias ls='ls -G'; fi
alias grep='grep --color=auto'
"""
_PROFILE = rb"""# ~/.profile: read by login shells; yours to change.
if [ -n "$BASH_VERSION" ]; then
    [ -f ~/.bashrc ] && . ~/.bashrc
else
    PS1='coder@aether:~$ '
fi
"""
_SKELETON = {".bashrc": _BASHRC, ".profile": _PROFILE}
_HOSTS = b"127.0.0.1 localhost aether\n::1 localhost ip6-localhost ip6-loopback\n"


class Rootfs:
    """The files of one machine, below `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def prepare(self, shell: str = BASH) -> None:
        """Create what every boot needs: home, a private /tmp, the accounts; a skeleton in a new home.

        There is no group `tty`: sshd would give the terminals it opens to that group, which only root may do.
        """
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        is_new = not os.path.lexists(self.path / HOME)
        for directory, mode in ((HOME, 0o700), ("tmp", 0o1777), ("etc/ssh", 0o755)):
            self.make_directory(directory, mode)
        for name, content in (_SKELETON if is_new else {}).items():
            self.write(f"{HOME}/{name}", content, 0o644)
        self.write("etc/passwd", _accounts("/etc/passwd", f"coder:x:1000:1000::/{HOME}:{shell}"), 0o644)
        self.write("etc/group", _accounts("/etc/group", "coder:x:1000:", "tty"), 0o644)
        self.write("etc/hostname", b"aether\n", 0o644)
        self.write("etc/hosts", _HOSTS, 0o644)

    def make_directory(self, relative: str, mode: int = 0o755) -> None:
        """Create a directory and its parents."""
        with self._opened(relative.split("/")) as fd:
            os.fchmod(fd, mode)

    def write(self, relative: str, content: bytes, mode: int) -> None:
        """Write a file, replacing whatever is there, and never through a symbolic link."""
        *parents, name = relative.split("/")
        with self._opened(parents) as directory:
            temporary = f".{secrets.token_hex(8)}"
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with open(os.open(temporary, flags, 0o600, dir_fd=directory), "wb") as file:
                file.write(content)
                os.fchmod(file.fileno(), mode)
            if _is_directory(name, directory):
                _make_deletable(name, directory)
                shutil.rmtree(name, dir_fd=directory)
            os.replace(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)

    @contextlib.contextmanager
    def _opened(self, parts: list[str]) -> Iterator[int]:
        fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for name in parts:
                fd, above = _step(name, fd), fd
                os.close(above)
            yield fd
        finally:
            os.close(fd)


def _is_directory(name: str, above: int) -> bool:
    try:
        return stat.S_ISDIR(os.stat(name, dir_fd=above, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def _step(name: str, above: int) -> int:
    """Open a directory; create it if it is missing, replace anything else of that name, and make it writable."""
    if not _is_directory(name, above):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=above)
        os.mkdir(name, 0o755, dir_fd=above)
    mode = stat.S_IMODE(os.stat(name, dir_fd=above, follow_symlinks=False).st_mode)
    if mode & 0o700 != 0o700:
        os.chmod(name, mode | 0o700, dir_fd=above)
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)


def _make_deletable(name: str, above: int) -> None:
    """Make the contents of a directory deletable, whatever its owner has done to the modes."""
    fd = _step(name, above)
    try:
        with os.scandir(fd) as entries:
            directories = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        for child in directories:
            _make_deletable(child, fd)
    finally:
        os.close(fd)


def _accounts(path: str, ours: str, *dropped: str) -> bytes:
    """Copy the host's accounts, without those that have the user's name or number, and add the user."""
    kept = []
    with contextlib.suppress(OSError):
        for line in Path(path).read_text(errors="replace").splitlines():
            fields = line.split(":")
            if fields[0] not in ("coder", *dropped) and fields[2:3] != ["1000"]:
                kept.append(line)
    return "\n".join([*kept, ours, ""]).encode()


class Trash:
    """Deletes directories: renames them first, so that a crash leaves none half deleted, then deletes in a thread.

    Without a thread, which large directories need, no time but virtual time passes.
    """

    def __init__(self, path: Path, is_threaded: bool = True) -> None:
        self._path = path
        self._is_threaded = is_threaded

    async def delete(self, directory: Path) -> None:
        """Delete a directory and everything in it."""
        target = self._rename(directory)
        if self._is_threaded:
            await asyncio.to_thread(_remove_tree, target)
        else:
            _remove_tree(target)

    async def empty(self) -> None:
        """Delete what an earlier process has left here."""
        await asyncio.to_thread(_remove_tree, self._path)

    def _rename(self, directory: Path) -> Path:
        self._path.mkdir(mode=0o700, exist_ok=True)
        target = self._path / secrets.token_hex(8)
        with contextlib.suppress(FileNotFoundError):
            directory.chmod(0o700)
            directory.rename(target)
        return target


def _remove_tree(path: Path) -> None:
    """Delete a tree, whatever its owner has done to the modes."""
    for directory, names, _ in os.walk(path):
        for name in names:
            child = Path(directory, name)
            if not child.is_symlink():
                with contextlib.suppress(OSError):
                    child.chmod(0o700)
    shutil.rmtree(path, ignore_errors=True)
