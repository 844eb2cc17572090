"""What every test gets: an event loop that must end clean, a real server, and the verbs tests are written in."""

import asyncio
import contextlib
import functools
import gc
import json
import logging
import os
import random
import re
import shutil
import signal
import subprocess
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import asyncssh
import psutil
import pytest
from tornado.httpclient import HTTPRequest, HTTPResponse
from tornado.ioloop import IOLoop
from tornado.simple_httpclient import SimpleAsyncHTTPClient
from tornado.websocket import WebSocketClientConnection, websocket_connect

from aether.app import Aether, Timing
from aether.emulator.server import Emulator
from aether.settings import Settings, load
from aether.ssh.keys import HostKey, make_host_key
from tests.fly_client import InterceptedFlyClient
from tests.patience import patient
from tests.ports import Slot
from tests.screen import BRACKETED_PASTE

pytest_plugins = ["tests.grouping", "tests.summary", "tests.watchdog"]

ROOT = Path(__file__).parent.parent
PULL_S, BUILD_S = 600, 1800  # the first within the second; Python is compiled
MACHINE_IMAGE = "registry.fly.io/app/base:latest"  # what the tests' machines have in their config
NOISY_LOGGERS = ("aether", "asyncio", "tornado.application", "tornado.general")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fly", action="store_true", help="run the contract suite against real Fly, too: this costs")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "long: takes minutes; only `-m long` runs it")
    config.addinivalue_line("markers", "logs_warnings: the test provokes warnings in the log")
    # a shell that runs us in the background has us ignore Ctrl-C, and what we start would, too
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what takes minutes, unless a marker expression was given that says otherwise."""
    if "long" not in config.option.markexpr:
        left_out = [item for item in items if item.get_closest_marker("long")]
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)


def pytest_collection_finish() -> None:
    """Leave what the imports made out of each test's garbage collection: it would take longer than most tests."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def need() -> Callable[[str], str]:
    """Return a tool's path; a missing tool skips the test on a user's machine and fails it in CI."""

    def find(tool: str) -> str:
        path = shutil.which(tool, path=f"{os.environ['PATH']}:/usr/sbin:/usr/bin")
        if path is None and os.environ.get("CI") == "true":
            pytest.fail(f"{tool} is not installed; scripts/test installs it")
        if path is None:
            pytest.skip(f"{tool} is not installed")
        return path

    return find


@pytest.fixture(scope="session")
def ports() -> Iterator[Slot]:
    """`next(ports)` → a port for a machine; `ports.of_servers` → AETHER_SSH_PORTS of a server under test."""
    slot = Slot()
    yield slot
    slot.close()


@pytest.fixture(scope="session")
def machine_image() -> Callable[[str], str]:
    """`machine_image("podman")` → the machines' image, built once; skips where that engine does not work.

    It stays for the next run. AETHER_TEST_BUILD_OPTIONS are options of its build, such as another BASE_IMAGE.
    """
    reasons: dict[str, str] = {}

    def build(engine: str) -> str:
        if engine not in reasons:
            reasons[engine] = why_no_image(engine)
        if reasons[engine]:
            pytest.skip(reasons[engine])
        return MACHINE_IMAGE

    return build


def succeeds(*command: str, within_s: float = 60) -> bool:
    quiet: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with contextlib.suppress(subprocess.TimeoutExpired):
        return subprocess.run(command, check=False, timeout=within_s, **quiet).returncode == 0
    return False


def build_options() -> list[str]:
    return os.environ.get("AETHER_TEST_BUILD_OPTIONS", "").split()


def why_no_base(engine: str, dockerfile: Path) -> str:
    """Return why an engine cannot build what a Dockerfile says here, if so: it does not work, or has no base image."""
    if shutil.which(engine) is None:
        return f"{engine} is not installed"
    if not succeeds(engine, "info"):
        return f"{engine} does not work here"
    given = dict(option.split("=", 1) for option in build_options() if "=" in option)
    for name, usual in re.findall(r"^ARG (\w+_IMAGE)=(\S+)$", dockerfile.read_text(), re.MULTILINE):
        base = given.get(name, usual)
        with patient(BUILD_S):  # a pull that fails by its own time-out skips the test
            if not succeeds(engine, "image", "inspect", base) and not succeeds(engine, "pull", base, within_s=PULL_S):
                return f"{engine} cannot fetch {base}"
    return ""


