"""server.py as users run it: a process with flags, signals and an exit status."""

import asyncio
import json
import logging
import os
import re
import signal
import sys
from pathlib import Path

import asyncssh
import psutil
import pytest
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

import server as program
from tests.processes import alive, below

ROOT = Path(__file__).parent.parent
PROMPT = "coder@aether:~$ "


class Process:
    """A program of ours that prints its URL."""

    def __init__(self, process):
        self.process, self.line, self.url = process, "", ""

    async def read_url(self):
        self.line = (await self.process.stdout.readline()).decode()
        self.url = re.search(r"http://\S+:\d+", self.line)[0]

    async def end(self, number=signal.SIGTERM):
        """Send a signal; return exit status and what was printed on stderr."""
        self.process.send_signal(number)
        _, log = await self.process.communicate()
        return self.process.returncode, log.decode()


@pytest.fixture
def run(io_loop, server_environ):
    """`await run("server.py", "--port", "0")` → a running program that has said its URL."""
    started = []

    async def start(*argv, **more):
        env = {key: value for key, value in os.environ.items() if not key.startswith(("FLY_", "AETHER_"))}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *argv,
            cwd=ROOT,
            env={**env, **server_environ, **more},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        started.append(process)
        program = Process(process)
        if argv[-1] != "refused":
            await program.read_url()
        return program

    async def end_all():
        for process in started:
            if process.returncode is None:
                process.kill()
            await process.communicate()
            process._transport.close()

    yield start
    io_loop.run_sync(end_all)


@pytest.fixture
def base_url():
    """Programs that run in a terminal are told the URL by each program."""
    return ""


@pytest.fixture
def http_server():
    """No in-process server."""


@pytest.fixture
def prompt(terminal):
    """`await prompt(url, machine_id)` → a terminal that shows its prompt."""

    async def open_terminal(url, machine_id):
        tty = await terminal(machine_id, url=url)
        await tty.until(PROMPT)
        return tty

    return open_terminal


@pytest.mark.gen_test
async def test_one_command_gives_a_terminal_and_one_line_with_the_url(run, ask, prompt):
    """The line says that machines are local, and why."""
    server = await run("server.py", "--port", "0")
    assert "no Fly account is configured" in server.line
    status, box = await ask(server.url, "POST", "/machines")
    assert status == 201
    assert await (await prompt(server.url, box["id"])).run("echo $((6*7))") == "42\n"


NAMELESS = """
import os, pwd, runpy

def getpwuid(number):
    raise KeyError(number)

pwd.getpwuid = getpwuid
for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
    os.environ.pop(name, None)
runpy.run_path("server.py", run_name="__main__")
"""


@pytest.mark.gen_test
async def test_a_user_without_a_name_can_run_it(run, ask, prompt):
    """As with `docker run --user 12345`: asyncssh asks for it."""
    server = await run("-c", NAMELESS, "--port", "0")
    _, box = await ask(server.url, "POST", "/machines")
    await prompt(server.url, box["id"])


FEW_DESCRIPTORS = """
import resource, runpy

resource.setrlimit(resource.RLIMIT_NOFILE, (256, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
runpy.run_path("server.py", run_name="__main__")
"""


@pytest.mark.gen_test
@pytest.mark.skipif(sys.platform != "linux", reason="another process's limits are Linux's to tell")
async def test_the_server_has_descriptors_for_many_terminals_and_programs_in_them_have_the_usual_number(
    run, ask, prompt
):
    """Each terminal takes one of ours; a program that uses select(2) breaks above 1024."""
    server = await run("-c", FEW_DESCRIPTORS, "--port", "0")
    soft, hard = psutil.Process(server.process.pid).rlimit(psutil.RLIMIT_NOFILE)
    most = sys.maxsize if hard == psutil.RLIM_INFINITY else hard
    assert soft == min(program.DESCRIPTORS, most)
    _, box = await ask(server.url, "POST", "/machines")
    assert await (await prompt(server.url, box["id"])).run("ulimit -n") == f"{min(1024, most)}\n"


@pytest.mark.gen_test
async def test_terminals_over_openssh(run, ask, prompt, need):
    """Local machines may run the SSH server that real ones run; a terminal shows no difference."""
    need("bwrap")
    need("sshd")
    server = await run("server.py", "--port", "0", AETHER_EMULATOR_RUNTIME="sshd")
    _, box = await ask(server.url, "POST", "/machines")
    tty = await prompt(server.url, box["id"])
    assert await tty.run("cat /proc/$PPID/comm; echo $TERM $LANG $COLORTERM $FLY_APP_NAME") == (
        "sshd\nxterm-256color C.UTF-8 truecolor local\n"
    )
    await tty.type('echo go-$((1+1)); read -r line; echo "<$line>"\n')
    await tty.until("go-2")  # the line is the terminal's own to edit from here on
    await tty.type("x日\x7fy\n")  # erased whole, as sshd does not see to by itself
    await tty.until("<xy>\r\n")
    inside = below(pid=server.process.pid)
    status, _ = await server.end()
    assert (status, await tty.until_closed()) == (0, 1012)
    assert not alive(inside)


