"""rootfs: what a machine finds on its disk, and what its user cannot make us do there."""

import os
import shlex
import stat
import subprocess
import sys

import pytest

from aether.emulator.runtimes.rootfs import Rootfs, Trash

LOCKED = """
import asyncio, sys
from pathlib import Path
from aether.emulator.runtimes.rootfs import Rootfs, Trash
base = Path(sys.argv[1])
"""


@pytest.fixture
def outside(tmp_path):
    """A directory the machine has no business in, with one file."""
    directory = tmp_path / "outside"
    directory.mkdir(mode=0o750)
    (directory / "file").write_text("untouched")
    yield directory
    assert [path.read_text() for path in directory.iterdir()] == ["untouched"]
    assert mode(directory) == 0o750


@pytest.fixture
def run_locked(need, tmp_path):
    """Run a script as a user to whom file modes apply, which they do not to root."""

    def run(script):
        command = [sys.executable, "-c", LOCKED + script, str(tmp_path)]
        if os.getuid() == 0:
            harmless = "--unshare-user --uid 1000 --gid 1000 --cap-drop ALL --dev-bind / /"
            command = [need("bwrap"), *shlex.split(harmless), *command]
        subprocess.run(command, check=True)

    return run


def mode(path):
    return stat.S_IMODE(path.lstat().st_mode)


def test_every_boot_finds_its_places(rootfs):
    """Home is private, /tmp is everybody's, and the shell has its start files."""
    modes = {name: oct(mode(rootfs.path / name)) for name in (".", "home/coder", "tmp", "etc/ssh")}
    assert modes == {".": "0o700", "home/coder": "0o700", "tmp": "0o1777", "etc/ssh": "0o755"}
    assert r"PS1='coder@aether:\w$ '" in (rootfs.path / "home/coder/.bashrc").read_text()
    assert mode(rootfs.path / "home/coder/.profile") == 0o644


def test_modes_do_not_depend_on_the_umask(tmp_path):
    """What a machine finds has the same modes however the server was started."""
    before = os.umask(0o077)
    try:
        Rootfs(tmp_path / "r").prepare()
    finally:
        os.umask(before)
    assert [mode(tmp_path / "r" / name) for name in ("tmp", "etc/ssh", "etc/passwd")] == [0o1777, 0o755, 0o644]


def test_accounts_name_the_user_once(rootfs):
    """The host's accounts are there, but for those with the user's name or number."""
    entries = [line.split(":") for line in (rootfs.path / "etc/passwd").read_text().splitlines()]
    assert [e[0] for e in entries if e[0] == "coder" or e[2] == "1000"] == ["coder"]
    assert "root" in [e[0] for e in entries]
    groups = (rootfs.path / "etc/group").read_text().splitlines()
    assert groups[-1] == "coder:x:1000:"
    assert not any(line.startswith("tty:") for line in groups)


def test_the_machine_knows_its_own_name(rootfs):
    """`aether` and `localhost` mean the machine itself."""
    assert (rootfs.path / "etc/hostname").read_text() == "aether\n"
    hosts = [line.split() for line in (rootfs.path / "etc/hosts").read_text().splitlines()]
    assert {name for address, *names in hosts if address == "127.0.0.1" for name in names} == {"localhost", "aether"}


def test_later_boots_leave_the_home_alone(rootfs):
    """The skeleton is for a new home only; the system's files are written each time."""
    (rootfs.path / "home/coder/.bashrc").write_text("mine")
    (rootfs.path / "home/coder/.profile").unlink()
    (rootfs.path / "etc/hostname").write_text("mine")
    rootfs.prepare()
    assert (rootfs.path / "home/coder/.bashrc").read_text() == "mine"
    assert not (rootfs.path / "home/coder/.profile").exists()
    assert (rootfs.path / "etc/hostname").read_text() == "aether\n"


def test_write_replaces_whatever_is_there(rootfs):
    """A file, a full directory and a pipe all give way, and no temporary file is left."""
    (rootfs.path / "d/a/b").mkdir(parents=True)
    (rootfs.path / "d/file").write_text("longer than what comes")
    os.mkfifo(rootfs.path / "d/pipe")
    for name in ("a", "file", "pipe"):
        rootfs.write(f"d/{name}", name.encode(), 0o640)
    assert {path.name: path.read_text() for path in (rootfs.path / "d").iterdir()} == {
        n: n for n in ("a", "file", "pipe")
    }
    assert mode(rootfs.path / "d/pipe") == 0o640


def test_write_leaves_the_directories_above_as_they_are(rootfs):
    """A directory that is there keeps its mode and its content; one that is missing is made for everybody to read."""
    (rootfs.path / "d").mkdir(mode=0o751)
    (rootfs.path / "d/other").write_text("other")
    rootfs.write("d/e/file", b"new", 0o600)
    assert (mode(rootfs.path / "d"), mode(rootfs.path / "d/e"), mode(rootfs.path / "d/e/file")) == (0o751, 0o755, 0o600)
    assert (rootfs.path / "d/other").read_text() == "other"


