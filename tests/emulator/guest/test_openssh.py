"""sshd: log-ins, terminals and the end of a machine whose SSH server is OpenSSH's."""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess

import asyncssh
import psutil
import pytest

from aether.emulator.guest.openssh import shell_script, shells
from aether.emulator.guest.process_table import end_of, hang_up, processes
from aether.emulator.options import Options
from tests.processes import below

AWKWARD = {
    "QUOTES": """it's "quoted" `so` $HOME ${x} $(y)""",
    "LINES": "one\ntwo\r\n\nfour\n",
    "SLASHES": "\\a\\\\ \\",
    "SPACES": "  a\t b  ",
    "SIGNS": "#=;&|<>*?[]{}()!~%^",
    "WIDE": "grüße-日本語-🚀",
    "EMPTY": "",
    "LONG": "x" * 60000,
}


@pytest.fixture
def runtime(need):
    """OpenSSH's server, which runs under bubblewrap only."""
    need("bwrap")
    need("sshd")
    return "sshd"


@pytest.fixture
def connections():
    """Find the sshd processes below us; each names itself after what it does."""

    def find():
        return below("sshd")

    return find


@pytest.mark.gen_test
async def test_the_machines_keys_open_it(runtime, on, encode, key):
    """The host key is the one among the machine's files, the user's key the one in authorized_keys.d."""
    host_key = asyncssh.generate_private_key("ssh-ed25519")
    file = {"guest_path": "/etc/ssh/ssh_host_ed25519_key", "raw_value": encode(host_key.export_private_key())}
    box = await on(runtime, files=[file])
    await box.listening()
    options = {"username": "coder", "client_keys": [key], "config": None, "agent_path": None}
    trusted = ([host_key.convert_to_public()], [], [])
    async with asyncssh.connect("127.0.0.1", box.port, known_hosts=trusted, **options) as connection:
        assert "OpenSSH" in connection.get_extra_info("server_version")
        assert (await connection.run("whoami")).stdout == "coder\n"


@pytest.mark.gen_test
async def test_without_a_host_key_one_is_made_that_lasts(box):
    """As long as the machine's files."""
    seen = []
    for _ in range(2):
        await box.listening()
        key = await asyncssh.get_server_host_key("127.0.0.1", box.port, config=None)
        seen.append(key.export_public_key())
        await box.restart()
    assert seen[0] == seen[1]


@pytest.mark.gen_test
async def test_the_login_shell_is_at_home(box):
    """Prompt, home, shell and a terminal of its own are those of the built-in server."""
    async with box.terminal() as terminal:
        await terminal.until()
        terminal.type(b"echo $PWD $SHELL $USER $SHLVL $TERM; shopt login_shell; stat -c %U,%a $(tty)\n")
        output = await terminal.until()
    assert b"/home/coder /bin/bash coder 1 xterm\r\nlogin_shell    \ton\r\ncoder,6" in output


@pytest.mark.gen_test
async def test_variables_arrive_whatever_is_in_them(runtime, on):
    """Fly's and the machine's own, over SSH as in the API's exec; the user's own are not the machine's to set."""
    box = await on(runtime, env={**AWKWARD, "HOME": "/nowhere", "A-B": "no variable to a shell"})
    seen = dict(pair.split("=", 1) for pair in (await box.run("env -0")).split("\0")[:-1])
    assert {name: seen[name] for name in AWKWARD} == AWKWARD
    assert (seen["FLY_MACHINE_ID"], seen["FLY_APP_NAME"], seen["FLY_REGION"]) == (box.id, "app", "iad")
    assert (seen["HOME"], seen["LANG"]) == ("/home/coder", "C.UTF-8")
    answer = await box.api("POST", f"{box.path}/exec", {"command": ["env", "-0"]})
    assert f"FLY_MACHINE_ID={box.id}" in answer.body["stdout"].split("\0")


