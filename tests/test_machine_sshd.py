"""infra/images/base: the machine's own start script and sshd configuration, run by the system's OpenSSH server.

They run as PID 1 of a small machine made by bubblewrap: its own accounts, /etc/ssh, home and process numbers. What is
not the image's is the computer's. Only the port differs from a machine's.
"""

import asyncio
import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import asyncssh
import pytest

from aether.errors import SshError
from aether.ssh.connection import Pty
from aether.ssh.keys import make_host_key, public_text
from aether.ssh.pool import ConnectionPool
from aether.terminals.flow import START_WINDOW_BYTES
from tests.forwarding import FORBIDDEN, is_forwarded
from tests.screen import Screen

BASE = Path(__file__).parent.parent / "infra/images/base"
HOST = Path(__file__).parent / "stand_in_host.py"
PROMPT = "coder@aether:~$ "
SOCKETS = "/tmp/aether-1000-0f1ba701"
AWKWARD = {"QUOTES": """it's "quoted" `so` $HOME""", "LINES": "one\ntwo\n", "WIDE": "grüße-日本語", "EMPTY": ""}


def loopback_family():
    """Say what this computer's loopback speaks at best: some kernels are without IPv6."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return socket.AF_INET6
    except OSError:
        return socket.AF_INET


FAMILY = loopback_family()


class Prompted(Screen):
    """A shell that has a prompt."""

    async def until(self, sentinel=PROMPT):
        return await super().until(sentinel)

    async def begin(self, command, sign):
        """Type a command and wait for what it prints; the command's own echo must not have that."""
        self.chan.write(command.encode() + b"\n")
        await self.until(f"{sign}\r\n")

    async def run(self, command):
        self.chan.write(command.encode() + b"\n")
        await self.until("\r\n")
        return (await self.until()).replace("\r\n", "\n")


