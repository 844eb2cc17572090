"""bwrap: what a machine sees of the computer, seen from inside."""

import functools
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from aether.emulator.runtimes import bwrap
from aether.emulator.runtimes.rootfs import Rootfs


@pytest.fixture
def elsewhere():
    """A directory a machine can see: it is neither in a home nor in /tmp."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        yield Path(name).resolve()


@pytest.fixture
def inside(need, rootfs, tmp_path):
    """Run a command in the machine; return what it printed."""

    def run(command, state_dir=tmp_path / "state", files=(), **options):
        argv = [need("bwrap"), *bwrap.arguments(rootfs, state_dir, files, **options), "sh", "-c", command]
        env = {"PATH": os.environ["PATH"]}  # not coverage's, which would write beside the read-only code
        return subprocess.run(
            argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, env=env
        ).stdout

    return run


@pytest.mark.parametrize(("place", "own"), [("~", "home/coder"), ("/tmp", "tmp"), ("/etc/ssh", "etc/ssh")])
def test_the_machines_own_places_are_kept(inside, rootfs, place, own):
    """What is written to home, /tmp and /etc/ssh is found in the machine's directory."""
    assert inside(f"HOME=/home/coder; echo new > {place}/file; stat -c %U {place}/file") == "coder\n"
    assert (rootfs.path / own / "file").read_text() == "new\n"


def test_the_rest_of_the_computer_is_read_only(inside, elsewhere):
    """The host's files can be read and not changed."""
    (elsewhere / "file").write_text("the host's\n")
    assert inside(f"cat {elsewhere}/file") == "the host's\n"
    assert "Read-only file system" in inside(f"echo new > {elsewhere}/file")
    assert (elsewhere / "file").read_text() == "the host's\n"


def test_the_state_directory_is_hidden(inside, elsewhere):
    """A machine does not see the emulator's records, which hold keys."""
    (elsewhere / "secret").write_text("key")
    assert inside(f"ls -A {elsewhere}", state_dir=elsewhere) == ""
    assert inside(f"ls -A {elsewhere}") == "secret\n"


def test_run_is_empty(inside):
    """The sockets of the host's services are out of reach."""
    assert inside("ls -A /run | grep -v -e systemd -e resolvconf -e NetworkManager") == ""


def test_there_are_no_privileges_inside(inside):
    """A machine's user is an ordinary one, alone with its own processes, on a host called aether."""
    assert inside("grep CapEff /proc/self/status") == "CapEff:\t0000000000000000\n"
    assert inside("id -u; id -g; hostname; pwd") == "1000\n1000\naether\n/home/coder\n"
    assert inside("for process in /proc/[0-9]*; do read name <$process/comm; echo $name; done") == "bwrap\nsh\n"


def test_files_take_the_place_of_the_hosts(inside, rootfs):
    """A machine's file stands where the host has another, and cannot be written."""
    host = Path("/etc/passwd").read_text()
    rootfs.write("etc/nsswitch.conf", b"mine\n", 0o644)
    assert inside("cat /etc/nsswitch.conf", files=["/etc/nsswitch.conf"]) == "mine\n"
    assert "Read-only file system" in inside("echo x > /etc/nsswitch.conf", files=["/etc/nsswitch.conf"])
    assert inside("cat /etc/passwd") == (rootfs.path / "etc/passwd").read_text() != host


def test_files_in_the_home_stay_writable(inside, rootfs):
    """A file that lies in one of the machine's own places is the user's like any other."""
    rootfs.write("home/coder/.config/file", b"given\n", 0o644)
    path = "/home/coder/.config/file"
    assert inside(f"cat {path}; echo mine > {path}; cat {path}", files=[path]) == "given\nmine\n"


def test_a_directory_with_a_new_file_is_otherwise_the_same(inside, rootfs, elsewhere):
    """Where the host lacks a file, its directory keeps its other files, directories and links."""
    (elsewhere / "directory").mkdir()
    (elsewhere / "directory/file").write_text("old\n")
    (elsewhere / "link").symlink_to("directory/file")
    rootfs.write(f"{elsewhere}/new".lstrip("/"), b"new\n", 0o644)
    command = f"cd {elsewhere}; ls -A; cat new directory/file; readlink link"
    assert inside(command, files=[f"{elsewhere}/new"]) == "directory\nlink\nnew\nnew\nold\ndirectory/file\n"
    assert sorted(path.name for path in elsewhere.iterdir()) == ["directory", "link"]


