"""`infra/images/base/pty_host.py` by itself: a process, its Unix socket, and the shells it keeps."""

import ast
import hashlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aether.terminals.frames import PROTOCOL, json_frame
from tests.host_client import SOURCE, HostClient, HostProcess, forged, load, wait_for
from tests.processes import alive

pytestmark = [
    pytest.mark.outside,
    pytest.mark.skipif(sys.platform != "linux", reason="machines are Linux"),
]
PROGRAM = load()
LOG_BYTES = PROGRAM.LOG_BYTES
WRITER = """
import os, sys, tty
tty.setraw(0)
count = os.open("count", os.O_CREAT | os.O_WRONLY)
number, most = 0, int(sys.argv[1])
os.write(1, b"go!")
while os.read(0, 1) != b"g":
    pass
while number < most:
    data = b"%015d\\n" % (number // 16)
    number += len(data)
    while data:
        data = data[os.write(1, data):]
    os.pwrite(count, b"%010d" % number, 0)
open("written", "w").close()
os.read(0, 1)
"""


@pytest.fixture
def make_host(tmp_path):
    """`make_host(LINGER_S=1)` → a host that runs."""
    made = []

    def make(**changes):
        home = tmp_path / f"home{len(made)}"
        home.mkdir()
        made.append(host := HostProcess(home, **changes))
        host.start()
        return host

    yield make
    for host in made:
        host.close()


@pytest.fixture
def host(make_host):
    """A host that runs."""
    return make_host()


@pytest.fixture
def connect():
    """`connect(host)` → a client of it."""
    made = []

    def make(host):
        made.append(HostClient(host.path))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def shell(host, connect):
    """A client of a new session, at its prompt."""
    client = connect(host)
    assert client.open()["is_new"]
    client.until(b"$ ")
    return client


def python(client, host, program, *arguments):
    """Run a Python program in the session's shell."""
    (host.home / "program.py").write_text(program)
    client.type(f"{sys.executable} -ISOO program.py {' '.join(map(str, arguments))}\n".encode())
    client.until(b"go!")


# The program.


def test_it_is_python_of_3_8_and_needs_nothing_but_the_standard_library():
    """Machines have old images."""
    tree = ast.parse(SOURCE.read_text(), feature_version=(3, 8))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names


