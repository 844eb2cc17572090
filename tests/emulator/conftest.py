"""The verbs of the emulator's tests: an emulator for each runtime, a client without any of aether, real SSH."""

import asyncio
import base64
import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import asyncssh
import psutil
import pytest
from tornado.httpclient import AsyncHTTPClient
from tornado.ioloop import IOLoop

from aether.emulator.options import Options
from aether.emulator.runtimes.base import ENGINES
from aether.emulator.runtimes.containers import ContainerRuntime
from aether.emulator.runtimes.supervisor_process import until_readable
from aether.emulator.server import Emulator
from tests.ports import Slot
from tests.virtual_clock import VirtualClock

FILL = """
import os
os.set_blocking(1, False)
written = 0
try:
    while True:
        written += os.write(1, b"x")
except BlockingIOError:
    open("written", "w").write(str(written))
"""
PROMPT = b"coder@aether:~$ "


class Api:
    """HTTP as any client would speak it."""

    def __init__(self, base_url: str, token: str | None = "T") -> None:
        self.url = f"{base_url}/v1"
        self.headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._client = AsyncHTTPClient(force_instance=True, max_clients=100)

    async def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> SimpleNamespace:
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        response = await self._client.fetch(
            f"{self.url}{path}",
            method=method,
            body=data,
            headers={**self.headers, **headers},
            allow_nonstandard_methods=True,
            raise_error=False,
            request_timeout=70,
        )
        text = response.body.decode()
        is_json = text and "json" in response.headers.get("Content-Type", "")
        body = json.loads(text) if is_json else text or None
        return SimpleNamespace(status=response.code, headers=response.headers, body=body)

    def close(self) -> None:
        self._client.close()


class Box:
    """One machine under test."""

    emulator: Emulator

    def __init__(self, api: Api, app: str, record: dict[str, Any], key: asyncssh.SSHKey) -> None:
        self.api = api
        self.path = f"/apps/{app}/machines/{record['id']}"
        self.id = record["id"]
        self.record = record
        self.key = key

    @property
    def port(self) -> int:
        return int(self.record["config"]["services"][0]["ports"][0]["port"])

    async def wait(self, state: str) -> None:
        answer = await self.api("GET", f"{self.path}/wait?state={state}&timeout=20")
        assert answer.body == {"ok": True, "state": state}

    async def stop(self, **body: Any) -> None:
        assert (await self.api("POST", f"{self.path}/stop", body)).body == {"ok": True}
        await self.wait("stopped")

    async def start(self) -> None:
        assert (await self.api("POST", f"{self.path}/start")).status == 200
        await self.wait("started")

    async def restart(self) -> None:
        """Stop the machine and start it again."""
        await self.stop()
        await self.start()

    async def read(self) -> dict[str, Any]:
        return dict((await self.api("GET", self.path)).body)

    @asynccontextmanager
    async def ssh(self, **options: Any) -> AsyncIterator[asyncssh.SSHClientConnection]:
        await self.listening()
        options = {"username": "coder", "client_keys": [self.key], **options}
        async with asyncssh.connect(
            "127.0.0.1", self.port, known_hosts=None, config=None, agent_path=None, **options
        ) as connection:
            yield connection

    async def listening(self) -> None:
        """Wait until the SSH server accepts, as a client of a machine just started must."""
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.01)
                continue
            writer.close()
            await writer.wait_closed()
            return

    async def run(self, command: str, **options: Any) -> str:
        async with self.ssh() as connection:
            return str((await connection.run(command, check=True, **options)).stdout)

    @asynccontextmanager
    async def running(self, command: str) -> AsyncIterator[None]:
        """Keep a command running that has printed its first line."""
        async with self.ssh() as connection, connection.create_process(command) as process:
            await process.stdout.readline()
            yield

    @asynccontextmanager
    async def terminal(self, **options: Any) -> AsyncIterator["Terminal"]:
        options = {"term_type": "xterm", "term_size": (80, 24), **options}
        async with self.ssh() as connection, connection.create_process(encoding=None, **options) as process:
            yield Terminal(process)