@pytest.mark.gen_test
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_closes_terminals_with_1012_and_exits_0(run, ask, prompt, number):
    """Orderly, whichever signal; nothing of a machine is left, and no secret is in the log."""
    server = await run("server.py", "--port", "0")
    _, box = await ask(server.url, "POST", "/machines")
    tty = await prompt(server.url, box["id"])
    await tty.run("setsid sleep 1000 & nohup sleep 1001 >/dev/null 2>&1 & echo SECRETWORD")
    inside = below(pid=server.process.pid)
    status, log = await server.end(number)
    assert (status, await tty.until_closed()) == (0, 1012)
    assert "SECRETWORD" not in log
    assert "Traceback" not in log
    assert not alive(inside)


@pytest.mark.gen_test
async def test_after_kill_9_nothing_runs_on_and_the_machines_are_there_again_with_their_files(run, ask, prompt):
    """Children die with the server; files do not."""
    server = await run("server.py", "--port", "0")
    _, box = await ask(server.url, "POST", "/machines")
    tty = await prompt(server.url, box["id"])
    await tty.run("echo precious > work.txt; (setsid sleep 1000 &) ; (nohup sleep 1001 >/dev/null 2>&1 &)")
    inside = below(pid=server.process.pid)
    assert len(inside) >= 3
    await server.end(signal.SIGKILL)
    await asyncio.to_thread(psutil.wait_procs, inside, 5)
    assert not alive(inside)
    server = await run("server.py", "--port", "0")
    status, again = await ask(server.url, "GET", f"/machines/{box['id']}")
    assert (status, again["state"], again["name"]) == (200, "stopped", box["name"])
    await ask(server.url, "POST", f"/machines/{box['id']}/start")
    assert await (await prompt(server.url, box["id"])).run("cat work.txt") == "precious\n"


@pytest.mark.gen_test
async def test_the_same_client_drives_an_emulator_in_another_process(run, ask, prompt, tmp_path):
    """With token and app the server talks to FLY_FLAPS_BASE_URL as it would to Fly."""
    folder = str(tmp_path / "fly")
    fly = await run("-m", "aether.emulator", "--port", "0", "--token", "T0KEN", "--state-dir", folder)
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(tmp_path / "key")
    server = await run(
        "server.py",
        "--port=0",
        FLY_API_TOKEN="T0KEN",
        FLY_APP_NAME="app",
        FLY_FLAPS_BASE_URL=fly.url,
        AETHER_SSH_HOST="127.0.0.1",
        AETHER_SSH_PRIVATE_KEY_FILE=str(tmp_path / "key"),
    )
    assert "Fly app app" in server.line
    _, box = await ask(server.url, "POST", "/machines")
    await prompt(server.url, box["id"])
    status, log = await server.end()
    assert (status, "T0KEN" in log) == (0, False)
    assert (await fly.end())[0] == 0


@pytest.mark.gen_test
async def test_machines_at_the_provider_outlive_the_server(run, ask, prompt, tmp_path):
    """A restart of the server stops nothing at Fly; the next server finds it running."""
    folder = str(tmp_path / "fly")
    fly = await run("-m", "aether.emulator", "--port", "0", "--token", "T", "--state-dir", folder)
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(tmp_path / "key")
    environ = {
        "FLY_API_TOKEN": "T",
        "FLY_APP_NAME": "app",
        "FLY_FLAPS_BASE_URL": fly.url,
        "AETHER_SSH_HOST": "127.0.0.1",
        "AETHER_SSH_PRIVATE_KEY_FILE": str(tmp_path / "key"),
    }
    server = await run("server.py", "--port=0", **environ)
    _, box = await ask(server.url, "POST", "/machines")
    await prompt(server.url, box["id"])
    await server.end(signal.SIGKILL)
    server = await run("server.py", "--port=0", "--state-dir", str(tmp_path / "empty"), **environ)
    assert (await ask(server.url, "GET", f"/machines/{box['id']}"))[1]["state"] == "running"
    await prompt(server.url, box["id"])


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("environ", "status", "said"),
    [
        ({"FLY_API_TOKEN": "T"}, 2, "FLY_APP_NAME is not"),
        ({"AETHER_PORT": "x"}, 2, "AETHER_PORT"),
        ({"AETHER_SSH_PRIVATE_KEY_FILE": "/missing"}, 1, "cannot be read"),
    ],
)
async def test_what_cannot_work_refuses_to_start_and_says_why(run, environ, status, said):
    """One line, no traceback."""
    server = await run(
        "server.py", "--log-format", "text", "--deployment", "refused", **{"AETHER_PORT": "0", **environ}
    )
    _, log = await server.process.communicate()
    assert server.process.returncode == status
    assert said in log.decode()
    assert "Traceback" not in log.decode()


