"""children: processes are started, reaped and killed; in an interpreter of its own, as in a machine."""

import subprocess
import sys
import textwrap

import pytest

PRELUDE = """
import asyncio, os, psutil, signal
from aether.emulator.guest.children import Children

codes = []

def sh(script, fds=(0, 1, 2), is_tty=False):
    return children.start("/bin/sh", ["sh", "-c", script], {"PATH": "/usr/bin:/bin"}, fds, is_tty, codes.append)

async def main():
    global children
    children = Children()
    reader, writer = os.pipe()
"""

pytestmark = pytest.mark.outside  # an interpreter for each
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="needs a subreaper, which is Linux's")


def run(script):
    """Run the body of an async function; return what it and its children printed.

    It has `children`, and the ends of a pipe: `reader` and `writer`.
    """
    body = PRELUDE + textwrap.indent(textwrap.dedent(script), "    ") + "\nasyncio.run(main())\n"
    command = [sys.executable, "-W", "error", "-c", body]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "timeout": 30}
    return subprocess.run(command, check=False, **options).stdout


def test_each_exit_is_reported():
    """An exit status is reported as it is, a signal as a negative number."""
    assert run("""
        for script in ("exit 0", "exit 3", "kill -TERM $$"):
            sh(script)
            await children.wait(20)
        print(codes)
    """) == ("[0, 3, -15]\n")


def test_exits_at_the_same_time_are_all_reported():
    """One SIGCHLD may stand for several children."""
    assert run("""
        for number in range(30):
            sh(f"exit {number}")
        await children.wait(20)
        print(sorted(codes) == list(range(30)))
    """) == ("True\n")


def test_program_that_is_not_there_exits_127():
    """A program that cannot be run ends as it would in a shell, and the caller goes on."""
    assert run("""
        children.start("/none", ["none"], {}, (0, 1, 2), False, codes.append)
        await children.wait(20)
        print(codes)
    """) == ("[127]\n")


def test_wait_has_an_end():
    """A wait ends when its time is over, or at once where nothing runs."""
    assert run("""
        await children.wait(1e6)
        pid = sh("exec sleep 60")
        await children.wait(0)
        print(codes)
        os.kill(pid, signal.SIGKILL)
        await children.wait(1e6)
        print(codes)
    """) == ("[]\n[-9]\n")


def test_wait_is_for_all():
    """The end of one child does not end the wait for another."""
    assert run("""
        sh("read line; exit 2", (reader, 1, 2))
        sh("exit 1")
        while not codes:
            await asyncio.sleep(0)
        waiting = asyncio.create_task(children.wait(20))
        await asyncio.sleep(0)
        os.write(writer, b"\\n")
        await waiting
        print(codes)
    """) == ("[1, 2]\n")


def test_streams_and_environment_are_those_given():
    """A program has the three descriptors and the variables it is given and nothing of ours."""
    assert run("""
        os.environ["SECRET"] = "1"
        os.set_inheritable(reader, False)
        children.start("/usr/bin/env", ["env"], {"A": "1", "B": "2"}, (0, writer, 2), False, codes.append)
        await children.wait(20)
        print(os.read(reader, 1000))
    """) == ("b'A=1\\nB=2\\n'\n")


def test_signals_we_ignore_are_not_ignored_by_children():
    """Ctrl-C and a closed pipe end a program even if the server is deaf to them."""
    assert run("""
        numbers = [signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGPIPE, signal.SIGTSTP]
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)
        for number in numbers[:-1]:
            sh(f"kill -{number} $$; echo deaf")
            await children.wait(20)
        print(codes)
    """) == ("[-2, -1, -15, -13]\n")


def test_child_leads_a_session_without_our_terminal():
    """Without a terminal of its own a child has none at all."""
    assert run("""
        pid = sh("(echo >/dev/tty) 2>/dev/null || echo none; exec sleep 60", (0, writer, 2))
        print(os.read(reader, 100), os.getsid(pid) == os.getpgid(pid) == pid)
        os.kill(pid, signal.SIGKILL)
        await children.wait(20)
    """) == ("b'none\\n' True\n")


def test_terminal_controls_the_child():
    """A child on a terminal can open it as /dev/tty, and Ctrl-C on it interrupts."""
    assert run("""
        master, slave = os.openpty()
        sh("stty -echo; echo hello >/dev/tty; exec sleep 60", (slave, slave, slave), is_tty=True)
        print(os.read(master, 100))
        os.write(master, b"\\x03")
        await children.wait(20)
        print(codes)
    """) == ("b'hello\\r\\n'\n[-2]\n")


@on_linux
def test_nothing_escapes_the_end():
    """Children, grandchildren, orphans and processes in sessions of their own are killed."""
    assert run("""
        sh("trap '' HUP TERM; sleep 60 & setsid sh -c 'sleep 60 & echo up; wait'; wait", (0, writer, 2))
        sh("(setsid sleep 60 & echo up) & exit 0", (0, writer, 2))
        up = b""
        while up.count(b"up") < 2:
            up += os.read(reader, 100)
        children.kill_descendants()
        print(psutil.Process().children(recursive=True))
    """) == ("[]\n")


@on_linux
def test_orphans_fall_to_us_and_are_reaped():
    """A process whose parent has ended becomes our child, and does not stay a zombie when it ends."""
    assert run("""
        sh("sleep 60 & echo $!", (0, writer, 2))
        await children.wait(20)
        orphan = int(os.read(reader, 100))
        print(psutil.Process(orphan).ppid() == os.getpid())
        os.kill(orphan, signal.SIGKILL)
        while psutil.pid_exists(orphan):
            await asyncio.sleep(0)
        print(codes)
    """) == ("True\n[0]\n")