def test_write_never_truncates_through_a_hard_link(rootfs, outside):
    """A file is replaced, not overwritten, so that its other names keep their content."""
    (rootfs.path / "key").hardlink_to(outside / "file")
    rootfs.write("key", b"new", 0o600)
    assert (rootfs.path / "key").read_text() == "new"


@pytest.mark.parametrize("link", ["home", "home/coder", "home/coder/.ssh", "home/coder/.ssh/file"])
def test_planted_symlinks_are_replaced(rootfs, outside, link):
    """A link anywhere on the way is replaced by what should be there; its target is not touched."""
    path = rootfs.path / link
    (rootfs.path / "home").rename(rootfs.path / "old")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(outside / "file" if link.endswith("file") else outside)
    rootfs.write("home/coder/.ssh/file", b"new", 0o600)
    assert not path.is_symlink()
    assert (rootfs.path / "home/coder/.ssh/file").read_bytes() == b"new"


@pytest.mark.parametrize("name", ["tmp", "etc", "etc/ssh", "home"])
def test_boot_follows_no_planted_symlink(rootfs, outside, name):
    """A boot makes its own directories where the user left links."""
    (rootfs.path / name).rename(rootfs.path / "old")
    (rootfs.path / name).symlink_to(outside)
    rootfs.prepare()
    assert (rootfs.path / name).is_dir() and not (rootfs.path / name).is_symlink()


def test_directories_the_user_closed_are_opened(run_locked, tmp_path):
    """A directory without any permission does not keep a file from its place."""
    run_locked("""
rootfs = Rootfs(base / "rootfs")
rootfs.prepare()
(rootfs.path / "home/coder").chmod(0)
rootfs.write("home/coder/.ssh/key", b"new", 0o600)
""")
    assert (tmp_path / "rootfs/home/coder/.ssh/key").read_bytes() == b"new"


def test_trash_takes_what_its_owner_locked(run_locked, tmp_path):
    """A tree of directories without any permissions is deleted all the same."""
    run_locked("""
(base / "machine/a/b/c").mkdir(parents=True)
for name in ("a/b/c", "a/b", "a"):
    (base / "machine" / name).chmod(0)
asyncio.run(Trash(base / "trash").delete(base / "machine"))
""")
    assert [path.name for path in tmp_path.iterdir()] == ["trash"]
    assert list((tmp_path / "trash").iterdir()) == []


@pytest.mark.gen_test
async def test_trash_deletes_links_and_not_their_targets(tmp_path, outside):
    """What a link points to stays, with the modes it has."""
    (tmp_path / "machine").mkdir()
    (tmp_path / "machine/link").symlink_to(outside)
    await Trash(tmp_path / "trash").delete(tmp_path / "machine")
    assert not (tmp_path / "machine").exists()


@pytest.mark.gen_test
async def test_trash_is_patient(tmp_path):
    """To delete what is not there is no error, nor to empty what was never used."""
    await Trash(tmp_path / "trash").empty()
    await Trash(tmp_path / "trash").delete(tmp_path / "none")
    assert list((tmp_path / "trash").iterdir()) == []


@pytest.mark.gen_test
async def test_trash_of_an_earlier_process_is_emptied(tmp_path):
    """What a crash left half deleted goes at the next start."""
    (tmp_path / "trash/0123/half").mkdir(parents=True)
    await Trash(tmp_path / "trash").empty()
    assert not (tmp_path / "trash").exists()


def test_a_directory_that_its_owner_locked_does_not_keep_a_machine_from_booting(run_locked):
    """`chmod 500 ~/.ssh`, and a locked directory where a file belongs, are repaired."""
    run_locked("""
rootfs = Rootfs(base / "rootfs")
rootfs.prepare()
rootfs.write("home/coder/.ssh/authorized_keys", b"old", 0o600)
(base / "rootfs/home/coder/.ssh").chmod(0o500)
rootfs.write("home/coder/.ssh/authorized_keys", b"new", 0o600)
assert (base / "rootfs/home/coder/.ssh/authorized_keys").read_bytes() == b"new"
(base / "rootfs/in_the_way/deep").mkdir(parents=True)
(base / "rootfs/in_the_way/deep/file").touch()
(base / "rootfs/in_the_way/deep").chmod(0o500)
rootfs.write("in_the_way", b"file", 0o600)
""")


def test_a_locked_root_can_be_deleted(run_locked):
    """A wipe is not stopped by `chmod` on the root itself."""
    run_locked("""
rootfs = Rootfs(base / "rootfs")
rootfs.prepare()
rootfs.path.chmod(0o300)
asyncio.run(Trash(base / "trash").delete(rootfs.path))
assert not rootfs.path.exists() and not list((base / "trash").iterdir())
""")