def why_no_image(engine: str) -> str:
    """Build the machines' image; return why that cannot be done here, if so."""
    if why_not := why_no_base(engine, ROOT / "infra/images/base/Dockerfile"):
        return why_not
    argv = [ROOT / "scripts/build-image.sh", "--engine", engine, "--app", "app"]
    argv += ["--no-key", "--no-try", "--", *build_options()]
    with patient(BUILD_S):
        done = subprocess.run(argv, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
    return ""


@pytest.fixture
def server_image() -> Iterator[Callable[[str], str]]:
    """`server_image("podman")` → the image of aether's server, built; skips where that engine does not work."""
    made = []

    def build(engine: str) -> str:
        dockerfile, image = ROOT / "infra/server/Dockerfile", f"aether-server-test-{os.getpid()}"
        if why_not := why_no_base(engine, dockerfile):
            pytest.skip(why_not)
        ignored = ["--ignorefile", f"{dockerfile}.dockerignore"] if engine == "podman" else []  # docker finds it
        argv = [engine, "build", "--file", str(dockerfile), "--tag", image, *ignored, *build_options(), str(ROOT)]
        environ = {**os.environ, "DOCKER_BUILDKIT": "1"}
        with patient(BUILD_S):
            done = subprocess.run(argv, env=environ, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        made.append((engine, image))
        return image

    yield build
    for engine, image in made:
        subprocess.run([engine, "rmi", "--force", image], check=True, stdout=subprocess.DEVNULL)


def open_files() -> dict[int, str]:
    """Return this process's descriptors; where /proc does not tell them, none."""
    found = {}
    folder = Path("/proc/self/fd")
    for entry in folder.iterdir() if folder.is_dir() else ():
        try:
            found[int(entry.name)] = str(entry.readlink())
        except OSError:  # the descriptor of the listing itself
            continue
    return found


def children() -> set[psutil.Process]:
    """Return this process's children; from /proc where it tells them, for a scan of all processes takes a while."""
    try:
        text = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    except OSError:
        return set(psutil.Process().children())
    found = set()
    for pid in text.split():
        with contextlib.suppress(psutil.NoSuchProcess):  # reaped just now
            found.add(psutil.Process(int(pid)))
    return found


@pytest.fixture(autouse=True)
def nothing_leaks(ports: Slot) -> Iterator[None]:
    """No descriptor and no child process survives a test."""
    gc.collect()
    files, before = open_files(), children()
    yield
    gc.collect()
    _, alive = psutil.wait_procs(children() - before, timeout=5)
    assert not alive, f"child processes survived the test: {[process.cmdline() for process in alive]}"
    leaked = {number: name for number, name in open_files().items() if files.get(number) != name}
    assert not leaked, f"descriptors survived the test: {leaked}"


@pytest.fixture(autouse=True)
def log_is_quiet(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """A test that does not say so provokes no warning, and no task dies unheard."""
    yield
    if request.node.get_closest_marker("logs_warnings"):
        return
    records = [*caplog.get_records("setup"), *caplog.get_records("call"), *caplog.records]
    loud = [r for r in records if r.levelno >= logging.WARNING and r.name.startswith(NOISY_LOGGERS)]
    assert not loud, f"unexpected in the log: {[record.getMessage() for record in loud]}"


@pytest.fixture
def io_loop(nothing_leaks: None, log_is_quiet: None) -> Iterator[IOLoop]:
    """pytest-tornado's event loop, which here must end with no task left."""
    loop = IOLoop(make_current=False)
    asyncio.set_event_loop(loop.asyncio_loop)
    yield loop
    left = asyncio.all_tasks(loop.asyncio_loop)
    loop.run_sync(loop.asyncio_loop.shutdown_asyncgens)
    loop.run_sync(loop.asyncio_loop.shutdown_default_executor)
    asyncio.set_event_loop(None)
    loop.close(all_fds=True)
    assert not left, f"tasks survived the test: {left}"


@pytest.fixture
def clock() -> "Clock":
    """A clock that stands still until it is turned."""
    return Clock()


class Clock:
    """Seconds since the epoch, turned by hand."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def server_environ(tmp_path: Path, ports: Slot) -> dict[str, str]:
    """What every server under test has in its environment: a state folder and ports of its own."""
    return {"AETHER_STATE_DIR": str(tmp_path / "state"), "AETHER_SSH_PORTS": ports.of_servers}


@pytest.fixture
def settings(server_environ: dict[str, str]) -> Settings:
    """Settings of a server with local machines; tests that want others override this fixture."""
    return load([], server_environ)


@pytest.fixture
def timing() -> Timing:
    """How long the program waits; tests that want it to be otherwise override this fixture."""
    return Timing()


@pytest.fixture
def drawn_ports() -> list[int]:
    """The SSH ports that new machines get, first to last; chosen at random where there are none."""
    return []


@pytest.fixture
def delays() -> Callable[[float], Awaitable[None]]:
    """How the emulator passes the time of its delays; tests that hold it in one override this fixture."""
    return asyncio.sleep


@pytest.fixture
def aether(
    io_loop: IOLoop, settings: Settings, clock: Clock, timing: Timing, drawn_ports: list[int], delays: Any
) -> Iterator[Aether]:
    """The whole program on its embedded emulator, with a clock that stands still."""

    def choose_port(free: Sequence[int]) -> int:
        return drawn_ports.pop(0) if drawn_ports else random.choice(free)

    emulator = functools.partial(Emulator, sleep=delays)
    program = Aether(settings, clock, timing, InterceptedFlyClient, choose_port, emulator)
    io_loop.run_sync(program.start)
    yield program
    io_loop.run_sync(program.stop)


@pytest.fixture
def app(aether: Aether) -> Any:
    """The application that pytest-tornado's `http_server` serves on a free port."""
    return aether.application


@pytest.fixture
def base_url(http_port: int) -> str:
    """The server's address; not `localhost`, which may mean ::1 first, where nothing listens."""
    return f"http://127.0.0.1:{http_port}"


@pytest.fixture
def call(io_loop: IOLoop, http_server: Any, base_url: str) -> Iterator[Callable[..., Awaitable[HTTPResponse]]]:
    """`await call("POST", "/machines", {...})` → the response, whatever its status."""
    client = SimpleAsyncHTTPClient(force_instance=True)

    async def fetch(method: str, path: str, body: Any = None, headers: Any = None) -> HTTPResponse:
        data = body if isinstance(body, (str, bytes)) or body is None else json.dumps(body)
        request = HTTPRequest(
            base_url + path,
            method,
            headers or {},
            data,
            allow_nonstandard_methods=True,
            follow_redirects=False,
            request_timeout=60,
        )
        return await client.fetch(request, raise_error=False)

    yield fetch
    client.close()


class Terminal:
    """A client of the terminal's WebSocket."""

    def __init__(self, connection: WebSocketClientConnection) -> None:
        self.connection = connection
        self.text = ""
        self.messages: list[dict[str, Any]] = []
        self.is_closed = False

    async def read(self) -> dict[str, Any] | None:
        """Return the next message, None after the close."""
        message = None if self.is_closed else await self.connection.read_message()
        if message is None:
            self.is_closed = True
            await asyncio.sleep(0)  # a test that goes on reading is ended by its time-out
            return None
        self.messages.append(decoded := json.loads(message))
        if decoded["type"] == "output":
            self.text = BRACKETED_PASTE.sub("", self.text + decoded["data"])
        return decoded

    async def until(self, sentinel: str) -> str:
        """Read output until `sentinel` has come; return all that came up to it and forget it."""
        while sentinel not in self.text:
            if await self.read() is None:
                raise AssertionError(f"closed ({self.code} {self.reason}) before {sentinel!r}: {self.text[-500:]!r}")
        seen, _, self.text = self.text.partition(sentinel)
        return seen

    async def until_closed(self) -> int | None:
        """Read to the end; return the close code."""
        while await self.read() is not None:
            pass
        return self.code

    async def send(self, **message: Any) -> None:
        await self.connection.write_message(json.dumps(message))

    async def type(self, data: str) -> None:
        await self.send(type="input", data=data)

    async def run(self, command: str) -> str:
        """Run a command; return what it printed, without the echo."""
        await self.type(f"{command}; printf '%s_' done_; echo $?\n")
        await self.until("\r\n")
        seen = await self.until("done__")
        await self.until("$ ")
        return seen.replace("\r\n", "\n")

    @property
    def code(self) -> int | None:
        return self.connection.close_code

    @property
    def reason(self) -> str | None:
        return self.connection.close_reason

    @property
    def errors(self) -> list[str]:
        return [message["message"] for message in self.messages if message["type"] == "error"]


@pytest.fixture
def terminal(io_loop: IOLoop, http_server: Any, base_url: str) -> Iterator[Callable[..., Awaitable[Terminal]]]:
    """`await terminal(machine_id, "?cols=80")` → a connected client."""
    opened: list[Terminal] = []

    async def connect(machine_id: str, query: str = "", url: str = base_url) -> Terminal:
        path = f"/machines/{machine_id}/terminal{query}"
        opened.append(tty := Terminal(await websocket_connect(url.replace("http", "ws", 1) + path)))
        return tty

    async def close_all() -> None:
        for tty in opened:
            tty.connection.close()
            await tty.until_closed()

    yield connect
    io_loop.run_sync(close_all)


@pytest.fixture
def machine(call: Callable[..., Awaitable[HTTPResponse]]) -> Callable[..., Awaitable[dict[str, Any]]]:
    """`await machine(name=…)` → a new machine's JSON."""

    async def create(**wanted: Any) -> dict[str, Any]:
        response = await call("POST", "/machines", wanted)
        assert response.code == 201, response.body
        return json.loads(response.body)

    return create


@pytest.fixture
def host_key() -> HostKey:
    """A new key pair of a machine's SSH server."""
    return make_host_key()


@pytest.fixture
def user_key() -> asyncssh.SSHKey:
    """A new key that may log in."""
    return asyncssh.generate_private_key("ssh-ed25519")


@pytest.fixture
def until_state(aether: Aether) -> Callable[[str, str], Awaitable[None]]:
    """`await until_state(id, "running")`: wait for a state, woken by the machine's own changes."""

    async def wait(machine_id: str, state: str) -> None:
        lifecycle = aether.fleet.find(machine_id)
        while lifecycle.machine.state != state:
            await lifecycle.status.changed()

    return wait


@pytest.fixture
def eventually() -> Callable[[Callable[[], Any]], Awaitable[None]]:
    """Let the world go on until something is true; the test's own time-out ends it otherwise."""

    async def poll(is_true: Callable[[], Any]) -> None:
        while not is_true():  # noqa: ASYNC110  (what is waited for has no event of its own)
            await asyncio.sleep(0.01)

    return poll


@pytest.fixture
def ask(io_loop: IOLoop) -> Iterator[Callable[..., Awaitable[tuple[int, Any]]]]:
    """`await ask(url, "POST", "/machines")` → status and decoded body, from a server in a process of its own."""
    client = SimpleAsyncHTTPClient(force_instance=True)

    async def fetch(url: str, method: str, path: str) -> tuple[int, Any]:
        request = HTTPRequest(url + path, method, body="" if method == "POST" else None, request_timeout=60)
        response = await client.fetch(request, raise_error=False)
        return response.code, json.loads(response.body or "null")

    yield fetch
    client.close()
