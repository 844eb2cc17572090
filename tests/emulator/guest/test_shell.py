"""shell: one process and the channel it talks through, over real SSH to a process that serves nothing else."""

import asyncio
import signal
import socket
import subprocess
import sys

import asyncssh
import pytest

SERVER = """
import asyncio, asyncssh, socket, sys
from aether.emulator.guest.children import Children
from aether.emulator.guest.builtin_ssh import NoThread
from aether.emulator.guest.shell import Shell

class Login(asyncssh.SSHServer):
    def begin_auth(self, username):
        return False

    def session_requested(self):
        opened.append(Shell(children, {"SHELL": "/bin/sh", "PATH": "/usr/bin:/bin"}, opened.remove))
        return opened[-1]

async def main():
    global children, opened
    children, opened = Children(), []
    asyncio.get_running_loop().set_default_executor(NoThread())
    key = asyncssh.generate_private_key("ssh-ed25519")
    sock = socket.socket(fileno=int(sys.argv[1]))
    options = {"config": None, "encoding": None, "line_editor": False, "gss_host": None}
    connection = await asyncssh.run_server(sock, server_factory=Login, server_host_keys=[key], **options)
    await connection.wait_closed()
    assert not opened, "a shell did not say that it is closed"
    await children.wait(5)
    children.kill_descendants()

asyncio.run(main())
"""


@pytest.fixture
def ssh(io_loop):
    """A connection to a server whose every session is a shell; the server must end without an error."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    with theirs:
        command = [sys.executable, "-W", "error", "-c", SERVER, str(theirs.fileno())]
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stderr=subprocess.PIPE, text=True)
    options = {"username": "coder", "known_hosts": None, "client_keys": None, "config": None, "agent_path": None}
    connection = io_loop.run_sync(lambda: asyncssh.run_client(ours, **options))
    yield connection
    connection.close()
    io_loop.run_sync(connection.wait_closed)
    _, errors = process.communicate()
    assert (process.returncode, errors) == (0, "")


@pytest.fixture
def on_tty(ssh):
    """`async with on_tty(command) as process`: a command on a terminal."""

    def start(command, **options):
        return ssh.create_process(command, **{"term_type": "xterm", "term_size": (80, 24), **options})

    return start


@pytest.fixture
def until_stopped(ssh):
    """Wait until a process that printed its number has stopped itself; return the number."""

    async def wait(process):
        pid = int(await process.stdout.readline())
        await ssh.run(f"until ps -o state= -p {pid} | grep -q T; do :; done", check=True)
        return pid

    return wait


@pytest.mark.gen_test
async def test_shell_without_a_command_is_a_login_shell(ssh):
    """Its name begins with a dash; a command is run by the same shell with `-c`."""
    assert (await ssh.run(input="echo $0\n")).stdout == "-sh\n"
    assert (await ssh.run("echo $0")).stdout == "sh\n"


@pytest.mark.gen_test
async def test_environment_is_the_machines_and_the_clients_locale(ssh):
    """Of what the client sends only LANG and LC_* count; TERM comes with the terminal."""
    sent = {"LANG": "de", "LC_ALL": "C", "LC_BAD": "a\0b", "PATH": "/evil", "LD_PRELOAD": "x", "XLC_A": "1"}
    lines = (await ssh.run("env", env=sent, term_type="vt220")).stdout.split()
    kept = {line for line in lines if not line.startswith(("PWD=", "OLDPWD=", "SHLVL=", "_="))}
    assert kept == {"LANG=de", "LC_ALL=C", "TERM=vt220", "SHELL=/bin/sh", "PATH=/usr/bin:/bin"}


@pytest.mark.gen_test
async def test_resize_is_signalled(on_tty):
    """A program on the terminal gets SIGWINCH and finds the new size."""
    script = "stty -echo; trap 'stty size; exit' WINCH; echo up; read line; echo no signal"
    async with on_tty(script) as process:
        assert await process.stdout.readline() == "up\r\n"
        process.change_terminal_size(132, 43)
        process.stdin.write("\n")
        assert await process.stdout.read() == "43 132\r\n"


@pytest.mark.gen_test
async def test_sizes_no_terminal_has_are_cut(on_tty):
    """A size the kernel cannot hold ends neither the session nor the server."""
    async with on_tty("stty size", term_size=(100_000, 0)) as process:
        assert await process.stdout.read() == "0 65535\r\n"


@pytest.mark.gen_test
async def test_signals_reach_the_whole_group(ssh):
    """A client's signal ends what the shell waits for, so that its trap runs; an unknown one is ignored."""
    async with ssh.create_process("trap 'echo caught; exit 5' USR1; sh -c 'echo up; exec sleep 60'; :") as process:
        assert await process.stdout.readline() == "up\n"
        process.send_signal("NONSENSE")
        process.send_signal("_DFL")
        process.send_signal("USR1")
        assert (await process.stdout.read(), (await process.wait()).exit_status) == ("caught\n", 5)