@pytest.mark.gen_test
async def test_the_client_may_set_its_locale_and_colours(runtime, on):
    """Those win over the machine's, and nothing else is taken."""
    box = await on(runtime, env={"LC_TIME": "C", "COLORTERM": "none"})
    sent = {"LANG": "de_DE.UTF-8", "LC_TIME": "POSIX", "COLORTERM": "truecolor", "EVIL": "1"}
    async with box.ssh(env=sent) as connection:
        text = (await connection.run("echo $LANG $LC_TIME $COLORTERM; echo $EVIL")).stdout
    assert text == "de_DE.UTF-8 POSIX truecolor\n\n"


@pytest.mark.gen_test
async def test_a_password_is_not_offered(box, need):
    """OpenSSH's own client is told that a key is the only way."""
    await box.listening()
    options = ["BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "IdentityFile=none"]
    argv = [need("ssh"), "-F", "none", "-p", str(box.port), *(f"-o{option}" for option in options), "coder@127.0.0.1"]
    ssh = await asyncio.create_subprocess_exec(*argv, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    _, text = await ssh.communicate()
    assert b"Permission denied (publickey)." in text


@pytest.mark.gen_test
async def test_terminals_share_a_connection(box):
    """More than sshd's usual ten, each a shell of its own."""
    async with box.ssh() as connection:
        commands = [f"echo {number} $(tty) | cut -c 1-14; read x" for number in range(10, 30)]
        opened = [await connection.create_process(command, term_type="xterm") for command in commands]
        lines = [await process.stdout.readline() for process in opened]
    assert lines == [f"{number} /dev/pts/{number - 10}"[:14] + "\r\n" for number in range(10, 30)]


@pytest.mark.gen_test
async def test_exit_status_and_streams(box):
    """A command's exit status, its signal, and its errors apart from its output."""
    async with box.ssh() as connection:
        result = await connection.run("cat; echo bad >&2; exit 3", input="good")
        assert (result.stdout, result.stderr, result.exit_status) == ("good", "bad\n", 3)
        assert (await connection.run("kill -TERM $$")).exit_signal[0] == "TERM"


@pytest.mark.gen_test
async def test_files_can_be_fetched(box):
    """With sftp."""
    await box.run("echo text > file")
    async with box.ssh() as connection, connection.start_sftp_client() as sftp, sftp.open("file") as file:
        assert await file.read() == "text\n"


@pytest.mark.gen_test
async def test_no_process_of_ours_is_in_between(box, connections):
    """The connection is sshd's own: what is typed passes no process of ours."""
    async with box.terminal() as terminal:
        await terminal.until()
        ports = [link.raddr.port for process in connections() for link in process.net_connections("tcp")]
        supervisors = below(argument="aether.emulator.guest.supervisor")
        held = [link.status for process in supervisors for link in process.net_connections("tcp")]
        assert terminal.process.get_extra_info("sockname")[1] in ports
    assert set(held) == {psutil.CONN_LISTEN}


@pytest.mark.gen_test
async def test_stop_ends_sshd_and_its_terminals(box, connections):
    """A stop does not wait for clients that stay connected."""
    async with box.terminal() as terminal:
        await terminal.until()
        assert connections()
        await box.stop(timeout="60s")  # a wait for `stopped` ends much earlier
        await terminal.gone()
    assert connections() == []


@pytest.mark.gen_test
async def test_stop_hangs_up_the_job_in_front(box):
    """A program may finish its work, though its shell ignores SIGHUP."""
    async with box.terminal() as terminal:
        await terminal.until()
        job = """bash -c 'trap "sleep 0.2; echo done > file; exit" HUP; echo go; while :; do sleep 0.05; done'"""
        terminal.type(f"trap : HUP; {job}; exit\n".encode())
        await terminal.until(b"\rgo\r\n")
        await box.stop()
    await box.start()
    assert await box.run("cat file") == "done\n"


@pytest.mark.gen_test
async def test_output_just_before_a_stop_arrives(box, connections, fill, death):
    """What the terminal still holds when its shell is dead is read, and sent, before the connection is closed."""
    async with box.terminal(command=f"{fill.command}; sleep 1000") as terminal:
        await terminal.until(b"ok\r\n")
        [shell] = [p for sshd in connections() for p in sshd.children() if not p.name().startswith("sshd")]
        for sshd in connections():
            sshd.suspend()
        written = await fill.go()
        dead = death(shell)
        assert (await box.api("POST", f"{box.path}/stop", {})).body == {"ok": True}
        await dead
        for sshd in connections():
            sshd.resume()
        assert len(await terminal.rest()) == written
        await box.wait("stopped")


@pytest.mark.gen_test
async def test_files_survive_a_stop(box):
    """If the machine says so: `rootfs.persist`."""
    await box.run("echo kept > file; echo kept > /tmp/file")
    await box.restart()
    assert await box.run("cat file /tmp/file") == "kept\nkept\n"


@pytest.mark.gen_test
async def test_ssh_is_refused_until_the_delay_is_over(runtime, open_emulator, open_api, create, virtual):
    """A machine is `started` some time before its SSH server is."""
    options = Options(sshd_delay_s=5)
    emulator = await open_emulator(runtime, clock=virtual, sleep=virtual.sleep, options=options)
    box = await create(open_api(emulator.url))
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", box.port)
    await virtual.advance(5)
    assert await box.run("echo in") == "in\n"


@pytest.mark.gen_test
async def test_a_destroyed_machine_frees_its_port(box, connections):
    """Even from under an open terminal."""
    async with box.terminal() as terminal:
        await terminal.until()
        await box.api("DELETE", f"{box.path}?force=true")
        await box.wait("destroyed")
    assert connections() == []
    with socket.create_server(("127.0.0.1", box.port)):
        pass


@pytest.mark.gen_test
async def test_a_connection_that_starts_the_machine_is_served(runtime, open_emulator, open_api, create, key):
    """With autostart the first connection waits in the queue until sshd takes it."""
    emulator = await open_emulator(runtime)
    box = await create(open_api(emulator.url))
    services = [{**box.record["config"]["services"][0], "autostart": True}]
    await box.stop()
    await box.api("POST", box.path, {"config": {**box.record["config"], "services": services}, "skip_launch": True})
    await box.wait("stopped")
    options = {"username": "coder", "client_keys": [key], "known_hosts": None, "config": None, "agent_path": None}
    async with asyncssh.connect("127.0.0.1", box.port, **options) as connection:
        assert (await connection.run("echo in")).stdout == "in\n"


@pytest.fixture
def hangs_up():
    """A process started now ends when its line does, under nohup(1), too."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.outside
@pytest.mark.parametrize("name", ["sshd", "sshd-session"])
@pytest.mark.gen_test
async def test_a_shell_is_known_by_who_started_it(hangs_up, tmp_path, name):
    """Since OpenSSH 9.8 that is sshd-session; neither itself nor what the shell starts counts as one."""
    shutil.copy("/bin/sh", tmp_path / name)
    argv = [tmp_path / name, "-c", "setsid sh -c 'sleep 1000 & echo up; wait' & wait"]
    connection = await asyncio.create_subprocess_exec(*argv, stdout=subprocess.PIPE)
    await connection.stdout.readline()
    [shell] = [shell for shell in shells(processes()) if shell.parent == connection.pid]
    end = end_of(shell.pid)
    hang_up(shell)
    await end
    assert shell.name == "sh"
    await connection.communicate()
    await end_of(shell.pid)  # as of one that is gone already


@pytest.mark.outside
def test_the_script_sets_what_is_a_variable_to_a_shell():
    """Names that are none, and what no environment can hold, are left out instead of breaking every log-in."""
    environment = {"A": "1", "A-B": "2", "C": "\0", "x; reboot": "3", "É": "4", "SHELL": "/bin/sh"}
    script = shell_script({**environment, "JSON": json.dumps("'\n")})
    argv = ["sh", "-c", script, "sh", "-c", "env -0"]
    output = subprocess.run(argv, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=True).stdout
    seen = dict(pair.split("=", 1) for pair in output.split("\0")[:-1])
    assert {name: seen[name] for name in seen.keys() & {*environment, "JSON"}} == {
        "A": "1",
        "SHELL": "/bin/sh",
        "JSON": json.dumps("'\n"),
    }
