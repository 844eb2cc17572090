"""The page in a real browser: one Chromium, one `server.py` and one machine for all tests here, a new tab for each."""

import asyncio
import contextlib
import gc
import json
import os
import re
import shutil
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import asyncssh
import psutil
import pytest
from playwright.async_api import (
    Browser,
    ConsoleMessage,
    Locator,
    Page,
    TimeoutError,
    WebSocket,
    async_playwright,
    expect,
)
from tornado.httpclient import HTTPRequest, HTTPResponse
from tornado.ioloop import IOLoop
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from tests.ports import Slot

ROOT = Path(__file__).parents[2]
XTERM = ROOT / "static" / "node_modules" / "@xterm" / "xterm"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    *("--js-flags=--expose-gc", "--enable-precise-memory-info"),
]
WITH_WEBGL = "--enable-unsafe-swiftshader"
WITHOUT_WEBGL = "--disable-3d-apis"  # most tests: on a busy computer xterm's WebGL warns of slow glyphs
PROMPT = "coder@aether:~$"
SCREEN = """() => {
  const buffer = aether.term.buffer.active, lines = [];
  for (let row = 0; row < buffer.length; row++) lines.push(buffer.getLine(row).translateToString(true));
  return lines.join("\\n").trimEnd();
}"""
AT_PROMPT = f"""([prompt, count]) => {{
  if (!aether.term) return false;
  const screen = ({SCREEN})();
  return screen.endsWith(prompt) && screen.split(prompt).length > count;
}}"""
BROKEN = ("WebSocket connection to", "net::ERR")  # what a browser says of a connection that a test has broken
NOT_OURS = ("GL Driver Message", "task queue exceeded allotted deadline")  # the driver's; xterm.js on a busy computer
LEAVES = """() => {
  const event = new Event("beforeunload", { cancelable: true });
  dispatchEvent(event);
  return !event.defaultPrevented;
}"""  # whether the page may be left without a question
PASTE = """text => {
  const clipboardData = new DataTransfer();
  clipboardData.setData("text/plain", text);
  aether.term.textarea.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }));
}"""  # what the menu's Paste does
REQUEST_S = 60
STOP_S = 20
PATIENCE_MS = 20_000
expect.set_options(timeout=PATIENCE_MS)  # as all else: 5 s are little on a busy computer


class Server:
    """`server.py` as users run it, and its REST calls."""

    def __init__(self, folder: Path, ports: Slot, client: SimpleAsyncHTTPClient, **environ: str) -> None:
        env = {key: value for key, value in os.environ.items() if not key.startswith(("FLY_", "AETHER_"))}
        own = {"AETHER_STATE_DIR": str(folder / "state"), "AETHER_SSH_PORTS": ports.of_servers}
        self._env = {**env, **own, **environ}
        self._log = folder / "server.log"
        self._client = client
        self.url = ""
        self.may_log = "nothing of this kind"  # a pattern of warnings that the test provokes
        self.process: asyncio.subprocess.Process

    async def start(self, port: int = 0) -> None:
        """Run it until it says its URL."""
        with self._log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "server.py", f"--port={port}"),
                cwd=ROOT,
                env=self._env,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
        assert self.process.stdout is not None
        line = (await self.process.stdout.readline()).decode()
        self.url = re.search(r"http://\S+:\d+", line)[0]

    async def stop(self) -> None:
        """End it in order; nothing of it survives, and nothing went wrong meanwhile."""
        family = psutil.Process(self.process.pid).children(recursive=True)
        self.process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(self.process.communicate(), STOP_S)
        self.process._transport.close()
        assert not psutil.wait_procs(family, timeout=STOP_S)[1]
        loud = [line for line in self._log.read_text().splitlines() if re.search("WARNING|ERROR|Traceback", line)]
        assert not [line for line in loud if not re.search(self.may_log, line)]

    async def kill(self) -> None:
        """End it as a crash does."""
        self.process.kill()
        await self.process.communicate()
        self.process._transport.close()

    async def call(self, method: str, path: str, body: Any = None) -> HTTPResponse:
        data = None if body is None else json.dumps(body)
        request = HTTPRequest(
            self.url + path, method, body=data, allow_nonstandard_methods=True, request_timeout=REQUEST_S
        )
        return await self._client.fetch(request, raise_error=False)

    async def new_machine(self, **wanted: Any) -> dict[str, Any]:
        response = await self.call("POST", "/machines", wanted)
        assert response.code == 201, response.body
        return json.loads(response.body)


