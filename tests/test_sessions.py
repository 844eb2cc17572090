"""Sessions outlive whatever lies between a user and the machine: cut anywhere, nothing is lost and nothing doubled."""

import asyncio
import itertools
import json
import random
import sys
import time
import uuid

import pytest
from tornado.netutil import bind_sockets

from aether.settings import load
from aether.terminals.terminal import STABLE_S
from tests.processes import alive, below
from tests.session_client import CuttingProxy, SessionClient
from tests.test_data_path import Wire
from tests.timelapse import Timelapse

PROMPT = "$ "
DIALOGUE = """
import os, random, sys, termios, tty
numbers = random.Random(int(sys.argv[1]))
tty.setraw(0)
with open("read", "wb", 0) as read, open("written", "wb", 0) as written:
    def write(data):
        written.write(data)
        while data:
            data = data[os.write(1, data):]
    os.write(1, b"go!")
    while True:
        data = os.read(0, 65536)
        read.write(data)
        if data.endswith(b"\\x04"):
            break
        write(numbers.randbytes(numbers.choice([1, 2, 3, 10, 100, 1000, 3000])))
os.write(1, b"[that was all]")
"""
CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789 \r\té日🐢ü\x1b"


@pytest.fixture
def open_client(io_loop, http_server, base_url):
    """`await open_client(box)` → a client of a new session, connected."""
    opened = []

    async def connect(box, url=lambda: base_url, **options):
        opened.append(client := SessionClient(url, box["id"], **options))
        await client.connect()
        return client

    yield connect

    async def close():
        for client in opened:
            await client.close()

    io_loop.run_sync(close)


@pytest.fixture
def proxy(io_loop):
    """`await proxy(target, budgets)` → a network to the port that `target` returns."""
    opened = []

    async def listen(*arguments):
        opened.append(one := await CuttingProxy(*arguments).listen())
        return one

    yield listen

    async def close():
        for one in opened:
            await one.close()

    io_loop.run_sync(close)


@pytest.fixture
def wire(io_loop):
    """`wire(port)` → a network to that port, which can go silent, and its own port."""
    made = []

    def make(port):
        made.append(one := Wire(port))
        (listening,) = bind_sockets(0, "127.0.0.1")
        one.add_socket(listening)
        return one, listening.getsockname()[1]

    yield make

    async def close():
        for one in made:
            one.stop()
            one.is_open.set()
            for stream in one.streams:
                stream.close()

    io_loop.run_sync(close)


@pytest.fixture
def home(settings):
    """`home(box)` → the user's files on a machine."""
    return lambda box: settings.state_dir / "emulator/machines" / box["fly_machine_id"] / "rootfs/home/coder"


async def begin(client, home, program, *arguments):
    """Run a Python program in the session's shell."""
    (home / "program.py").write_text(program)
    await client.until(PROMPT)
    client.type(f"{sys.executable} -ESs program.py {' '.join(map(str, arguments))}\n")
    await client.until("go!")


def budgets(numbers, most):
    """Yield where to cut connections: some within the upgrade to a WebSocket, most behind it."""
    while True:
        yield numbers.choice(["up", "down"]), numbers.randrange(numbers.choice([600, most]))


def some_text(numbers):
    return "".join(numbers.choices(CHARACTERS, k=numbers.choice([1, 1, 2, 5, 50, 1000])))


async def converse(client, home, numbers, is_over):
    """Type until it is over, and go on until the program has read and the client has drawn all; compare."""
    await begin(client, home, DIALOGUE, numbers.randrange(1 << 30))
    client.drawn.clear()
    before = client.typed
    typed = []
    while not is_over():
        typed.append(some_text(numbers))
        client.type(typed[-1])
        await client.read()
    client.type("\x04")
    await client.until("[that was all]")
    drawn, _, _ = "".join(client.drawn).partition("[that was all]")
    written = (home / "written").read_bytes()
    assert (home / "read").read_bytes().decode() == "".join(typed) + "\x04"
    assert drawn == written.decode(errors="replace")
    return len(written), client.typed - before