def test_it_is_started_once_and_found_again(host):
    """One process, a socket that only its user may open in a folder that only they may enter."""
    process, path = host.process, host.path
    assert (host.start(), host.process) == (path, process)
    found = json.loads(host.run("find").stdout)
    assert found == {"own": f"{PROTOCOL}-0abcdef0.sock", "sockets": {found["own"]: path}}
    assert stat.S_IMODE(host.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600


def test_many_that_start_it_at_once_get_one_host(tmp_path):
    """As when a page with ten tabs is opened again."""
    host = HostProcess(tmp_path)
    argv = [sys.executable, "-ISOO", str(host.file), "start"]
    try:
        running = [subprocess.Popen(argv, env=host.env, stdout=subprocess.PIPE, text=True) for _ in range(8)]
        assert len({process.communicate()[0] for process in running}) == 1
        assert host.process.is_running()
    finally:
        host.close()


def test_what_a_killed_host_leaves_does_not_keep_the_next_from_starting(host, connect):
    """Its socket is still there."""
    before = host.process
    before.kill()
    wait_for(lambda: not alive([before]))
    assert json.loads(host.run("find").stdout)["sockets"] == {}
    host.start()
    client = connect(host)
    assert client.open()["is_new"]


@pytest.mark.parametrize("squat", ["link", "open", "file"])
def test_a_folder_that_is_not_its_own_is_refused(tmp_path, squat):
    """In /tmp anyone may make it first."""
    host = HostProcess(tmp_path)
    try:
        if squat == "link":
            host.folder.symlink_to(tmp_path)
        elif squat == "open":
            host.folder.mkdir()
            host.folder.chmod(0o777)
        else:
            host.folder.touch()
        done = host.run("start")
        assert (done.returncode, done.stdout) == (1, "")
        assert "is not a private directory of ours" in done.stderr
    finally:
        host.folder.rmdir() if squat == "open" else host.folder.unlink()


def test_an_idle_host_ends_and_takes_its_socket_along(make_host, connect):
    """A while after its last session."""
    host = make_host(LINGER_S="0.2")
    client = connect(host)
    process = host.process
    client.open()
    client.until(b"$ ")
    client.type(b"exit\n")
    assert client.until_closed()[-1] == ("X", {"status": 0})
    wait_for(lambda: not alive([process]))
    wait_for(lambda: not host.folder.exists())


def test_a_host_that_is_terminated_hangs_up_its_shells_and_sends_their_last_output(shell, host):
    """As when the machine stops."""
    process = host.process
    shell.type(
        b"exec sh -c 'trap \"echo last-$((1+1)); exit 7\" HUP; echo trapped-$((1+1)); while :; do read -r x; done'\n"
    )
    shell.until(b"trapped-2")
    process.terminate()
    shell.until(b"last-2")
    assert shell.until_closed()[-1] == ("X", {"status": 7})
    wait_for(lambda: not alive([process]))


def test_a_relay_carries_the_same_bytes(host):
    """For SSH servers that forward no Unix sockets."""
    argv = [sys.executable, "-ISOO", str(host.file), "relay", host.path]
    with subprocess.Popen(argv, env=host.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as relay:
        relay.stdin.write(forged("L"))
        relay.stdin.flush()
        size = int.from_bytes(relay.stdout.read(4), "big")
        assert relay.stdout.read(1) == b"L"
        assert json.loads(relay.stdout.read(size))["sessions"] == []
        relay.stdin.close()
        assert relay.wait() == 0


# The shell.


def test_the_shell_is_a_login_shell_on_a_terminal_of_its_own(shell, host):
    """Its session's leader, in the user's home, with sshd's umask, and no descriptor but the terminal's."""
    pid = int(shell.run("echo $$"))
    umask = os.umask(0o22)
    os.umask(umask)
    assert shell.run("echo $0 $SHLVL $USER; pwd; umask").splitlines() == ["-bash 1 u", str(host.home), f"{umask:04o}"]
    name = shell.run("tty").strip()
    assert shell.run("echo $SSH_TTY").strip() == name
    assert {str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()} == {name}
    assert (os.getsid(pid), os.getpgid(pid)) == (pid, pid)
    assert shell.run("echo x >/dev/tty") == "x\n"


def test_variables_come_from_the_client_by_name(host, connect):
    """Terminal and language, and nothing that a program would take for an order."""
    client = connect(host)
    client.open(env={"TERM": "xterm-256color", "LANG": "C.UTF-8", "COLORTERM": "truecolor", "LD_PRELOAD": "evil"})
    client.until(b"$ ")
    assert client.run("echo $TERM $LANG $COLORTERM $LD_PRELOAD") == "xterm-256color C.UTF-8 truecolor\n"


def test_limits_and_signals_are_those_it_was_started_with(shell, host):
    """The host itself may have more descriptors open, and ignores SIGHUP; its shells do not."""
    assert (
        shell.run("ulimit -Sn; ulimit -Hn").split()
        == subprocess.run(
            ["/bin/bash", "-c", "ulimit -Sn; ulimit -Hn"], check=True, capture_output=True, text=True
        ).stdout.split()
    )
    ignored = int(shell.run("sh -c 'grep SigIgn /proc/$$/status'").split()[1], 16)
    assert ignored & 1 << (signal.SIGHUP - 1) == ignored & 1 << (signal.SIGPIPE - 1) == 0


def test_jobs_can_be_stopped_continued_and_interrupted(shell):
    """Keys are signals."""
    shell.type(b"sleep 1000\n")
    shell.until_front(command="sleep 1000", is_shell=False)
    shell.type(b"\x1a")
    shell.until_front(is_shell=True)
    shell.type(b"fg\n")
    shell.until_front(command="sleep 1000")
    shell.type(b"\x03")
    shell.until(b"^C")
    shell.until(b"$ ")
    assert shell.run("echo $?") == "130\n"


def test_a_new_size_is_signalled_and_the_same_one_is_not(shell):
    """SIGWINCH."""
    shell.run("trap 'echo size $(stty size)' WINCH")
    shell.resize(80, 24)
    shell.resize(100, 30)
    shell.type(b"\n")
    assert shell.until(b"size ").count(b"size") == 0
    shell.until(b"30 100")


def test_what_is_in_front_is_told_with_the_terminal_s_modes(shell):
    """For titles, local echo and Ctrl-S."""
    shell.type(b"stty -echo; exec sleep 1000\n")
    front = shell.until_front(command="sleep 1000")
    assert front == {"command": "sleep 1000", "is_shell": True, "echo": False, "canonical": True, "ixon": True}


def test_a_raw_program_is_told_as_such(shell, host):
    """No echo, no lines, no flow control."""
    python(shell, host, WRITER, 16)
    front = shell.until_front(is_shell=False, canonical=False)
    assert (front["echo"], front["ixon"], "program.py" in front["command"]) == (False, False, True)


# The end.


@pytest.mark.parametrize(
    ("command", "end"),
    [("exit 3", {"status": 3}), ("kill -KILL $$", {"signal": "KILL"}), ("exec seq 1 50000", {"status": 0})],
)
def test_an_exit_is_told_behind_the_last_output(shell, command, end):
    """With its status or its signal, also to who asks later."""
    shell.type(f"{command}\n".encode())
    assert shell.until_closed()[-1] == ("X", end)
    if "seq" in command:
        assert shell.output.endswith(b"\r\n49999\r\n50000\r\n")


def test_a_session_that_has_ended_says_so_and_gives_what_is_left_of_its_output(shell, connect, host):
    """It is not started again."""
    offset = shell.offset
    shell.type(b"echo bye; exit 3\n")
    shell.until_closed()
    late = connect(host)
    answer = late.open(shell.name, offset=offset)
    assert (answer["is_new"], answer["offset"]) == (False, offset)
    assert late.until_closed()[-1] == ("X", {"status": 3})
    assert late.output == shell.output[offset:]
    assert late.output.endswith(b"bye\r\nlogout\r\n")


def test_a_shell_that_exits_while_nobody_looks_is_reaped_and_remembered(host, connect, shell):
    """With its last output."""
    shell.type(b"read -r line; echo last; exit 4\n")
    shell.until(b"exit 4\r\n")
    offset, pid = shell.offset, host.process.children()[0]
    shell.type(b"\n")
    shell.close()
    wait_for(lambda: not alive([pid]))
    late = connect(host)
    late.open(shell.name, offset=offset)
    assert late.until_closed()[-1] == ("X", {"status": 4})
    assert late.output.endswith(b"last\r\nlogout\r\n")


def test_a_session_is_hung_up_by_its_id_even_if_it_ignores_that(make_host, connect):
    """SIGHUP, and a little later its terminal is closed."""
    host = make_host(HANG_UP_S=(0.02, 0.1))
    client, other = connect(host), connect(host)
    client.open()
    client.until(b"$ ")
    client.type(b"trap '' HUP; echo trapped\n")
    client.until(b"trapped\r\n")
    other.send(json_frame("H", {"id": client.name}))
    assert client.until_closed()[-1] == ("X", {"signal": "HUP"})
    assert other.until_kind("L")["sessions"] == []
    other.send(json_frame("H", {"id": "nobody"}))
    assert other.until_kind("E")["code"] == "unknown"


def test_the_list_says_what_runs_where(host, connect, shell):
    """Command in front, size, times, whether a client has it open."""
    shell.type(b"sleep 1000\n")
    shell.until_front(command="sleep 1000")
    second = connect(host)
    second.open(size=[132, 43])
    second.until(b"$ ")
    second.close()
    third = connect(host)
    wait_for(lambda: not {one["id"]: one for one in third.sessions()}[second.name]["is_attached"])
    one, two = third.sessions()
    now = time.time()
    assert (one["id"], one["command"], one["is_shell"], one["is_attached"]) == (shell.name, "sleep 1000", False, True)
    assert (two["id"], two["command"], two["is_shell"], two["cols"], two["rows"]) == (
        second.name,
        "bash",
        True,
        132,
        43,
    )
    assert all(now - 60 < session["created_at"] <= session["last_used_at"] <= now for session in (one, two))


def test_more_sessions_without_a_client_than_allowed_end_the_longest_silent(host, connect):
    """And never one that has a client."""
    kept = connect(host)
    kept.open()
    kept.until(b"$ ")
    names = []
    for _ in range(4):
        client = connect(host)
        client.open(max_detached=2)
        client.until(b"$ ")
        names.append(client.name)
        client.close()
        wait_for(lambda: not any(one["is_attached"] and one["id"] != kept.name for one in kept.sessions()))
    wait_for(lambda: len(kept.sessions()) == 3)
    assert [session["id"] for session in kept.sessions()] == [kept.name, *names[2:]]


def test_shells_that_lose_their_clients_all_at_once_wait_for_them_a_while(make_host, connect):
    """As when the server is replaced: none that was used is hung up for its number before they can be back."""
    host = make_host(SETTLE_S="1.5")
    watcher, names = connect(host), []
    clients = [connect(host) for _ in range(5)]
    for client in clients:
        client.open(max_detached=2)
        client.until(b"$ ")
        client.run("echo used")
        names.append(client.name)
    for client in clients:
        client.close()
    wait_for(lambda: not any(session["is_attached"] for session in watcher.sessions()))
    assert [session["id"] for session in watcher.sessions()] == names
    wait_for(lambda: [session["id"] for session in watcher.sessions()] == names[3:])


# The log.


def test_a_client_that_was_cut_off_gets_what_it_lacks_from_its_byte_on(host, connect, shell):
    """No more and no less, and nothing is drawn anew."""
    python(shell, host, WRITER, 200_000)
    offset = shell.offset
    shell.type(b"g")
    shell.until(b"%015d\n" % 5000)
    shell.close()
    again = connect(host)
    answer = again.open(shell.name, offset=offset)
    assert (answer["offset"], answer["lost"], answer["modes"], answer["is_new"]) == (offset, 0, None, False)
    again.until(b"%015d\n" % (200_000 // 16 - 1))
    assert again.output == written(200_000)
    assert not [kind for kind, _ in again.seen if kind == "Z"]


def written(most):
    return b"".join(b"%015d\n" % number for number in range(most // 16))


def test_the_program_waits_while_the_log_is_full_and_nothing_is_lost(host, connect, shell):
    """For its grace; the log is as long as it may be."""
    size = 3 << 19
    python(shell, host, WRITER, size)
    offset = shell.offset
    shell.drawn()
    shell.type(b"g")
    shell.until(b"%015d\n" % 100)
    shell.close()
    count = host.home / "count"
    wait_for(lambda: count.exists() and int(count.read_bytes() or b"0") > LOG_BYTES - 200_000)
    again = connect(host)
    assert again.open(shell.name, offset=offset)["lost"] == 0
    assert int(count.read_bytes()) < LOG_BYTES + 300_000  # in the log, and in the kernel
    again.until(b"%015d\n" % (size // 16 - 1))
    assert again.output == written(size)


@pytest.mark.parametrize("grace_s", [0, 0.1])
def test_after_the_grace_the_oldest_output_goes_and_the_client_is_told_how_much(host, connect, grace_s):
    """Exactly."""
    client = connect(host)
    client.open(grace_s=grace_s)
    client.until(b"$ ")
    size = 3 << 19
    python(client, host, WRITER, size)
    offset = client.offset
    client.drawn()
    client.type(b"g")
    client.until(b"%015d\n" % 100)
    client.close()
    wait_for((host.home / "written").exists)
    again = connect(host)
    end = offset + size
    assert again.sessions()  # the host has read the rest by its next look
    answer = again.open(client.name, offset=offset)
    again.until(b"%015d\n" % (size // 16 - 1))
    assert answer["lost"] == answer["offset"] - offset
    assert answer["offset"] >= end - LOG_BYTES - 65536
    assert answer["modes"] is not None
    assert again.output == written(size)[answer["lost"] :]


def test_a_replay_begins_at_the_last_clear_of_the_ordinary_screen(host, connect, shell):
    """With the modes that were set before it, and the sizes; then the program is asked to draw."""
    shell.type(b"printf '\\033[31mred\\033]2;title\\007\\033[?2004h\\033[H\\033[2Jafter-%s' $((1+1)); read -r line\n")
    shell.until(b"after-2")
    again = connect(host)
    answer = again.open(shell.name, client="two")
    assert shell.until_closed()[-1] == ("G", None)
    assert (answer["until"], answer["lost"]) == (shell.offset, 0)
    again.until(b"after-2")
    assert again.output.startswith(b"\x1b[2J")
    modes = answer["modes"]
    assert modes.endswith("\x1b]2;title\x07\x1b[?2004h\x1b[31m")
    assert "\x1b[?1049l" in modes
    assert again.until_kind("Z") if not again.seen[1:] else again.seen[1][0] == "Z"


MODES = {
    "alternate screen": "\x1b[?1049h",
    "mouse": "\x1b[?1002h\x1b[?1006h",
    "bracketed paste": "\x1b[?2004h",
    "application keys": "\x1b[?1h\x1b=",
    "colours": "\x1b[1m\x1b[38;5;12m",
    "margins": "\x1b[3;20r",
    "line drawing": "\x1b(0",
    "second character set": "\x1b)0\x0e",
    "title": "\x1b]0;a title\x07",
    "background": "\x1b]11;#123456\x1b\\",
    "cursor": "\x1b[5 q\x1b[?25l",
    "keyboard": "\x1b[>4;2m",
}


def modes_behind(*pieces):
    """Return the modes that a replay begins with when the log begins behind what was written."""
    log = PROGRAM.Log(4096)
    for piece in (*pieces, b"x" * 5000):
        for start in range(0, len(piece), 4096):
            log.append(piece[start : start + 4096])
    text = log.modes().text().decode("latin-1")
    log.close()
    return text


@pytest.mark.parametrize("is_cut", [False, True])
@pytest.mark.parametrize("text", MODES.values(), ids=[*MODES])
def test_modes_in_force_at_the_log_s_start_come_with_a_replay(text, is_cut):
    """In the order in which they were set, however the program's writes were cut."""
    pieces = [text[at : at + 1].encode() for at in range(len(text))] if is_cut else [text.encode()]
    assert modes_behind(b"before", *pieces).endswith(text)


@pytest.mark.parametrize(
    ("text", "kept", "gone"),
    [
        ("\x1b[?1049h\x1b[?1002h\x1b[31m\x1bc", "\x1b[?1049l", "\x1b[?1002h"),
        ("\x1b[?1002h\x1b[?1002l", "\x1b[?1002l", "\x1b[?1002h"),
        ("\x1b[1m\x1b[31m\x1b[0m\x1b[4m", "\x1b[4m", "\x1b[31m"),
        ("\x1b]2;one\x07\x1b]2;two\x07", "\x1b]2;two\x07", "one"),
        ("\x1b[?1049hvim\x1b[?1049l", "\x1b[?1049l", "\x1b[?1049h"),
        ("\x1b]11;?\x07", "", "]11"),
    ],
)
def test_what_was_reset_or_replaced_does_not_come_back(text, kept, gone):
    """Nor does a question."""
    modes = modes_behind(text.encode())
    assert kept in modes
    assert gone not in modes


def test_a_log_that_begins_within_a_sequence_or_a_character_begins_with_the_whole_of_it():
    """The rest of it is in the log."""
    for cut, rest in ((b"\x1b[38;5;", b"12m"), ("日".encode()[:2], b""), (b"\x1b]2;a ti", b"tle\x07")):
        log = PROGRAM.Log(4096)
        log.append(cut)
        log.append((rest + b"x" * 4096)[:4096])
        assert log.modes().text().endswith(cut)
        assert log.read(log.start, 4096) == (rest + b"x" * 4096)[:4096]
        log.close()


@settings(deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=40), st.integers(16, 200))
def test_a_log_is_the_last_bytes_that_were_written(pieces, size):
    """Or a few less, where it would begin within a character."""
    log, written = PROGRAM.Log(size), b""
    for piece in pieces:
        for start in range(0, len(piece), size):
            log.append(piece[start : start + size])
        written += piece
        assert log.end == len(written)
        assert max(len(written) - size, 0) <= log.start <= max(len(written) - size, 0) + 3
        assert log.read(log.start, size) == written[log.start :]
    log.close()


def test_sizes_are_replayed_where_they_changed(host, connect, shell):
    """Lines break where they broke; the last size is the new client's."""
    shell.run("echo at-80")
    shell.resize(100, 30)
    shell.run("echo at-100")
    shell.resize(60, 20)
    shell.run("echo at-60")
    again = connect(host)
    again.open(shell.name, client="two", size=[90, 25])
    order = []
    while ("size", (90, 25)) not in order:
        kind, said = again.read()
        if kind == "Z":
            order.append(("size", said[1:]))
        if kind == "D":
            order += [("text", word) for word in (80, 100, 60) if b"\nat-%d" % word in said]
    assert order == [
        *(("size", (80, 24)), ("text", 80), ("size", (100, 30)), ("text", 100)),
        *(("size", (60, 20)), ("text", 60), ("size", (90, 25))),
    ]
    again.unread = b""
    assert again.run("stty size") == "25 90\n"


# Input.


def test_input_that_is_sent_twice_is_written_once_and_a_gap_is_not_filled(host, connect, shell):
    """By its offset in its client's count, over as many connections as it takes."""
    shell.type(b"cat\n")
    shell.until_front(command="cat")
    shell.type(b"one\n")
    shell.until(b"one\r\none\r\n")
    again = connect(host)
    answer = again.open(shell.name, offset=shell.offset)
    assert answer["taken"] == shell.typed
    again.typed -= 4
    again.type(b"one\ntwo\n")
    assert again.until(b"two\r\ntwo\r\n") == b""
    again.typed += 5
    again.type(b"never\n")
    again.typed = answer["taken"] + 4
    again.type(b"three\n")
    assert again.until(b"three\r\nthree\r\n") == b""
    while ("T", (again.typed, 0)) not in again.seen:
        again.read()
    other = connect(host)
    assert other.open(shell.name, client="two", offset=again.offset)["taken"] == 0


def test_what_the_program_does_not_read_is_told_and_waits(shell, host):
    """Half a mebibyte, while nothing reads it; then all of it is there."""
    shell.type(
        b"stty raw -echo; echo go-$((1+1)); read -r line <fifo; head -c 500000 | md5sum\n".replace(
            b"read", b"mkfifo fifo; read"
        )
    )
    shell.until(b"go-2")
    data = os.urandom(250_000).hex().encode()
    for start in range(0, len(data), 16384):
        shell.type(data[start : start + 16384])
    while (said := shell.until_kind("T"))[0] < shell.typed:
        pass
    assert said[1] > 400_000
    (host.home / "fifo").write_text("go\n")
    shell.until(hashlib.md5(data).hexdigest().encode())


# What goes wrong.


FORGED = {
    "no JSON": forged("O", b"{"),
    "no object": forged("O", b"[]"),
    "nothing in it": forged("O", b"{}"),
    "binary": forged("O", b"\xff" * 100),
    "4 GiB": forged("I", b"", (1 << 32) - 1),
    "unknown": forged("q", b"what"),
    "input before a session": forged("I", b"\0" * 12),
    "a size of one byte": forged("R", b"x"),
    "a list of a list": forged("H", b'["id"]'),
    "a wrong size": json_frame("O", {"protocol": PROTOCOL, "id": "x", "client": "y", "size": "big", "grace_s": 1}),
    "a text for a number": json_frame(
        "O", {"protocol": PROTOCOL, "id": "x", "client": "y", "size": [80, 24], "grace_s": "long", "max_detached": 1}
    ),
    "a terminal of a million columns": json_frame(
        "O", {"protocol": PROTOCOL, "id": "x", "client": "y", "size": [10**6, 24], "grace_s": 1, "max_detached": 1}
    ),
}


@pytest.mark.parametrize("frame", FORGED.values(), ids=[*FORGED])
def test_a_forged_frame_is_answered_with_an_error_and_disturbs_no_session(host, connect, shell, frame):
    """The connection is closed; the host and its sessions go on."""
    client = connect(host)
    client.send(frame)
    kind, said = client.until_closed()[-1]
    assert (kind, said["code"]) == ("E", "frame")
    assert shell.run("echo here") == "here\n"
    assert [session["id"] for session in shell.sessions()] == [shell.name]


def test_another_protocol_is_refused_by_name(host, connect):
    """A host that is older, or newer, than its client."""
    client = connect(host)
    answer = client.open(protocol=PROTOCOL + 1)
    assert answer == {"code": "protocol", "message": f"this host speaks protocol {PROTOCOL}"}


def test_a_truncated_frame_is_none(host, connect, shell):
    """A client that goes in the middle of one has said nothing."""
    client = connect(host)
    client.send(json_frame("O", {"protocol": PROTOCOL, "id": "x"})[:-3])
    client.socket.shutdown(socket.SHUT_WR)
    assert client.until_closed() == []
    assert [session["id"] for session in shell.sessions()] == [shell.name]


def test_a_forged_frame_in_a_session_ends_that_connection_only(host, connect, shell):
    """The session waits for its client."""
    shell.send(forged("I", b"short"))
    assert shell.until_closed()[-1][0] == "E"
    again = connect(host)
    assert again.open(shell.name, offset=shell.offset)["is_new"] is False
    assert again.run("echo here") == "here\n"


def test_what_a_machine_has_no_memory_for_is_refused_and_other_sessions_go_on(host, connect, shell):
    """A clear error, and no shell is left that no list shows."""
    process = host.process
    process.rlimit(psutil.RLIMIT_AS, (process.memory_info().vms + (3 << 20), psutil.RLIM_INFINITY))
    refused = None
    for _ in range(20):
        client = connect(host)
        if "code" in (answer := client.open()):
            refused = answer
            break
    assert refused["code"] == "resources"
    assert "the machine cannot do this" in refused["message"]
    assert shell.run("echo here") == "here\n"
    assert len(process.children()) == len(shell.sessions())


def test_a_shell_that_cannot_be_started_is_told(make_host, connect):
    """Exit status 127, as a shell says it."""
    host = make_host()
    host.close()
    host.env["SHELL"] = "/no/such/shell"
    host.start()
    client = connect(host)
    client.open()
    assert client.until_closed()[-1] == ("X", {"status": 127})


def test_a_second_client_takes_the_session_over(host, connect, shell):
    """The first is told, and what it still sends is nobody's."""
    second = connect(host)
    assert second.open(shell.name, client="two", offset=shell.offset)["is_new"] is False
    assert shell.until_closed()[-1] == ("G", None)
    assert second.run("echo mine") == "mine\n"