class Tab:
    """A page, and the verbs of its user."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.sent: list[dict[str, Any]] = []
        self.forgives: tuple[str, ...] = NOT_OURS
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self._complain(f"uncaught: {error}"))
        self.sockets = 0
        page.on("websocket", self._watch)

    def _hear(self, message: ConsoleMessage) -> None:
        """Note errors, among them what the content security policy refuses."""
        if message.type in ("error", "warning"):
            self._complain(f"{message.type}: {message.text}")

    def _complain(self, complaint: str) -> None:
        if not any(text in complaint for text in self.forgives):
            self.complaints.append(complaint)

    def _watch(self, socket: WebSocket) -> None:
        self.sockets += 1
        socket.on("framesent", lambda text: self.sent.append(json.loads(text)))

    def find(self, selector: str) -> Locator:
        return self.page.locator(selector)

    async def look(self, script: str, argument: Any = None) -> Any:
        return await self.page.evaluate(script, argument)

    async def until(self, script: str, argument: Any = None) -> None:
        """Wait until an expression of the page is true."""
        try:
            await self.page.wait_for_function(script, arg=argument)
        except TimeoutError as error:
            shown = await self.look(f"() => document.body.innerText + (aether.term ? ({SCREEN})() : '')")
            raise AssertionError(f"never true: {script} with {argument}; the page shows:\n{shown}") from error

    async def until_status(self, word: str) -> None:
        """Wait for what the header says."""
        await expect(self.find("#status-word")).to_have_text(word)

    async def until_resumed(self) -> None:
        """Wait until the page says that the same shell goes on."""
        await expect(self.find("#status-detail")).to_have_text("resumed")

    async def lose(self, proxy: "Proxy") -> None:
        """Cut the line and let no other come, until `proxy.is_closed` is False again."""
        self.forgive()
        proxy.is_closed = True
        proxy.cut()
        await self.until_status("Reconnecting")

    async def until_screen(self, *texts: str) -> str:
        """Wait until the terminal shows all of these; return all it shows."""
        await self.until(
            f"texts => {{ const screen = ({SCREEN})(); return texts.every(t => screen.includes(t)); }}", texts
        )
        return await self.screen()

    async def until_prompt(self, count: int = 1) -> str:
        """Wait until the screen ends with a prompt, at least the `count`th; return the screen."""
        await self.until(AT_PROMPT, [PROMPT, count])
        return await self.screen()

    async def screen(self) -> str:
        return await self.look(SCREEN)

    async def size(self) -> str:
        """Return the terminal's size as `stty size` writes it."""
        return await self.look("() => `${aether.term.rows} ${aether.term.cols}`")

    async def press(self, *keys: str) -> None:
        for key in keys:
            await self.page.keyboard.press(key)

    async def type(self, text: str) -> None:
        await self.page.keyboard.type(text)

    async def start(self, command: str, *signs: str) -> str:
        """Start a program at the prompt; wait for what it shows, which its command's echo must not."""
        assert not any(sign and sign in command for sign in signs)
        await self.until_prompt()
        await self.type(f"{command}\n")
        return await self.until_screen(*signs)

    async def start_sleep(self, rest: str = "") -> None:
        """Start a program that only a signal ends; return when it, and no longer the shell, gets the signals."""
        await self.start(f"sh -c 'printf rea; echo dy; exec sleep 1000'{rest}", "ready")

    async def run(self, command: str) -> str:
        """Type a command at the prompt; return what it printed."""
        before = await self.until_prompt()
        await self.type(f"{command}\n")
        after = await self.until_prompt(before.count(PROMPT) + 1)
        _, _, printed = after.removeprefix(before).removesuffix(PROMPT).partition("\n")
        return printed.rstrip()

    async def paste(self, text: str) -> None:
        """Paste a text as the browser's menu does."""
        await self.look(PASTE, text)

    async def wake_up(self) -> None:
        """Let the page hear that the network is back: it pings the server at once."""
        await self.look("() => window.dispatchEvent(new Event('online'))")

    def forgive(self, *texts: str) -> None:
        """Do not mind complaints with these texts, by default those of a broken connection."""
        self.forgives += texts or BROKEN

    async def rest(self) -> None:
        """Wait until what is typed next is a burst of its own: see `Bursts` in the page's keys.js."""
        await self.until("() => performance.now() - aether.facts.lastKeyAt > 500")