@pytest.mark.gen_test
@pytest.mark.parametrize("cuts", [40, pytest.param(10_000, marks=[pytest.mark.long, pytest.mark.patience(3000)])])
async def test_cut_at_any_byte_nothing_is_lost_and_nothing_doubled(machine, open_client, proxy, home, http_port, cuts):
    """Between client and server, both ways: what was drawn was written, what was read was typed."""
    numbers = random.Random(random.getrandbits(32))
    box = await machine()
    network = await proxy(lambda: http_port)
    client = await open_client(box, lambda: f"http://127.0.0.1:{network.port}")
    begun = time.monotonic()
    network.budgets = budgets(numbers, 6000)
    network.cut()
    written, typed = await converse(client, home(box), numbers, lambda: network.cuts >= cuts)
    said = f"{network.cuts} cuts, {written} bytes out, {typed} in, {time.monotonic() - begun:.1f} s"
    sys.stdout.write(f"{said}\n")
    assert set(client.kinds()) <= {"session", "replay", "size"}
    assert client.kinds().count("session") > cuts / 4


@pytest.fixture
def reroute(aether, proxy):
    """`await reroute(box, budgets)` → the network between the server and a machine, and its pool of connections."""

    async def make(box, *budgets):
        pool = aether.fleet.find(box["id"]).terminals.pool
        address = pool._address
        network = await proxy(lambda: address()[1], *budgets)
        pool._address = lambda: ("127.0.0.1", network.port)
        return network, pool

    return make


@pytest.mark.gen_test
@pytest.mark.parametrize("cuts", [8, pytest.param(500, marks=[pytest.mark.long, pytest.mark.patience(1000)])])
async def test_a_lost_connection_to_the_machine_is_not_told(aether, machine, open_client, reroute, home, cuts):
    """Cut at any byte, both ways: the client's WebSocket goes on, and its user sees nothing of it."""
    numbers = random.Random(random.getrandbits(32))
    box = await machine()
    network, _ = await reroute(box)
    client = await open_client(box)
    await converse(client, home(box), numbers, Recut(network, numbers, cuts, aether.fleet.find(box["id"]).terminals))
    assert (client.kinds(), client.connections) == (["session"], 1)


class Recut:
    """Cuts a network now and then, until that was done often enough: the first connection has no budget."""

    def __init__(self, network, numbers, cuts, terminals):
        self.network, self.numbers, self.left, self.terminals = network, numbers, cuts, terminals
        self.lapse = Timelapse(asyncio.get_running_loop())

    def __call__(self):
        if self.numbers.random() < 0.2 and all(one.shell._is_attached for one in self.terminals):
            self.network.budgets = itertools.islice(budgets(self.numbers, 20_000), 1)  # an attempt that fails, or none
            self.lapse.leap(STABLE_S + 1)  # else it counts as one failure after the other
            self.network.cut()
            self.left -= 1
        return self.left <= 0


@pytest.mark.gen_test
async def test_a_network_to_the_machine_that_is_silent_for_ten_minutes_takes_no_shell(
    machine, open_client, aether, wire
):
    """The connection is given up, and the client comes back to the same shell when the network does."""
    box = await machine()
    pool = aether.fleet.find(box["id"]).terminals.pool
    network, port = wire(pool._address()[1])
    pool._address = lambda: ("127.0.0.1", port)
    client = await open_client(box)
    await client.until(PROMPT)
    pid = await client.run("echo $$")
    lapse = Timelapse(asyncio.get_running_loop())
    pool._clock = lapse
    network.is_open.clear()
    client.type("echo typed-$((1+1))\n")
    reading = asyncio.ensure_future(client.until("typed-2"))
    for _ in range(60):
        await lapse.elapse(10)
        await asyncio.sleep(0.001)  # the machine's processes live in real time
    assert not reading.done()
    network.is_open.set()
    while not reading.done():
        await lapse.elapse(0.1)  # not faster, or time-outs would pass before what they wait for can come
        await asyncio.sleep(0.02)
    await client.until(PROMPT)
    assert await client.run("echo $$") == pid
    assert "reconnected" not in client.kinds()


