"""supervisor: a machine seen over SSH: terminals, commands, streams."""

import asyncio
import hashlib
import shutil

import asyncssh
import pytest

from aether.emulator.guest.supervisor import login_environment
from tests.processes import supervisor

plain = pytest.mark.parametrize("runtime", ["plain"], indirect=True)  # what no runtime has a part in
each_server = pytest.mark.parametrize("runtime", ["plain", "sshd"], indirect=True)  # the built-in one, and OpenSSH's


@each_server
@pytest.mark.gen_test
async def test_only_the_key_logs_in(box):
    """Another key, another user, a password: none gets in."""
    other = asyncssh.generate_private_key("ssh-ed25519")
    for options in ({"client_keys": [other]}, {"username": "root"}, {"client_keys": [], "password": "x"}):
        with pytest.raises(asyncssh.PermissionDenied):
            async with box.ssh(**options):
                pass


@each_server
@pytest.mark.gen_test
async def test_own_authorized_keys_count_at_once(box):
    """A key the user adds to ~/.ssh/authorized_keys may log in from then on, whatever the file's mode."""
    other = asyncssh.generate_private_key("ssh-ed25519")
    line = other.export_public_key().decode().strip()
    await box.run(f"mkdir -p .ssh && echo '{line}' >> .ssh/authorized_keys")
    for mode in ("644", "666"):
        await box.run(f"chmod {mode} .ssh/authorized_keys")
        async with box.ssh(client_keys=[other]) as connection:
            assert (await connection.run("echo in")).stdout == "in\n"


@pytest.mark.gen_test
async def test_prompt(box):
    """The prompt is exactly `coder@aether:~$ `, and follows the directory."""
    async with box.terminal() as terminal:
        await terminal.until()
        await terminal.enter("cd /usr", "coder@aether:/usr$ ")


@pytest.mark.gen_test
async def test_environment_is_fresh(runtime, on, monkeypatch):
    """A shell sees Fly's variables and the client's locale, and nothing of the server's own."""
    monkeypatch.setenv("FLY_API_TOKEN", "secret1")
    monkeypatch.setenv("AETHER_TOKEN", "secret2")
    monkeypatch.setenv("UNRELATED", "secret3")
    box = await on(runtime, env={"GREETING": "hello"})
    async with box.ssh(env={"LC_TIME": "C", "EVIL": "1"}) as connection:
        text = (await connection.run("env")).stdout
    env = dict(line.split("=", 1) for line in text.splitlines())
    assert not {"FLY_API_TOKEN", "AETHER_TOKEN", "UNRELATED", "EVIL", "AETHER_GUEST_ENV", "PYTHONPATH"} & set(env)
    assert (env["USER"], env["LC_TIME"], env["GREETING"]) == ("coder", "C", "hello")
    assert (env["FLY_MACHINE_ID"], env["FLY_APP_NAME"]) == (box.id, "app")
    assert "secret" not in await box.run("cat /proc/$PPID/environ | tr '\\0' '\\n' | grep -e FLY_A -e AETHER_T; true")


@pytest.mark.gen_test
async def test_there_is_a_python(box):
    """Which the PTY host needs."""
    assert await box.run("python3 -I -S -c 'import socket, termios; print(socket.AF_UNIX)'") == "1\n"


def test_where_no_python_is_on_the_path_ours_is_at_its_end():
    """Before it come the places of an ordinary log-in, so that nothing else changes."""
    usual = login_environment("/home/coder", {})["PATH"]
    path = login_environment("/home/coder", {}, which=lambda *_, **__: None)["PATH"]
    assert path.startswith("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:")
    assert path in (usual, f"{usual}:{path.rpartition(':')[2]}")
    assert shutil.which("python3", path=path.rpartition(":")[2])


@each_server
@pytest.mark.gen_test
async def test_resize(box):
    """The terminal has the client's size, first and after each change."""
    async with box.terminal(term_size=(101, 33)) as terminal:
        await terminal.until()
        await terminal.enter("stty size", "33 101\r\n")
        terminal.process.change_terminal_size(72, 19)
        await terminal.enter("stty size", "19 72\r\n")


@pytest.mark.parametrize(("runtime", "modes"), [("plain", {}), ("sshd", {asyncssh.PTY_IUTF8: 1})], indirect=["runtime"])
@pytest.mark.gen_test
async def test_utf8(box, modes):
    """Characters of several bytes pass both ways, and backspace erases a whole one; OpenSSH's has to be told IUTF8."""
    async with box.terminal(term_modes=modes) as terminal:
        await terminal.until()
        await terminal.enter("echo grüße-日本語-🚀", "\rgrüße-日本語-🚀\r\n")
        await terminal.enter("echo go; cat", "\rgo\r\n")
        terminal.type("x日\x7fy\n\x04".encode())
        await terminal.until(b"\nxy\r\n")


@pytest.mark.gen_test
async def test_interrupt(box):
    """Ctrl-C ends the program in front and not the shell."""
    async with box.terminal() as terminal:
        await terminal.until()
        await terminal.enter("sh -c 'echo go; exec sleep 1000'", "go\r\n")
        terminal.type(b"\x03")
        await terminal.until()
        await terminal.enter("echo $?", "130\r\n")


@plain
@pytest.mark.gen_test
async def test_exit_status(box):
    """The exit status of a shell or command arrives, or the signal that ended it."""
    async with box.terminal() as terminal:
        await terminal.until()
        terminal.type(b"exit 7\n")
        await terminal.rest()
        assert (await terminal.process.wait()).exit_status == 7
    async with box.ssh() as connection:
        assert (await connection.run("exit 3")).exit_status == 3
        assert (await connection.run("kill -TERM $$")).exit_signal[0] == "TERM"