@pytest.mark.gen_test
async def test_a_signal_during_the_start_ends_it(run, tmp_path):
    """A Fly that accepts and never answers does not keep the server from stopping."""
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(tmp_path / "key")
    accepted = asyncio.get_running_loop().create_future()
    silent = await asyncio.start_server(lambda reader, writer: accepted.set_result(writer), "127.0.0.1", 0)
    fly = {"FLY_API_TOKEN": "T", "FLY_APP_NAME": "app", "AETHER_SSH_PRIVATE_KEY_FILE": str(tmp_path / "key")}
    url = f"http://127.0.0.1:{silent.sockets[0].getsockname()[1]}"
    server = await run("server.py", "--port=0", "--deployment", "refused", FLY_FLAPS_BASE_URL=url, **fly)
    connection = await accepted
    status, log = await server.end()
    assert (status, "Traceback" in log) == (0, False)
    connection.close()
    silent.close()


@pytest.mark.gen_test
async def test_nobody_else_can_read_the_state_folder(run, ask, tmp_path):
    """It holds the key that opens the machines, and their files."""
    server = await run("server.py", "--port", "0")
    await ask(server.url, "POST", "/machines")
    secrets = [tmp_path / "state", *(tmp_path / "state").glob("emulator"), tmp_path / "state" / "ssh_key"]
    assert [path.stat().st_mode & 0o077 for path in secrets] == [0, 0, 0]


@pytest.mark.outside
@pytest.mark.gen_test
async def test_a_server_that_stops_takes_no_more_connections_while_it_lets_go_of_its_machines():
    """So that a proxy in front turns to another one at once."""
    (listener,) = bind_sockets(0, "127.0.0.1")
    port = listener.getsockname()[1]
    seen = []

    class Machines:
        async def stop(self):
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", port)
            seen.append("stopped")

    front = HTTPServer(Application())
    front.add_socket(listener)
    await program.stop(front, Machines())
    assert seen == ["stopped"]


@pytest.mark.gen_test
async def test_a_state_folder_that_cannot_be_used_is_said(run, tmp_path):
    """One line that names the folder."""
    (tmp_path / "file").touch()
    server = await run("server.py", "--port=0", "--state-dir", str(tmp_path / "file"), "--deployment", "refused")
    _, log = await server.process.communicate()
    assert server.process.returncode == 1
    assert str(tmp_path / "file") in log.decode()
    assert "Traceback" not in log.decode()


@pytest.mark.gen_test
async def test_requests_under_way_at_the_shutdown_are_answered(run, ask):
    """Each is done, or told to come back; nothing crashes."""
    server = await run("server.py", "--port", "0")
    asking = [asyncio.ensure_future(ask(server.url, "POST", "/machines")) for _ in range(5)]
    await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
    status, log = await server.end()
    assert (status, "Traceback" in log) == (0, False)
    assert {(await one)[0] for one in asking} <= {201, 503}


@pytest.mark.gen_test
async def test_a_port_in_use_is_said_with_what_to_try(run):
    """`try --port N`."""
    server = await run("server.py", "--port", "0")
    port = server.url.rpartition(":")[2]
    second = await run("server.py", "--port", port, "--deployment", "refused")
    _, log = await second.process.communicate()
    assert second.process.returncode == 1
    assert f"try --port {int(port) + 1}" in log.decode()


@pytest.mark.gen_test
async def test_the_log_can_be_json(run, ask):
    """One object a line, for log collectors."""
    server = await run("server.py", "--port", "0", "--log-format", "json")
    await ask(server.url, "POST", "/machines")
    _, log = await server.end()
    lines = [json.loads(line) for line in log.splitlines()]
    assert any("created" in line["message"] for line in lines)
    assert all(set(line) == {"time", "level", "logger", "message"} for line in lines)
    assert all(re.fullmatch(r"[0-9-]{10}T[0-9:]{8}Z", line["time"]) for line in lines)


def test_a_record_in_json_has_its_exception_and_nothing_that_a_library_attached():
    """asyncssh attaches the packet, which may be what a user typed."""
    record = logging.LogRecord("asyncssh", logging.ERROR, "", 0, "lost %s", ("it",), None)
    record.packet = b"typed"
    try:
        raise OSError("gone")
    except OSError:
        record.exc_info = sys.exc_info()
    line = json.loads(program.LogFormatter().format(record))
    assert set(line) == {"time", "level", "logger", "message", "exception"}
    assert line["message"] == "lost it"
    assert line["exception"].endswith("OSError: gone")
