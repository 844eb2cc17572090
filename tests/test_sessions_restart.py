"""The server is killed, or stops, in the middle of work: the next one goes on with the same shells, to the byte."""

import asyncio
import hashlib
import os
import random
import signal
import sys

import asyncssh
import pytest

from tests.session_client import SessionClient
from tests.test_server import Process
from tests.test_sessions import PROMPT, begin

pytestmark = pytest.mark.outside
FLOOD = """
import hashlib, os, random, sys, termios, tty
numbers, digest, left = random.Random(1), hashlib.sha256(), int(sys.argv[1])
tty.setraw(0)
os.write(1, b"go!")
while left:
    data = numbers.randbytes(min(left, 65536) // 2).hex().encode()
    digest.update(data)
    left -= len(data)
    while data:
        data = data[os.write(1, data):]
os.write(1, b"[%s]" % digest.hexdigest().encode())
"""


class Servers:
    """A provider in a process of its own, and the servers over it, one after the other."""

    def __init__(self, start, ask, folder):
        self._start, self._ask, self._folder = start, ask, folder
        self.server = None

    @property
    def url(self):
        return self.server.url if self.server else "http://127.0.0.1:1"

    async def open(self):
        """Start both; return a machine's JSON."""
        folder = str(self._folder / "fly")
        self._fly = await self._start("-m", "aether.emulator", "--port", "0", "--token", "T", "--state-dir", folder)
        asyncssh.generate_private_key("ssh-ed25519").write_private_key(self._folder / "key")
        await self.begin()
        return (await self._ask(self.url, "POST", "/machines"))[1]

    async def begin(self):
        """Start a server that knows only what the provider tells."""
        self.server = await self._start(
            *("server.py", "--port=0", "--state-dir", str(self._folder / "state")),
            FLY_API_TOKEN="T",
            FLY_APP_NAME="app",
            FLY_FLAPS_BASE_URL=self._fly.url,
            AETHER_SSH_HOST="127.0.0.1",
            AETHER_SSH_PRIVATE_KEY_FILE=str(self._folder / "key"),
        )

    async def end(self, number=signal.SIGKILL):
        """Send the server a signal; return what it logged."""
        server, self.server = self.server, None
        return (await server.end(number))[1]

    async def replace(self):
        """Kill the server, and start another."""
        await self.end()
        await self.begin()

    def home(self, box):
        """Return the user's files on a machine."""
        return self._folder / "fly/machines" / box["fly_machine_id"] / "rootfs/home/coder"


@pytest.fixture
def start(io_loop, server_environ):
    """`await start("server.py", "--port", "0")` → a running program that has said its URL."""
    started = []

    async def run(*argv, **more):
        env = {key: value for key, value in os.environ.items() if not key.startswith(("FLY_", "AETHER_"))}
        pipes = {"stdout": asyncio.subprocess.PIPE, "stderr": asyncio.subprocess.PIPE}
        env = {**env, **server_environ, **more}
        started.append(process := await asyncio.create_subprocess_exec(sys.executable, *argv, env=env, **pipes))
        program = Process(process)
        await program.read_url()
        return program

    async def end_all():
        for process in reversed(started):
            if process.returncode is None:
                process.terminate()
            await process.communicate()
            process._transport.close()

    yield run
    io_loop.run_sync(end_all)


@pytest.fixture
def servers(start, ask, tmp_path):
    """A provider and a server, not started yet."""
    return Servers(start, ask, tmp_path)


@pytest.fixture
def client_of(io_loop):
    """`client_of(url, box)` → a client of a new session."""
    made = []

    def make(url, box, **options):
        made.append(SessionClient(url, box["id"], **options))
        return made[-1]

    yield make

    async def close():
        for client in made:
            await client.close()

    io_loop.run_sync(close)


@pytest.mark.gen_test
async def test_vim_and_what_is_typed_into_it_outlive_a_killed_server(servers, client_of, need):
    """What a client drew that was cut off in between is what the program wrote, and each key arrived once."""
    need("vim")
    box = await servers.open()
    client = client_of(lambda: servers.url, box)
    await client.until(PROMPT)
    pid = await client.run("echo $$")
    client.type("vim -u NONE -N notes.txt\r")
    while client.front.get("command") != "vim -u NONE -N notes.txt":
        await client.read()
    client.type("ione\rtwo\r")
    await client.until("two")
    client.type("three\r")
    await servers.end()
    client.type("日 four\r")
    await servers.begin()
    client.type("five\x1b:set columns?\r")
    await client.until("columns=80")
    client.type(":wq\r")
    await client.until(PROMPT)
    assert (servers.home(box) / "notes.txt").read_text() == "one\ntwo\nthree\n日 four\nfive\n"
    assert (client.kinds(), await client.run("echo $$")) == (["session", "session"], pid)
    assert [message["is_new"] for message in client.told] == [True, False]
    witness = client_of(lambda: servers.url, box, session=client.session)
    witness.offset = 0  # all that the program wrote is in the log yet
    while (witness.offset or 0) < client.offset:
        await witness.read()
    assert "".join(witness.drawn).startswith("".join(client.drawn))