@pytest.mark.parametrize("path", ["none/such/new", "link"])
def test_a_file_may_need_directories_or_replace_a_link(inside, rootfs, elsewhere, path):
    """Directories the host lacks are made, and a link of the host's gives way instead of being followed."""
    (elsewhere / "old").write_text("old\n")
    (elsewhere / "link").symlink_to("old")
    rootfs.write(f"{elsewhere}/{path}".lstrip("/"), b"new\n", 0o644)
    assert inside(f"cd {elsewhere}; cat {path} old", files=[f"{elsewhere}/{path}"]) == "new\nold\n"


def test_the_pty_host_is_beside_what_the_computer_has(inside, rootfs):
    """Where aether puts it on a machine at Fly, too, among what is there."""
    path = "/usr/local/lib/aether/pty-host-0123abcd.py"
    rootfs.write(path.lstrip("/"), b"the host\n", 0o644)
    there = {*(entry.name for entry in Path("/usr/local/lib").iterdir()), "aether"}
    assert inside(f"cat {path}; ls -A /usr/local/lib", files=[path]).split("\n") == ["the host", *sorted(there), ""]


def test_the_interpreter_is_visible_in_a_hidden_place(inside, elsewhere, monkeypatch):
    """What the supervisor runs on is there, read-only and by each of its names, and nothing beside it is."""
    (elsewhere / "python-3").mkdir()
    (elsewhere / "python-3/file").write_text("library\n")
    (elsewhere / "python").symlink_to("python-3")
    (elsewhere / "secret").write_text("key\n")
    monkeypatch.setenv("HOME", str(elsewhere))
    run = functools.partial(inside, base_prefix=str(elsewhere / "python"))
    assert run(f"cd {elsewhere}; ls -A; cat python/file python-3/file") == "python\npython-3\nlibrary\nlibrary\n"
    assert "Read-only file system" in run(f"echo x > {elsewhere}/python/file")


def test_planted_link_does_not_move_a_mount(inside, rootfs, elsewhere):
    """Where the supervisor's interpreter belongs below /tmp, a link the user left there is replaced."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        (Path(name) / "file").write_text("library\n")
        (rootfs.path / name.lstrip("/")).symlink_to(elsewhere)
        assert inside(f"cat {name}/file", base_prefix=name) == "library\n"
    assert list(elsewhere.iterdir()) == []


def test_the_supervisor_can_be_imported(inside):
    """The package and what it needs are among the visible paths."""
    path = ":".join([str(bwrap.PACKAGE.parent), *(p for p in sys.path if p.endswith("-packages"))])
    command = f"PYTHONPATH={path} {sys.executable} -P -s -c 'import aether.emulator.guest.supervisor; print(1)'"
    assert inside(command) == "1\n"


def test_our_python_can_be_run(inside):
    """Where it is the only one, the PTY host runs on it."""
    assert inside(f"PATH={sys.base_prefix}/bin python3 -I -S -c 'import termios; print(1)'") == "1\n"


@pytest.mark.gen_test
async def test_a_program_that_works_is_found_by_trying(need, tmp_path):
    """Bubblewrap works when a terminal and the user's name do; a program that fails does not."""
    rootfs = Rootfs(tmp_path / "probe")
    assert await bwrap.works(need("bwrap"), rootfs, tmp_path / "state")
    assert not await bwrap.works(need("false"), rootfs, tmp_path / "state")


def test_visible_path_behind_a_link_is_bound(rootfs, tmp_path, monkeypatch):
    """An installation reached through a symbolic link in a hidden place is visible by both names."""
    home, real = tmp_path / "home", tmp_path / "home/python-3.12.1"
    real.mkdir(parents=True)
    (home / "python").symlink_to(real)
    monkeypatch.setenv("HOME", str(home))
    text = " ".join(bwrap.arguments(rootfs, tmp_path / "state", (), base_prefix=str(home / "python")))
    assert f"--symlink {real} {home}/python" in text
    assert f"--ro-bind {real} {real}" in text