@pytest.mark.gen_test
async def test_a_laptop_that_sleeps_for_hours_finds_its_shell_and_what_that_wrote(
    machine, open_client, wire, http_port, aether, eventually, home
):
    """The server closes a WebSocket that answers no pings; the program goes on."""
    lapse = Timelapse(asyncio.get_running_loop())
    box = await machine()
    network, port = wire(http_port)
    client = await open_client(box, lambda: f"http://127.0.0.1:{port}")
    await client.until(PROMPT)
    pid = await client.run("echo $$")
    client.type("echo begin; while [ ! -e go ]; do sleep 0.01; done; seq 1 2000; touch written; read -r line\n")
    await client.until("begin\r\n")
    network.is_open.clear()
    terminals = aether.fleet.find(box["id"]).terminals
    for _ in range(24 * 60):
        await lapse.elapse(60)
        if not len(terminals):
            break
        await asyncio.sleep(0.001)  # as does its sshd
    assert not len(terminals)
    (home(box) / "go").touch()
    await eventually((home(box) / "written").exists)
    client.drop()
    network.is_open.set()
    assert await client.until("2000\r\n") == "".join(f"{number}\r\n" for number in range(1, 2000))
    client.type("\n")
    await client.until(PROMPT)
    assert (await client.run("echo $$"), client.kinds()) == (pid, ["session", "session"])


@pytest.mark.gen_test
async def test_a_killed_host_gives_a_new_shell_that_says_so_and_disturbs_no_other(
    machine, open_client, terminal, eventually
):
    """On the same WebSocket; a plain terminal beside it notices nothing."""
    box = await machine()
    client, plain = await open_client(box), await terminal(box["id"])
    await plain.until(PROMPT)
    await client.until(PROMPT)
    pid = await client.run("echo $$")
    (host,) = below("python", "serve")
    host.kill()
    assert (await client.until_told("reconnected"))["message"] == "Connection lost. Reconnected — new session."
    await client.until(PROMPT)
    assert await client.run("echo $$") != pid
    assert [message.get("is_new") for message in client.told] == [True, True, None]
    assert client.connections == 1
    assert await plain.run("echo here") == "here\n"


@pytest.mark.gen_test
async def test_a_second_client_takes_the_session_over_and_the_first_is_told(machine, open_client):
    """4411, and it does not come back by itself; what it had typed and was not taken, is not sent by anyone."""
    box = await machine()
    first = await open_client(box)
    await first.until(PROMPT)
    pid = await first.run("echo $$")
    second = await open_client(box, session=first.session)
    await second.until(PROMPT)
    assert (await first.until_closed())["code"] == 4411
    assert await second.run("echo $$") == pid
    assert second.kinds()[0] == "session"
    third = await open_client(box, session=first.session)
    assert (await second.until_closed())["code"] == 4411
    await third.until(PROMPT)
    assert await third.run("echo $$") == pid


@pytest.mark.gen_test
async def test_a_client_that_names_no_session_gets_what_it_always_got(machine, terminal, call):
    """Output without offsets, none of the new messages, and its shell ends with it."""
    box = await machine()
    tty = await terminal(box["id"])
    await tty.until(PROMPT)
    await tty.run("echo hello; sleep 0.01")
    assert {tuple(sorted(message)) for message in tty.messages} == {("data", "type")}
    assert json.loads((await call("GET", f"/machines/{box['id']}/sessions")).body) == {"sessions": []}


SQUATTERS = {
    "the folder of its socket is somebody else's": 'mkdir -m 777 "$(folder)"',
    "the folder of its socket is no folder": 'touch "$(folder)"',
}
FOLDER = "import os, zlib; print('/tmp/aether-%d-%08x' % (os.getuid(), zlib.crc32(os.fsencode(os.environ['HOME']))))"


@pytest.mark.gen_test
@pytest.mark.logs_warnings
@pytest.mark.parametrize("squat", SQUATTERS.values(), ids=[*SQUATTERS])
async def test_a_machine_that_cannot_host_a_session_gives_a_plain_terminal_and_says_why(
    machine, terminal, call, squat, open_client
):
    """In GET /machines/:id, too."""
    box = await machine()
    tty = await terminal(box["id"])
    await tty.until(PROMPT)
    await tty.run(f'folder() {{ python3 -c "{FOLDER}"; }}; {squat}')
    client = await open_client(box)
    await client.until(PROMPT)
    assert (client.kinds(), client.offset, client.front) == ([], None, {})
    client.send(type="input", data="echo go-$((1+1))\n")
    await client.until("go-2")
    sessions = json.loads((await call("GET", f"/machines/{box['id']}")).body)["sessions"]
    assert sessions["kept"] is False
    assert "not a private directory" in sessions["reason"]
    await tty.run('rmdir "$(folder)" || rm "$(folder)"')