class Machine:
    """The files of a machine, and its start script when it runs."""

    def __init__(self, bwrap, path, port, host_key, user_key):
        self._bwrap = bwrap
        self.path = path
        self.port = port
        self.log = path / "log"
        self.process = None
        self.pid = None
        self._make_files(host_key, user_key)

    def _make_files(self, host_key, user_key):
        """Lay out what the Dockerfile makes and what Fly writes at the creation."""
        for name in ("ssh/authorized_keys.d", "home/coder/.ssh", "profile.d"):
            (self.path / name).mkdir(parents=True)
        shutil.copy(BASE / "sshd_config", self.path / "ssh")
        shutil.copy(BASE / "environment.sh", self.path / "profile.d/aether.sh")
        for name in ("bashrc", "profile"):
            shutil.copy(BASE / name, self.path / f"home/coder/.{name}")
        for path in (self.path / "home/coder", *(self.path / "home/coder").iterdir()):
            os.chown(path, 1000, 1000)
        (self.path / "bash.bashrc").write_text(f". /etc/profile.d/aether.sh\n{Path('/etc/bash.bashrc').read_text()}")
        others = [line for line in Path("/etc/passwd").read_text().splitlines() if line.startswith(("root:", "sshd:"))]
        (self.path / "passwd").write_text("\n".join([*others, "coder:x:1000:1000::/home/coder:/bin/bash", ""]))
        (self.path / "group").write_text("root:x:0:\ntty:x:5:\ncoder:x:1000:\nnogroup:x:65534:\n")
        (self.path / "shadow").write_text("root:*:19000:0:99999:7:::\ncoder:*:19000:0:99999:7:::\n")
        self.host_key_path = self.path / "ssh/ssh_host_ed25519_key"
        self.host_key_path.write_text(host_key.private)  # readable by all, as where `mode` is not known
        (self.path / "ssh/authorized_keys.d/coder").write_text(public_text(user_key))

    def argv(self, *command):
        """Build the command line that runs a command as the machine's PID 1."""
        mounts = {"ssh": "/etc/ssh", "home": "/home", "profile.d": "/etc/profile.d", "bash.bashrc": "/etc/bash.bashrc"}
        mounts |= {name: f"/etc/{name}" for name in ("passwd", "group", "shadow")}
        argv = [self._bwrap, "--unshare-pid", "--as-pid-1", "--die-with-parent", "--cap-add", "ALL"]
        argv += ["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/run"]
        argv += ["--perms", "1777", "--tmpfs", "/tmp", "--ro-bind", str(BASE), "/tmp/base"]
        for name, place in mounts.items():
            argv += ["--bind", str(self.path / name), place]
        return [*argv, "--chdir", "/", *command]

    def start(self, *arguments, env=None):
        """Run the start script, as the image's command does."""
        reader, writer = os.pipe()
        command = self.argv("--info-fd", str(writer), "/tmp/base/aether-sshd", "-p", str(self.port), *arguments)
        environment = {"PATH": os.environ["PATH"], **(env or {})}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, pass_fds=[writer], stderr=log, env=environment)
        os.close(writer)
        with os.fdopen(reader) as information:
            self.pid = json.load(information)["child-pid"]

    async def logged(self, text, times=1):
        """Wait until the log has a text."""
        while self.log.read_text().count(text) < times:  # noqa: ASYNC110  (a file has no event)
            await asyncio.sleep(0.01)

    async def banner(self):
        """Return the first line the SSH server says."""
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.002)
                continue
            with contextlib.closing(writer):
                return await reader.readline()

    def catches(self, number):
        """Say whether the start script has a trap for a signal (proc(5), /proc/pid/status)."""
        caught = re.search(r"^SigCgt:\s*(\w+)", Path(f"/proc/{self.pid}/status").read_text(), re.MULTILINE)
        return int(caught[1], 16) >> number - 1 & 1

    async def ended(self):
        """Wait for the end; return the exit status."""
        return await asyncio.to_thread(self.process.wait)

    def close(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def machine(io_loop, need, tmp_path, ports, host_key, user_key):
    """A machine that does not run yet."""
    if os.getuid() != 0:
        pytest.skip("sshd of a machine needs root, to let in another user")
    need("sshd")
    machine = Machine(need("bwrap"), tmp_path, next(ports), host_key, user_key)
    if subprocess.run(machine.argv("true"), check=False, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("bubblewrap cannot mount here, even as root")
    yield machine
    machine.close()


@pytest.fixture
def link(io_loop, machine, host_key, user_key):
    """`link()` → aether's own SSH client of the machine."""
    made = []

    def make(host=host_key.public, key=user_key, address="127.0.0.1", port=machine.port, user="coder"):
        made.append(ConnectionPool(lambda: (address, port), user, key, host))
        return made[-1]

    yield make
    for each in made:
        io_loop.run_sync(each.close)


@pytest.fixture
def terminal(link):
    """`await terminal()` → a terminal at its first prompt."""

    async def open_one(cols=80, rows=24, on=None, **options):
        screen = Prompted()
        await (on or link(**options)).open_shell(lambda: screen, Pty(cols, rows, START_WINDOW_BYTES))
        await screen.until()
        return screen

    return open_one


@pytest.mark.gen_test
async def test_a_terminal_with_the_prompt_of_the_prd(machine, terminal):
    """Login with the key the machine was created with, as `coder` at home, and a PTY."""
    machine.start()
    screen = await terminal()
    assert await screen.run("whoami; pwd; tty; echo $TERM $SHELL") == (
        "coder\n/home/coder\n/dev/pts/0\nxterm-256color /bin/bash\n"
    )
    screen.chan.write(b"cd /usr\n")
    await screen.until("coder@aether:/usr$ ")


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
@pytest.mark.gen_test
async def test_it_listens_on_both_families(machine, terminal, address):
    """Fly's proxy comes over IPv4; the private network is IPv6."""
    if address == "::1" and FAMILY != socket.AF_INET6:
        pytest.skip("this computer has no IPv6")
    machine.start()
    await terminal(address=address)


@pytest.mark.gen_test
async def test_the_terminal_follows_the_clients_size(machine, terminal):
    """First and after each change."""
    machine.start()
    screen = await terminal(101, 31)
    assert await screen.run("stty size") == "31 101\n"
    screen.chan.change_terminal_size(72, 19)
    assert await screen.run("stty size") == "19 72\n"


@pytest.mark.gen_test
async def test_the_locale_is_utf_8(machine, terminal):
    """For programs, for the shell, and for the erase key."""
    machine.start()
    screen = await terminal()
    assert (
        await screen.run("locale charmap; printf 日本 | wc -m; stty -a | command grep -o '[-]*iutf8'")
        == "UTF-8\n2\niutf8\n"
    )


@pytest.mark.gen_test
async def test_the_environment_is_the_machines_and_what_the_client_may_set(machine, user_key, terminal):
    """Its variables arrive whatever is in them, in terminals and commands; nothing but locale and colours is taken."""
    machine.start(env={**AWKWARD, "LANG": "xx_XX", "HOME": "/nowhere", "UID": "7", "BASHOPTS": "x", "not.a-name": "1"})
    screen = await terminal()
    assert await screen.run("echo $LANG $COLORTERM; FLY=1 bash -c 'echo $FLY'") == "C.UTF-8 truecolor\n1\n"
    options = {"username": "coder", "client_keys": [user_key], "known_hosts": None, "config": None, "agent_path": None}
    sent = {"LC_TIME": "POSIX", "EVIL": "1", "LD_PRELOAD": "x"}
    async with asyncssh.connect("127.0.0.1", machine.port, env=sent, **options) as connection:
        done = await connection.run("env -0")
    assert done.stderr == ""
    seen = dict(pair.split("=", 1) for pair in done.stdout.split("\0")[:-1])
    assert {name: seen.get(name) for name in AWKWARD} == AWKWARD
    assert (seen["HOME"], seen["LANG"], seen["LC_TIME"]) == ("/home/coder", "C.UTF-8", "POSIX")
    assert {"/usr/local/go/bin", "/home/coder/.local/bin", "/usr/sbin"} <= set(seen["PATH"].split(":"))
    assert not {"EVIL", "LD_PRELOAD"} & set(seen)


@pytest.mark.gen_test
async def test_what_a_user_changes_is_not_changed_back(machine, terminal):
    """A shell within a login has the login's variables."""
    machine.start(env={"GREETING": "hello"})
    screen = await terminal()
    assert await screen.run("GREETING=bye PATH=/bin:/usr/local/go/bin bash -ic 'echo $GREETING $PATH'") == (
        "bye /bin:/usr/local/go/bin\n"
    )


@pytest.mark.gen_test
async def test_another_host_key_than_the_pinned_one_is_refused(machine, link):
    """What answers is not our machine."""
    machine.start()
    with pytest.raises(SshError, match="another SSH host key"):
        await link(host=make_host_key().public).connect()


@pytest.mark.gen_test
async def test_another_user_key_is_refused(machine, link):
    """And the message says what may be wrong."""
    machine.start()
    with pytest.raises(SshError, match="refuses our SSH key"):
        await link(key=asyncssh.generate_private_key("ssh-ed25519")).connect()


@pytest.mark.gen_test
async def test_a_key_is_the_only_way_in_and_root_has_none(machine, link, user_key):
    """No password is asked for, and our own key does not open root's account."""
    machine.start()
    await link().connect()
    options = {"config": None, "agent_path": None, "known_hosts": None}
    methods = await asyncssh.get_server_auth_methods("127.0.0.1", machine.port, "coder")
    assert methods == ["publickey"]
    with pytest.raises(asyncssh.PermissionDenied):
        await asyncssh.connect("127.0.0.1", machine.port, username="coder", password="coder", client_keys=[], **options)
    with pytest.raises(SshError, match="refuses our SSH key"):
        await link(user="root").connect()


@pytest.mark.gen_test
async def test_the_key_in_the_image_opens_it_too(machine, terminal, user_key):
    """~/.ssh/authorized_keys, as the build argument writes it, for machines without `files`."""
    (machine.path / "ssh/authorized_keys.d/coder").rename(machine.path / "home/coder/.ssh/authorized_keys")
    machine.start()
    await terminal()


@pytest.mark.gen_test
async def test_many_terminals_share_one_connection(machine, link, terminal):
    """More than OpenSSH's usual ten, each a shell of its own."""
    machine.start()
    shared = link()
    screens = await asyncio.gather(*(terminal(on=shared) for _ in range(12)))
    outputs = await asyncio.gather(*(screen.run("tty") for screen in screens))
    assert sorted(outputs) == sorted(f"/dev/pts/{number}\n" for number in range(12))
    assert len(shared.connections) == 1


@pytest.mark.gen_test
async def test_two_clients_at_once(machine, terminal):
    """As two servers have; neither sees the other's terminal."""
    machine.start()
    first, second = await asyncio.gather(terminal(), terminal())
    first.chan.write(b"read x; echo got-$x\n")
    assert await second.run("echo apart") == "apart\n"
    first.chan.write(b"it\n")
    await first.until("got-it\r\n")


@pytest.mark.gen_test
async def test_who_is_gone_is_noticed_and_who_is_silent_is_not(machine, link, terminal):
    """Keepalives end a connection without answers, and only that. (sshd counts them in whole seconds.)"""
    machine.start("-o", "ClientAliveInterval=1", "-o", "ClientAliveCountMax=3")  # with one, a busy computer is silent
    silent = await terminal()
    is_cut, is_dropped = asyncio.Event(), asyncio.Event()

    async def relay(reader, writer):
        behind, ahead = await asyncio.open_connection("127.0.0.1", machine.port)

        async def forward(source, target):
            while data := await source.read(65536):
                if not is_cut.is_set():
                    target.write(data)

        to_machine = asyncio.create_task(forward(reader, ahead))
        await forward(behind, writer)
        is_dropped.set()
        to_machine.cancel()
        for each in (ahead, writer):
            each.close()

    async with await asyncio.start_server(relay, "127.0.0.1", 0) as server:
        gone = await terminal(port=server.sockets[0].getsockname()[1])
        is_cut.set()
        await is_dropped.wait()
        await gone.is_closed.wait()
    assert await silent.run("echo here") == "here\n"


@pytest.mark.gen_test
async def test_sshd_restarts_under_an_open_terminal(machine, terminal):
    """SIGHUP, as an upgrade of OpenSSH sends: shells go on, and new ones open."""
    machine.start()
    screen = await terminal()
    os.kill(machine.pid, signal.SIGHUP)
    await machine.logged("Server listening", times=4 if FAMILY == socket.AF_INET6 else 2)  # each family, twice
    assert await screen.run("echo alive") == "alive\n"
    await terminal()


@pytest.mark.gen_test
async def test_sigterm_is_a_clean_end_of_everything(machine, terminal):
    """Exit status 0, and the terminals end with the machine; it comes back as itself."""
    machine.start()
    screen = await terminal()
    await screen.run("echo kept > file")
    os.kill(machine.pid, signal.SIGTERM)
    assert await machine.ended() == 0
    await screen.is_closed.wait()
    machine.start()
    assert await (await terminal()).run("cat file") == "kept\n"


@pytest.mark.gen_test
async def test_a_stop_right_after_the_start_is_heard(machine):
    """Whatever the start script is about to do, from its first trap on."""
    for n in range(12):
        machine.start()
        while not machine.catches(signal.SIGTERM):  # noqa: ASYNC110  (a process has no event)
            await asyncio.sleep(0)
        await asyncio.sleep(n / 4000)  # each time at another moment of the script
        os.kill(machine.pid, signal.SIGTERM)
        assert await machine.ended() == 0


@pytest.mark.gen_test
async def test_ctrl_c_ends_a_program(machine, terminal):
    """Though a script ignores it for what it runs in the background, as the SSH server."""
    machine.start()
    screen = await terminal()
    await screen.begin("bash -c 'echo up-$((1+1)); exec sleep 1000'", "up-2")
    screen.chan.write(b"\x03")
    await screen.until()


@pytest.mark.gen_test
async def test_a_stop_hangs_up_terminals_and_gives_their_programs_time(machine, terminal):
    """As when a line is cut: an editor keeps what is not saved, a shell says goodbye."""
    machine.start()
    shell, job = await terminal(), await terminal()
    await shell.begin("trap 'sleep 1; echo bye; echo shell > shell' EXIT; echo set-$((1+1))", "set-2")
    editor = "trap 'sleep 0.3; echo job > job; exit' HUP; echo up-$((1+1)); while :; do sleep 0.05; done"
    await job.begin(f"bash -c {shlex.quote(editor)}", "up-2")
    os.kill(machine.pid, signal.SIGTERM)
    await shell.until("bye")
    assert await machine.ended() == 0
    home = machine.path / "home/coder"
    assert ((home / "shell").read_text(), (home / "job").read_text()) == ("shell\n", "job\n")


@pytest.mark.gen_test
async def test_a_stop_wakes_a_shell_that_overlooks_its_hang_up(machine, terminal):
    """As bash does between its prompt and its wait for a key: it acts on the signal once another one comes."""
    machine.start()
    screen = await terminal()
    late = "trap : HUP; trap 'echo woken > woken; exit' WINCH; echo up-$((1+1)); while :; do sleep 0.05; done"
    await screen.begin(f"exec bash -c {shlex.quote(late)}", "up-2")
    os.kill(machine.pid, signal.SIGTERM)
    assert await machine.ended() == 0
    assert (machine.path / "home/coder/woken").read_text() == "woken\n"


@pytest.mark.gen_test
async def test_a_stop_does_not_wait_for_programs_that_do_not_care(machine, terminal):
    """They have three seconds."""
    machine.start()
    screen = await terminal()
    await screen.begin("trap '' HUP; echo set-$((1+1)); while :; do sleep 0.05; done", "set-2")
    os.kill(machine.pid, signal.SIGTERM)
    assert await machine.ended() == 0
    await screen.is_closed.wait()


@pytest.fixture
def connect(machine, user_key):
    """`async with connect()` → a connection of asyncssh's own client."""
    options = {"username": "coder", "client_keys": [user_key], "known_hosts": None, "config": None, "agent_path": None}
    return lambda **more: asyncssh.connect("127.0.0.1", machine.port, **{**options, **more})


@pytest.fixture
def keep(machine):
    """`await keep(connection, command)` → the socket of a shell that runs it from its first client on."""

    async def start(connection, command):
        await connection.run("cat > host.py", input=HOST.read_text(), check=True)
        done = await connection.run(f"python3 -I -S host.py {SOCKETS}/0 {shlex.quote(command)}", check=True)
        assert done.stdout == "up\n"
        return f"{SOCKETS}/0"

    return start


@pytest.mark.gen_test
async def test_nothing_but_the_pty_hosts_sockets_is_forwarded(machine, connect, tmp_path):
    """Neither ports nor other sockets, agents, displays or networks."""
    machine.start()
    await machine.banner()
    async with connect(agent_forwarding=str(tmp_path / "agent")) as connection:
        assert [kind for kind in FORBIDDEN if await is_forwarded(connection, kind)] == []
        for path in ("/run/other", f"{SOCKETS}/0"):
            with pytest.raises(asyncssh.ChannelOpenError):
                await connection.open_unix_connection(path)
        await connection.run("true", check=True)


@pytest.mark.gen_test
async def test_a_kept_shell_outlives_its_client(machine, connect, keep):
    """The next one finds the same shell."""
    machine.start()
    await machine.banner()
    answers = []
    async with connect() as connection:
        path = await keep(connection, "while read line; do echo $line $$; done")
    for _ in range(2):
        async with connect() as connection:
            reader, writer = await connection.open_unix_connection(path)
            writer.write(b"hello\n")
            await reader.readuntil(b"\nhello ")
            answers.append(await reader.readuntil(b"\r\n"))
    assert answers[0] == answers[1]


@pytest.mark.gen_test
async def test_a_stop_hangs_up_kept_shells_and_their_last_output_arrives(machine, connect, keep):
    """All of it."""
    machine.start()
    await machine.banner()
    async with connect() as connection:
        command = "stty -onlcr; trap 'head -c 300000 /dev/zero; echo bye; echo done > file; exit' HUP; echo up; "
        path = await keep(connection, f"{command} while :; do sleep 0.05; done")
        reader, _ = await connection.open_unix_connection(path)
        await reader.readuntil(b"up\n")
        os.kill(machine.pid, signal.SIGTERM)
        output = await reader.read()
        assert (output.count(b"\0"), output[-10:]) == (300000, b"bye\n[over]")
        assert await machine.ended() == 0
    assert (machine.path / "home/coder/file").read_text() == "done\n"


@pytest.mark.gen_test
async def test_what_sshd_ends_with_is_what_the_machine_ends_with(machine):
    """Where it was not stopped: a restart policy depends on that."""
    machine.start("-o", "Nonsense=yes")
    assert await machine.ended() in (1, 255)  # by its version


@pytest.mark.gen_test
async def test_without_a_host_key_one_is_made_that_stays(machine):
    """And only this machine has it."""
    machine.host_key_path.unlink()
    seen = []
    for _ in range(2):
        machine.start()
        await machine.banner()
        seen.append((await asyncssh.get_server_host_key("127.0.0.1", machine.port)).export_public_key())
        os.kill(machine.pid, signal.SIGTERM)
        await machine.ended()
    assert seen[0] == seen[1]
    assert oct(machine.host_key_path.stat().st_mode & 0o777) == "0o600"


@pytest.mark.parametrize("is_created_with_key", [True, False])
@pytest.mark.gen_test
async def test_the_time_from_start_to_banner_is_printed(machine, capsys, is_created_with_key):
    """What a cold start has to wait for; a figure, not a limit."""
    if not is_created_with_key:
        machine.host_key_path.unlink()
    started_at = time.perf_counter()
    machine.start()
    assert (await machine.banner()).startswith(b"SSH-2.0-OpenSSH_")
    took_ms = (time.perf_counter() - started_at) * 1000
    with capsys.disabled():
        sys.stdout.write(
            f"\nmachine: {took_ms:.0f} ms to the banner, host key {'there' if is_created_with_key else 'made'}\n"
        )


def test_openssh_knows_every_option(machine):
    """sshd itself finds nothing to complain of in the configuration."""
    machine.start("-t")
    assert machine.process.wait() == 0
    assert machine.log.read_text() == ""


@pytest.fixture
def told(machine):
    """What sshd itself says of each option."""
    done = subprocess.run(machine.argv("/tmp/base/aether-sshd", "-T"), check=True, capture_output=True, text=True)
    return dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)


def test_only_the_pty_hosts_sockets_are_forwarded(told):
    """As hosts for TCP, their paths mean nothing."""
    assert told["allowstreamlocalforwarding"] == "local"
    assert told["permitopen"].split() == [f"[{SOCKETS}/{number}]:*" for number in range(10)]
    options = ("allowagentforwarding", "x11forwarding", "permittunnel", "gatewayports", "streamlocalbindunlink")
    assert {told[option] for option in options} == {"no"}
    assert (told["allowtcpforwarding"], told["permitlisten"]) == ("local", "none")


def test_nothing_stands_between_a_login_and_its_prompt(told):
    """No look-up of names, no modules of PAM, no words of the day."""
    assert {told[option] for option in ("usedns", "usepam", "printmotd", "printlastlog")} == {"no"}


def test_there_is_room_for_many_terminals_and_for_strangers_who_knock(told):
    """On one connection, and on the way to one."""
    assert (told["maxsessions"], told["maxstartups"]) == ("128", "64:30:256")


def test_the_image_has_the_users_uid_and_no_secret():
    """What the tests above lay out is what the Dockerfile makes."""
    text = (BASE / "Dockerfile").read_text()
    assert "useradd --create-home --uid 1000 --user-group --shell /bin/bash --password '*' coder" in text
    assert "rm -rf /var/lib/apt/lists/* /var/log/*.log /var/log/apt /etc/ssh/ssh_host_*" in text
    assert "sed -i '1i . /etc/profile.d/aether.sh' /etc/bash.bashrc" in text