@pytest.mark.gen_test
@pytest.mark.parametrize("size", [4 << 20, pytest.param(64 << 20, marks=[pytest.mark.long, pytest.mark.patience(300)])])
async def test_a_flood_outlives_a_killed_server(servers, client_of, size):
    """Its digest is the program's."""
    box = await servers.open()
    client = client_of(lambda: servers.url, box)
    await begin(client, servers.home(box), FLOOD, size)
    digest, left, is_killed = hashlib.sha256(client.unread.encode()), size - len(client.unread), False
    while left:
        client.drawn.clear()
        if (await client.read())["type"] == "output":
            piece = client.drawn[0][:left]
            digest.update(piece.encode())
            left -= len(piece)
            client.unread = client.drawn[0][len(piece) :]
        if left <= size // 2 and not is_killed:
            is_killed = True
            await servers.replace()
    assert (await client.until("]")).lstrip("[") == digest.hexdigest()
    assert set(client.kinds()) == {"session"}


@pytest.mark.gen_test
async def test_a_paste_outlives_a_killed_server(servers, client_of):
    """A mebibyte, into a program that reads it: each byte once."""
    text = "".join(f"{number} é日🐢\r" for number in range(80_000))
    data = text.encode()[: 1 << 20].decode(errors="ignore").encode()
    box = await servers.open()
    client = client_of(lambda: servers.url, box)
    await client.until(PROMPT)
    client.type(f"stty raw -echo; echo go-$((1+1)); head -c {len(data)} >file; stty sane; echo over-$((1+1))\n")
    await client.until("go-2")
    before = client.typed
    client.type(data.decode())
    while client.taken - before < len(data) // 2:
        await client.read()
    await servers.replace()
    await client.until("over-2")
    assert (servers.home(box) / "file").read_bytes() == data


@pytest.mark.gen_test
async def test_a_storm_of_sizes_outlives_a_killed_server(servers, client_of):
    """The last size is the terminal's, whether it was sent or only goes with the next connection."""
    numbers = random.Random(random.getrandbits(32))
    box = await servers.open()
    client = client_of(lambda: servers.url, box)
    await client.until(PROMPT)
    for _ in range(200):
        client.resize(numbers.randint(20, 200), numbers.randint(10, 100))
    await servers.end()
    client.resize(123, 45)
    await servers.begin()
    assert await client.run("stty size") == "45 123\n"


@pytest.mark.gen_test
async def test_a_server_that_stops_says_when_to_come_back_and_the_next_goes_on_with_the_shell(servers, client_of, ask):
    """1012, with a hint; no shell is hung up, and nothing but the session is told."""
    box = await servers.open()
    client = client_of(lambda: servers.url, box)
    await client.until(PROMPT)
    pid = await client.run("echo $$")
    ending = asyncio.ensure_future(servers.end(signal.SIGTERM))
    connection = client.connection
    assert await client.until_told("error") == {"type": "error", "message": "The server restarts.", "retry_s": 1.0}
    log = await ending
    assert "Traceback" not in log
    client.type("echo typed-$((1+1)) while it was down\r")
    await servers.begin()
    await client.until("typed-2")
    await client.until(PROMPT)
    assert connection.close_code == 1012
    assert await client.run("echo $$") == pid
    assert client.kinds() == ["session", "error", "session"]
    _, listed = await ask(servers.url, "GET", f"/machines/{box['id']}/sessions")
    assert [session["id"] for session in listed["sessions"]] == [client.session]


@pytest.mark.gen_test
async def test_of_two_servers_that_attach_to_one_session_the_last_has_it(servers, client_of):
    """The first one's client is told, with a close code of its own, and the shell is the same."""
    box = await servers.open()
    url = servers.url
    one = client_of(lambda: url, box)
    await one.until(PROMPT)
    pid = await one.run("echo $$")
    await servers.begin()
    two = client_of(lambda: servers.url, box, session=one.session)
    await two.until(PROMPT)
    assert (await one.until_closed())["code"] == 4411
    assert await two.run("echo $$") == pid


@pytest.mark.gen_test
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_local_machines_end_with_their_server_and_the_client_is_told_of_a_new_shell(
    start, ask, client_of, number
):
    """The session is a new one, and what was typed while nothing was there is not sent to it unseen."""
    server = await start("server.py", "--port", "0")
    _, box = await ask(server.url, "POST", "/machines")
    url = server.url
    client = client_of(lambda: url, box)
    await client.until(PROMPT)
    await server.end(number)
    client.connection.close()  # (a killed server's kernel has closed it)
    client.type("echo never-$((1+1))\r")
    server = await start("server.py", "--port", "0")
    url = server.url
    await ask(url, "POST", f"/machines/{box['id']}/start")
    assert (await client.until_told("reconnected"))["message"] == "Connection lost. Reconnected — new session."
    await client.until(PROMPT)
    assert "never-2" not in await client.run("echo hello")
    assert [message["is_new"] for message in client.told if message["type"] == "session"] == [True, True]