@pytest.fixture(scope="package", autouse=True)
def nothing_leaks() -> Iterator[None]:
    """No child process survives the tests here, which share their browser and server."""
    before = set(psutil.Process().children())
    yield
    gc.collect()
    assert not psutil.wait_procs(set(psutil.Process().children()) - before, timeout=STOP_S)[1]


@pytest.fixture(scope="package")
def io_loop(nothing_leaks: None) -> Iterator[IOLoop]:
    """One event loop for all tests here: the browser belongs to it."""
    loop = IOLoop(make_current=False)
    asyncio.set_event_loop(loop.asyncio_loop)
    yield loop
    left = asyncio.all_tasks(loop.asyncio_loop)
    loop.run_sync(loop.asyncio_loop.shutdown_asyncgens)
    asyncio.set_event_loop(None)
    loop.close(all_fds=True)
    assert not left, f"tasks survived the tests: {left}"


@pytest.fixture(scope="package")
def http(io_loop: IOLoop) -> Iterator[SimpleAsyncHTTPClient]:
    """A client of the REST calls."""
    client = SimpleAsyncHTTPClient(force_instance=True)
    yield client
    client.close()


@pytest.fixture(scope="package")
def make_server(
    io_loop: IOLoop, http: SimpleAsyncHTTPClient, ports: Slot, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Server]:
    """`make_server(FLY_APP_NAME=…)` → a Server that is not started."""
    return lambda **environ: Server(tmp_path_factory.mktemp("server"), ports, http, **environ)


@pytest.fixture(scope="package")
def server(io_loop: IOLoop, make_server: Callable[..., Server]) -> Iterator[Server]:
    """The server of most tests here."""
    program = make_server()
    io_loop.run_sync(program.start)
    yield program
    io_loop.run_sync(program.stop)