class Terminal:
    """A shell on a PTY, read until a sentinel."""

    def __init__(self, process: asyncssh.SSHClientProcess[bytes]) -> None:
        self.process = process
        self._seen = b""

    async def until(self, sentinel: bytes = PROMPT) -> bytes:
        while sentinel not in self._seen:
            chunk = await self.process.stdout.read(65536)
            assert chunk, f"the terminal ended before {sentinel!r}: {self._seen[-400:]!r}"
            self._seen += chunk
        before, _, self._seen = self._seen.partition(sentinel)
        return before + sentinel

    async def rest(self) -> bytes:
        return self._seen + await self.process.stdout.read()

    async def gone(self) -> None:
        """Wait for the end: the channel is closed, or the connection is before we hear of that."""
        with contextlib.suppress(asyncssh.ConnectionLost):
            await self.rest()
        await self.process.wait_closed()

    def type(self, text: bytes) -> None:
        self.process.stdin.write(text)

    async def enter(self, line: str, sentinel: str) -> None:
        """Type a line and read until a sentinel."""
        self.type(f"{line}\n".encode())
        await self.until(sentinel.encode())


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    """Where the emulator keeps its machines."""
    return tmp_path / "state"


@pytest.fixture(params=["plain", "bwrap", "sshd", *ENGINES])
def runtime(
    request: pytest.FixtureRequest,
    io_loop: IOLoop,
    need: Callable[[str], str],
    machine_image: Callable[[str], str],
    state_dir: Path,
) -> Iterator[str]:
    """Every way to run a machine; all must work in CI, but containers only where there is an engine."""
    if request.param in ENGINES:
        machine_image(request.param)
    for tool in {"bwrap": ("bwrap",), "sshd": ("bwrap", "sshd")}.get(request.param, ()):
        need(tool)
    yield str(request.param)
    if request.param in ENGINES:  # an emulator without machines removes the containers of those it had
        shutil.rmtree(state_dir / "machines", ignore_errors=True)
        io_loop.run_sync(lambda: ContainerRuntime.choose(request.param, state_dir.resolve()))


@pytest.fixture
def open_emulator(io_loop: IOLoop, state_dir: Path) -> Iterator[Callable[..., Awaitable[Emulator]]]:
    """Start an emulator; it is stopped after the test."""
    opened: list[Emulator] = []

    async def start(runtime: str = "plain", **options: Any) -> Emulator:
        emulator = Emulator(state_dir=state_dir, token="T", runtime=runtime, **options)
        opened.append(emulator)
        await emulator.start()
        return emulator

    yield start
    for emulator in opened:
        io_loop.run_sync(emulator.stop)


@pytest.fixture
def spawn_emulator(nothing_leaks: None, state_dir: Path) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Start `python -m aether.emulator` as a user would."""
    spawned: list[subprocess.Popen[str]] = []

    def spawn(runtime: str = "auto", *more: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "aether.emulator", "--port=0", "--token=T", f"--runtime={runtime}", *more]
        command.append(f"--state-dir={state_dir}")
        spawned.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True))
        return spawned[-1]

    yield spawn
    for process in spawned:
        with process:
            process.terminate()


@pytest.fixture
def open_api(io_loop: IOLoop) -> Iterator[Callable[..., Api]]:
    """Make a client; it is closed after the test."""
    opened: list[Api] = []

    def start(base_url: str, token: str | None = "T") -> Api:
        opened.append(Api(base_url, token))
        return opened[-1]

    yield start
    for api in opened:
        api.close()


@pytest.fixture
def emulator(io_loop: IOLoop, open_emulator: Callable[[], Awaitable[Emulator]]) -> Emulator:
    """A running emulator."""
    return io_loop.run_sync(open_emulator)


@pytest.fixture
def api(emulator: Emulator, open_api: Callable[[str], Api]) -> Api:
    """A client of it."""
    return open_api(emulator.url)


@pytest.fixture
def virtual() -> VirtualClock:
    """Time that passes only in `await virtual.advance(seconds)`."""
    return VirtualClock()


class Fast:
    """An emulator without processes, in virtual time, and the calls of a client."""

    def __init__(self, emulator: Emulator, api: Api, clock: VirtualClock) -> None:
        self.emulator = emulator
        self.api = api
        self.clock = clock

    async def create(self, **request: Any) -> str:
        """Create a machine and answer its path."""
        answer = await self.api("POST", "/apps/app/machines", {"config": {"image": "i"}, **request})
        assert answer.status == 200, answer.body
        return f"/apps/app/machines/{answer.body['id']}"

    async def started(self, **request: Any) -> str:
        """Create a machine and wait until it is started."""
        path = await self.create(**request)
        await self.reach(path, "started")
        return path

    async def reach(self, path: str, state: str) -> None:
        assert (await self.api("GET", f"{path}/wait?state={state}")).body == {"ok": True, "state": state}

    async def state(self, path: str) -> str:
        return str((await self.api("GET", path)).body["state"])

    async def listed(self, query: str = "") -> list[str]:
        return [machine["id"] for machine in (await self.api("GET", f"/apps/app/machines{query}")).body]


@pytest.fixture
def fast(
    open_emulator: Callable[..., Awaitable[Emulator]], open_api: Callable[[str], Api], virtual: VirtualClock
) -> Callable[..., Awaitable[Fast]]:
    """`await fast(boot_delay_s=1)` → an emulator without processes, with such options."""

    async def start(**options: Any) -> Fast:
        emulator = await open_emulator("fast", clock=virtual, sleep=virtual.sleep, options=Options(**options))
        return Fast(emulator, open_api(emulator.url), virtual)

    return start


@pytest.fixture(scope="session")
def key() -> asyncssh.SSHKey:
    """The key that may log in."""
    return asyncssh.generate_private_key("ssh-ed25519")


@pytest.fixture
def config(key: asyncssh.SSHKey, ports: Slot) -> Callable[..., dict[str, Any]]:
    """Build a machine's config: an SSH port of its own, our key, files that survive a stop."""

    def build(**changes: Any) -> dict[str, Any]:
        files = [{"guest_path": "/etc/ssh/authorized_keys.d/coder", "raw_value": encoded(key.export_public_key())}]
        external = [{"port": next(ports)}]
        return {
            "image": "registry.fly.io/app/base:latest",
            "services": [{"protocol": "tcp", "internal_port": 2222, "ports": external, "autostart": False}],
            "rootfs": {"persist": "always"},
            "files": [*files, *changes.pop("files", [])],
            **changes,
        }

    return build