@pytest.mark.gen_test
async def test_signals_reach_the_job_in_front(on_tty):
    """On a terminal a signal reaches the job in front as well, whose group is not the shell's."""
    async with on_tty("set -m; trap : USR1; sh -c 'echo up; exec sleep 60'; echo ended $?") as process:
        assert await process.stdout.readline() == "up\r\n"
        process.send_signal("USR1")
        assert (await process.stdout.read()).endswith("ended 138\r\n")


@pytest.mark.gen_test
async def test_break_is_an_interrupt(ssh):
    """A break acts like Ctrl-C."""
    async with ssh.create_process("trap 'exit 5' INT; sh -c 'echo up; exec sleep 60'; :") as process:
        await process.stdout.readline()
        process.send_break(100)
        assert (await process.wait()).exit_status == 5


@pytest.mark.gen_test
async def test_end_of_input_does_not_end_a_terminal(on_tty):
    """The end of the client's input is no end of file on the terminal: only Ctrl-D is."""
    async with on_tty("cat; echo ended") as process:
        process.stdin.write("typed\n")
        process.stdin.write_eof()
        assert await process.stdout.readexactly(14) == "typed\r\n" * 2
        process.send_signal("TERM")
        assert (await process.stdout.read(), (await process.wait()).exit_signal[0]) == ("", "TERM")


@pytest.mark.gen_test
async def test_input_that_is_not_read_is_dropped(ssh):
    """A program that ends before its input is over is no error, and the connection goes on."""
    result = await ssh.run("head -c 1; exec <&-; echo; exit 3", input="x" * (1 << 21))
    assert (result.stdout, result.exit_status) == ("x\n", 3)
    assert (await ssh.run("cat", input="next")).stdout == "next"


@pytest.mark.gen_test
async def test_exit_status_follows_the_last_output(ssh):
    """On pipes a session lasts as long as any process can write, as with sshd."""
    async with ssh.create_process("exec 3<&0; (cat <&3; echo late) & echo early; exit 4") as process:
        assert await process.stdout.readline() == "early\n"
        process.stdin.write_eof()
        assert (await process.stdout.read(), (await process.wait()).exit_status) == ("late\n", 4)


@pytest.mark.gen_test
async def test_death_by_a_signal_without_a_name_is_an_exit_status(ssh):
    """SSH has no names for real-time signals; shells report them as 128 and the number."""
    if not hasattr(signal, "SIGRTMIN"):
        pytest.skip("no real-time signals here")
    assert (await ssh.run(f"kill -{signal.SIGRTMIN + 2} $$")).exit_status == 128 + signal.SIGRTMIN + 2


@pytest.mark.gen_test
async def test_terminal_ends_with_its_shell(on_tty):
    """A job left behind does not keep a terminal's session open."""
    async with on_tty("trap '' HUP; sleep 60 & echo early; exit 4") as process:
        assert (await process.stdout.read(), (await process.wait()).exit_status) == ("early\r\n", 4)


@pytest.mark.gen_test
async def test_hang_up_wakes_what_is_stopped(ssh, until_stopped):
    """A stopped shell ends too when its client goes away."""
    async with ssh.create_process("echo $$; kill -STOP $$; sleep 60") as process:
        pid = await until_stopped(process)
    await ssh.run(f"while kill -0 {pid} 2>/dev/null; do :; done", check=True)


@pytest.mark.gen_test
async def test_input_waits_for_a_slow_program(ssh, until_stopped):
    """Input a program does not read holds up its own session only, and none of it is lost."""
    async with ssh.create_process("echo $$; kill -STOP $$; wc -c") as process:
        pid = await until_stopped(process)
        process.stdin.write("x" * (5 << 20))
        process.stdin.write_eof()
        await ssh.run(f"kill -CONT {pid}", check=True)
        assert int(await process.stdout.read()) == 5 << 20


@pytest.mark.gen_test
async def test_output_waits_for_a_slow_client(ssh):
    """Output the client does not read holds up its own session only, and none of it is lost."""
    async with ssh.create_process(f"head -c {5 << 20} /dev/zero | tr '\\0' x; exit 3", window=65536) as process:
        await process.stdout.readexactly(1)
        assert (await ssh.run("echo other")).stdout == "other\n"
        assert len(await process.stdout.read()) == (5 << 20) - 1
        assert (await process.wait()).exit_status == 3


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.gen_test
async def test_sessions_leave_no_descriptor(ssh, on_tty):
    """However a session ends, its pipes or terminal are closed."""
    count = "ls /proc/$PPID/fd | wc -l"
    async with ssh.create_process(f"echo forked; read -r _; {count}") as process:
        await process.stdout.readline()  # so the server has let go of the ends that it gave away
        process.stdin.write("\n")
        before = int(await process.stdout.readline())
    for command in ("exit 0", "exec cat"):
        async with on_tty(command), ssh.create_process(command):
            await asyncio.gather(*(ssh.run("echo") for _ in range(3)))
    await ssh.run(f"until [ $({count}) -eq {before} ]; do :; done", check=True)