@pytest.fixture
def fly(
    io_loop: IOLoop, make_server: Callable[..., Server], tmp_path: Path
) -> Iterator[Callable[..., Awaitable[Server]]]:
    """`await fly("--boot-delay=2", AETHER_PORT=…)` → a Server whose machines outlive it: at an emulator of its own."""
    running: list[asyncio.subprocess.Process] = []
    servers: list[Server] = []

    async def start(*flags: str, **environ: str) -> Server:
        command = (sys.executable, "-m", "aether.emulator", "--port=0", "--token=T", f"--state-dir={tmp_path / 'fly'}")
        emulator = await asyncio.create_subprocess_exec(*command, *flags, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
        running.append(emulator)
        assert emulator.stdout is not None
        url = re.search(r"http://\S+:\d+", (await emulator.stdout.readline()).decode())[0]
        asyncssh.generate_private_key("ssh-ed25519").write_private_key(tmp_path / "key")
        account = {"FLY_API_TOKEN": "T", "FLY_APP_NAME": "app", "FLY_FLAPS_BASE_URL": url}
        key = {"AETHER_SSH_HOST": "127.0.0.1", "AETHER_SSH_PRIVATE_KEY_FILE": str(tmp_path / "key")}
        servers.append(program := make_server(**account, **key, **environ))
        await program.start()
        return program

    async def stop() -> None:
        for program in servers:
            await program.stop()
        for emulator in running:
            emulator.send_signal(signal.SIGTERM)
            await emulator.communicate()
            emulator._transport.close()

    yield start
    io_loop.run_sync(stop)


@pytest.fixture(scope="package")
def box(io_loop: IOLoop, server: Server) -> dict[str, Any]:
    """The machine of most tests here: its JSON. A test that stops or deletes a machine makes its own."""
    found = io_loop.run_sync(lambda: server.new_machine(name="demo"))
    return {**found, "url": server.url}


@pytest.fixture
def own(io_loop: IOLoop, server: Server) -> dict[str, Any]:
    """A machine that the test may stop or delete: its JSON. Its test uses `as_it_was`."""
    return io_loop.run_sync(lambda: server.new_machine(name="own"))


@pytest.fixture
def as_it_was(io_loop: IOLoop, server: Server) -> Iterator[None]:
    """Delete what a test has made, after its tabs are closed: a test in another file may look for such a name, too."""
    yield

    async def clear() -> None:
        for machine in json.loads((await server.call("GET", "/machines")).body)["machines"]:
            if machine["name"] != "demo":
                await server.call("DELETE", f"/machines/{machine['id']}")

    io_loop.run_sync(clear)


@pytest.fixture(scope="package")
def browser(io_loop: IOLoop, need: Callable[[str], str]) -> Iterator[Callable[[str], Awaitable[Browser]]]:
    """`await browser(WITH_WEBGL)` → Chromium with that flag, the same one each time."""
    if not XTERM.is_dir():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(
            "xterm.js is missing; scripts/test installs it"
        )
    chromium = shutil.which("chromium-headless-shell") or need("chromium")  # the same without a user interface
    playwright = io_loop.run_sync(async_playwright().start)
    running: dict[str, Browser] = {}

    async def launch(renderer: str) -> Browser:
        if renderer not in running:
            running[renderer] = await playwright.chromium.launch(executable_path=chromium, args=[*FLAGS, renderer])
        return running[renderer]

    async def close_all() -> None:
        for one in running.values():
            await one.close()
        await playwright.stop()

    yield launch
    io_loop.run_sync(close_all)


class Proxy:
    """A TCP proxy that can fail as networks do. All data of both directions goes through it."""

    def __init__(self, target: str) -> None:
        self._target = target.rpartition("/")[2].split(":")
        self._is_frozen: list[asyncio.Event] = []
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.accepted = 0
        self.is_closed = False
        self.delay_s = 0.0
        self.url = ""

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self.is_closed:
            writer.transport.abort()
            return
        far_reader, far_writer = await asyncio.open_connection(*self._target)
        self._writers += [writer, far_writer]
        flows = asyncio.Event()
        flows.set()
        self._is_frozen.append(flows)
        for source, sink in ((reader, far_writer), (far_reader, writer)):
            task = asyncio.create_task(self._pass_on(source, sink, flows))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, flows: asyncio.Event) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(1 << 16):
                await asyncio.sleep(self.delay_s)  # a long way
                await flows.wait()
                sink.write(data)
                await sink.drain()
        sink.close()

    def cut(self) -> None:
        """End all connections at once, without a word of WebSocket."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    def freeze(self) -> None:
        """Let nothing more through on the connections there are; new ones work."""
        for flows in self._is_frozen:
            flows.clear()

    def thaw(self) -> None:
        """Let all through again."""
        for flows in self._is_frozen:
            flows.set()

    async def stop(self) -> None:
        self._server.close()
        self.thaw()
        self.cut()
        while self._tasks:
            await asyncio.wait(self._tasks)
        await self._server.wait_closed()


@pytest.fixture
def proxy(io_loop: IOLoop, server: Server) -> Iterator[Proxy]:
    """A Proxy in front of the server."""
    between = Proxy(server.url)
    io_loop.run_sync(between.start)
    yield between
    io_loop.run_sync(between.stop)


@pytest.fixture
def visit(
    io_loop: IOLoop, browser: Callable[[str], Awaitable[Browser]], server: Server, proxy: Proxy, fly: Any
) -> Iterator[Callable[..., Awaitable[Tab]]]:
    """`await visit("/terminal.html")` → a Tab that knows nothing of other tests', and may complain about nothing."""
    tabs: list[Tab] = []

    async def open_tab(
        path: str, renderer: str = WITHOUT_WEBGL, url: str = server.url, has_clock: bool = False, **options: Any
    ) -> Tab:
        context = await (await browser(renderer)).new_context(**options)
        tabs.append(tab := Tab(await context.new_page()))
        tab.page.set_default_timeout(PATIENCE_MS)
        if has_clock:
            await tab.page.clock.install()  # it goes on by itself, and `tab.page.clock` moves it
        await tab.page.goto(url + path)
        return tab

    async def close_all() -> None:
        for tab in tabs:
            await tab.page.context.close()

    yield open_tab
    io_loop.run_sync(close_all)
    assert not [complaint for tab in tabs for complaint in tab.complaints]


@pytest.fixture
def enter(visit: Callable[..., Awaitable[Tab]], box: dict[str, Any]) -> Callable[..., Awaitable[Tab]]:
    """`await enter(WITH_WEBGL)` → a Tab with the box's terminal, or another machine's, at its prompt."""

    async def open_terminal(renderer: str = WITHOUT_WEBGL, machine: dict[str, Any] = box, **options: Any) -> Tab:
        tab = await visit(f"/terminal.html?machine={machine['id']}", renderer, **options)
        await tab.until_prompt()
        await tab.until_status("Connected")
        return tab

    return open_terminal


@pytest.fixture
def program(need: Callable[[str], str]) -> Callable[[str], str]:
    """`program("vim")` → its path, which a machine can see, too."""

    def find(name: str) -> str:
        need(name)
        path = shutil.which(name, path="/usr/bin:/bin:/usr/local/bin:/opt/bin")
        return path or pytest.skip(f"{name} is where machines do not look")

    return find