@plain
@pytest.mark.parametrize("command", [None, "seq 200000"])
@pytest.mark.gen_test
async def test_output_before_the_exit_is_complete(box, command):
    """What a shell wrote just before it ended arrives to the last byte."""
    async with box.terminal(command=command) as terminal:
        if command is None:
            await terminal.until()
            terminal.type(b"exec seq 200000\n")
        output = await terminal.rest()
    lines = output.rpartition(b"\x1b[?2004l\r")[2].split(b"\r\n")  # bash ends bracketed paste
    assert lines == [*(b"%d" % n for n in range(1, 200001)), b""]


@plain
@pytest.mark.gen_test
async def test_slow_reader_gets_everything(box):
    """A client that does not read stops the command; nothing is lost."""
    async with box.ssh() as connection:
        options = {"encoding": None, "window": 65536, "term_type": "xterm"}
        async with connection.create_process("seq 300000; printf end", **options) as process:
            await process.stdout.readexactly(1)
            await connection.run("true")
            output = await process.stdout.read()
    assert output.split(b"\r\n")[1:] == [*(b"%d" % n for n in range(2, 300001)), b"end"]


@plain
@pytest.mark.gen_test
async def test_big_input_arrives_whole(box):
    """1 MiB of input reaches a program on a terminal and one on a pipe."""
    data = b"".join(b"%062d\n" % n for n in range(16645))
    digest = hashlib.sha256(data).hexdigest().encode()
    async with box.ssh() as connection:
        piped = await connection.run("sha256sum", input=data, encoding=None)
        assert piped.stdout.split()[0] == digest
    async with box.terminal(command="stty -echo; echo ready; sha256sum") as terminal:
        await terminal.until(b"ready\r\n")
        terminal.type(data + b"\x04")
        assert (await terminal.rest()).split()[0] == digest


@plain
@pytest.mark.gen_test
async def test_big_input_to_a_raw_terminal(box):
    """Input a slow program has not read yet waits; raw mode has no lines to lose."""
    size = 1 << 20
    command = f"stty raw -echo; echo ready; sleep 0.2; head -c {size} | sha256sum"
    async with box.terminal(command=command) as terminal:
        await terminal.until(b"ready")
        terminal.type(b"x" * size)
        assert hashlib.sha256(b"x" * size).hexdigest().encode() in await terminal.rest()


@plain
@pytest.mark.gen_test
async def test_streams_are_separate_without_a_terminal(box):
    """Without a PTY standard error has its own stream and end of input closes the pipe."""
    async with box.ssh() as connection:
        result = await connection.run("cat; echo bad >&2", input="good")
    assert (result.stdout, result.stderr) == ("good", "bad\n")


@pytest.mark.gen_test
async def test_sessions_side_by_side(box):
    """Many connections, each with several shells, all answer."""

    async def shell(number: int) -> str:
        async with box.ssh() as connection:
            results = await asyncio.gather(*(connection.run(f"echo {number}.{n}") for n in range(4)))
        return "".join(result.stdout for result in results)

    outputs = await asyncio.gather(*(shell(n) for n in range(5)))
    assert outputs == ["".join(f"{n}.{m}\n" for m in range(4)) for n in range(5)]


@pytest.mark.gen_test
async def test_disconnect_hangs_up(box):
    """A client that goes away takes its shell with it."""
    command = "trap 'echo gone > hup; exit' HUP; echo ok; while :; do sleep 0.05; done"
    async with box.terminal(command=command) as terminal:
        await terminal.until(b"ok\r\n")
    await box.run("until [ -s hup ]; do sleep 0.01; done")  # a second SIGHUP would interrupt the open of a pipe


@pytest.mark.gen_test
async def test_history_survives_a_hang_up(box):
    """What was typed is in the history even if the shell had no time to say goodbye."""
    async with box.terminal() as terminal:
        await terminal.until()
        await terminal.enter("echo remember-me", "\rremember-me\r\n")
        await terminal.until()
    assert "echo remember-me" in await box.run("cat .bash_history")


@pytest.mark.gen_test
async def test_stop_ends_open_terminals(box):
    """A stop hangs up the shells and closes their connections."""
    async with box.terminal() as terminal:
        await terminal.until()
        await box.stop()
        await terminal.gone()


@pytest.mark.gen_test
async def test_a_shell_that_misses_the_hang_up_is_woken(box):
    """As bash does between its prompt and its wait for a key: it acts on the signal once another one comes."""
    command = "trap : HUP; trap 'echo woken; exit' WINCH; echo ok; while :; do sleep 0.05; done"
    async with box.terminal(command=command) as terminal:
        await terminal.until(b"ok\r\n")
        reading = asyncio.ensure_future(terminal.until(b"woken\r\n"))
        await box.stop(timeout="60s")  # a wait for `stopped` ends much earlier
        await reading


@pytest.mark.parametrize("runtime", ["plain", "bwrap"], indirect=True)
@pytest.mark.gen_test
async def test_output_just_before_a_stop_arrives(box, fill, death):
    """What the terminal still holds when its shell is dead is read, and sent, before the connection is closed."""
    async with box.terminal(command=fill.command) as terminal:
        await terminal.until(b"ok\r\n")
        process = supervisor()
        [shell] = process.children()
        process.suspend()
        dead = death(shell)
        written = await fill.go()
        await dead
        assert (await box.api("POST", f"{box.path}/stop", {})).body == {"ok": True}
        process.resume()
        assert len(await terminal.rest()) == written
        await box.wait("stopped")


@plain
@pytest.mark.gen_test
async def test_supervisor_has_one_thread(box):
    """The supervisor forks, so it must have a single thread (os.fork, Python 3.12)."""
    async with box.ssh() as connection:
        assert (await connection.run("ls /proc/$PPID/task | wc -l")).stdout == "1\n"