@pytest.fixture
def encode() -> Callable[[bytes], str]:
    """Encode a file's content as `raw_value`."""
    return encoded


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


@pytest.fixture
def create(key: asyncssh.SSHKey, config: Callable[..., dict[str, Any]]) -> Callable[..., Awaitable[Box]]:
    """Create a machine through the API and wait until it is `started`."""

    async def make(api: Api, app: str = "app", state: str = "started", **changes: Any) -> Box:
        answer = await api("POST", f"/apps/{app}/machines", {"config": config(**changes)})
        assert answer.status == 200, answer.body
        box = Box(api, app, answer.body, key)
        await box.wait(state)
        return box

    return make


@pytest.fixture
def on(
    open_emulator: Callable[..., Awaitable[Emulator]],
    open_api: Callable[[str], Api],
    create: Callable[..., Awaitable[Box]],
) -> Callable[..., Awaitable[Box]]:
    """Start an emulator with the given runtime and a machine on it."""

    async def make(runtime: str, **changes: Any) -> Box:
        emulator = await open_emulator(runtime)
        box = await create(open_api(emulator.url), **changes)
        box.emulator = emulator
        return box

    return make


@pytest.fixture
def box(io_loop: IOLoop, runtime: str, on: Callable[..., Awaitable[Box]]) -> Box:
    """A started machine, once in each runtime."""
    return io_loop.run_sync(lambda: on(runtime))


class Fill:
    """A command that says "ok", waits for `go`, and writes all that its terminal takes while no process reads.

    It waits without a process of its own, at a named pipe, and tells what it wrote through another one.
    """

    command = f"echo ok; read -r _ <go; {sys.executable} -ESs fill.py"

    def __init__(self, home: Path) -> None:
        self._home = home
        (home / "fill.py").write_text(FILL)
        for name in ("go", "written"):
            os.mkfifo(home / name)

    async def go(self) -> int:
        """Let it write, and answer how many bytes it wrote."""
        await asyncio.to_thread((self._home / "go").write_text, "\n")
        return int(await asyncio.to_thread((self._home / "written").read_text))


@pytest.fixture
def fill(box: Box, state_dir: Path) -> Fill:
    """The means to fill a terminal of the machine."""
    return Fill(state_dir / "machines" / box.id / "rootfs/home/coder")


@pytest.fixture
def death(io_loop: IOLoop) -> Callable[[psutil.Process], Awaitable[None]]:
    """`death(process)` → to be awaited until the process is dead, reaped or not, woken by the kernel."""

    def watch(process: psutil.Process) -> Awaitable[None]:
        fd = os.pidfd_open(process.pid)
        ended = asyncio.ensure_future(until_readable(fd))
        ended.add_done_callback(lambda _: os.close(fd))
        return ended

    return watch


@pytest.fixture
def marker() -> str:
    """A length of sleep no other process on the computer has, of another run of the tests either."""
    return f"{secrets.randbelow(9 * 10**6) + 10**6}.{secrets.randbelow(10**8)}"


@pytest.fixture
def sleepers() -> Callable[[str], list[psutil.Process]]:
    """Find the processes that have a marker in their command line."""

    def find(marker: str) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter(["cmdline", "name"]):
            if process.info["name"] == "sleep" and marker in (process.info["cmdline"] or []):
                found.append(process)
        return found

    return find