@pytest.mark.gen_test
@pytest.mark.parametrize("opens", [60, pytest.param(1000, marks=[pytest.mark.long, pytest.mark.patience(300)])])
async def test_clients_that_go_before_their_first_message_leave_no_shell_that_no_list_shows(
    aether, machine, call, http_port, eventually, opens, open_client
):
    """At most AETHER_MAX_DETACHED are left, and each of them is listed."""
    box = await machine()
    client = await open_client(box)
    await client.until(PROMPT)
    for _ in range(opens):
        _, writer = await asyncio.open_connection("127.0.0.1", http_port)
        query = f"session={uuid.uuid4()}&client={uuid.uuid4()}"
        writer.write(UPGRADE % (f"{box['id']}/terminal?{query}".encode(), http_port))
        await asyncio.sleep(0)
        writer.close()
        await writer.wait_closed()
    await eventually(lambda: aether.fleet.terminal_count() == 1)

    async def listed():
        return json.loads((await call("GET", f"/machines/{box['id']}/sessions")).body)["sessions"]

    (host,) = below("python", "serve")
    while len(found := await listed()) > 17 or len(alive(host.children())) != len(found):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    assert client.session in {session["id"] for session in found}
    assert await client.run("echo here") == "here\n"


UPGRADE = (
    b"GET /machines/%s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
LOOK = (
    "env | grep -v -e ^SSH_ -e ^_= -e ^COLORTERM= -e ^AETHER_LOGIN= | sort; umask; ulimit -a; stty -a; "
    "pwd; shopt login_shell; ps -o stat= -p $$"
)


@pytest.mark.gen_test
@pytest.mark.parametrize("runtime", ["auto", "sshd"])
async def test_a_session_s_shell_is_what_a_login_gives(machine, terminal, open_client, runtime, need):
    """Environment, limits, terminal modes, descriptors, job control: as in a plain terminal."""
    if runtime == "sshd":
        need("bwrap")
        need("sshd")
    box = await machine()
    client, plain = await open_client(box), await terminal(box["id"])
    await plain.until(PROMPT)
    await client.until(PROMPT)
    assert (await client.run(LOOK)).splitlines() == (await plain.run(LOOK)).splitlines()
    assert await client.run("echo $(command ls /proc/self/fd)") == "0 1 2 3\n"  # the last is the list's own


@pytest.fixture
def settings(request, server_environ):
    """Local machines in the runtime that the test names; no sweep, as hours may pass at once."""
    given = request.node.callspec.params if hasattr(request.node, "callspec") else {}
    return load(
        ["--idle-check-s", "100000"], {**server_environ, "AETHER_EMULATOR_RUNTIME": given.get("runtime", "auto")}
    )


@pytest.mark.long
@pytest.mark.patience(300)
@pytest.mark.gen_test
async def test_two_hundred_terminals_come_back_after_the_connection_to_their_machine_is_lost(
    machine, open_client, reroute
):
    """Each to its shell, with nothing told; the time is printed."""
    box = await machine()
    network, _ = await reroute(box)
    clients = [await open_client(box) for _ in range(200)]
    for client in clients:
        await client.until(PROMPT)
    pids = await asyncio.gather(*(client.run("echo $$") for client in clients))
    begun = time.monotonic()
    network.cut()
    for client in clients:
        client.type("echo $$; echo back-$((1+1))\n")
    await asyncio.gather(*(client.until("back-2") for client in clients))
    sys.stdout.write(f"200 terminals came back in {time.monotonic() - begun:.2f} s\n")
    assert len(set(pids)) == 200
    assert {tuple(client.kinds()) for client in clients} == {("session",)}
    assert {client.connections for client in clients} == {1}
