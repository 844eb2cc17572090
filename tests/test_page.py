"""The page in a real browser: Chromium, driven from the server's event loop, its screen read from xterm's buffer."""

import os
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from playwright.async_api import Browser, ConsoleMessage, Locator, Page, async_playwright, expect
from tornado.ioloop import IOLoop

XTERM = Path(__file__).parent.parent / "static" / "node_modules" / "@xterm" / "xterm"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
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
FURNISH = r"""
mkdir photos src; echo 'print("hello")' > src/main.py; ln -s src/main.py main; seq 500 > numbers.txt
echo '#!/usr/bin/env python3' > greet; chmod +x greet
echo 'print("Grüße · żółw · Ελλάδα · привет · λ → ∞ ✓ ♞")' >> greet
""".strip().replace("\n", "; ")
SESSION = {
    "ls -l": "src/main.py",
    "./greet": "Grüße · żółw · Ελλάδα · привет · λ → ∞ ✓ ♞",
    r"for n in {196..231}; do printf '\e[38;5;%sm━━' $n; done; printf '\e[m\n'": "━━" * 36,
    """python3 -c 'for y in range(16): print(" " * (15 - y), *(" ▲"[x & y == x] for x in range(y + 1)))' | grep ▲""": (
        " ▲" * 16
    ),
    "awk '{ sum += $1 } END { print sum }' numbers.txt": "125250",
}


NOT_OURS = ("GL Driver Message", "task queue exceeded allotted deadline")  # the driver's; xterm.js on a busy computer


class Tab:
    """A page, and the verbs of whoever sits in front of it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.complaints.append(f"uncaught: {error}"))

    def _hear(self, message: ConsoleMessage) -> None:
        """Note errors, among them what the content security policy refuses."""
        if message.type in ("error", "warning") and not any(text in message.text for text in NOT_OURS):
            self.complaints.append(f"{message.type}: {message.text}")

    def find(self, selector: str) -> Locator:
        return self.page.locator(selector)

    async def until_status(self, status: str) -> None:
        """Wait for what the header says."""
        await expect(self.find("#status-word")).to_have_text(status)

    async def until_prompt(self, count: int = 1) -> str:
        """Wait until the screen ends with a prompt, at least the `count`th; return the screen."""
        await self.page.wait_for_function(AT_PROMPT, arg=[PROMPT, count])
        return await self.screen()

    async def screen(self) -> str:
        return await self.page.evaluate(SCREEN)

    async def size(self) -> str:
        """Return the terminal's size as `stty size` writes it."""
        return await self.page.evaluate("() => `${aether.term.rows} ${aether.term.cols}`")

    async def press_enter(self) -> None:
        await self.page.keyboard.press("Enter")

    async def run(self, command: str) -> str:
        """Type a command at the prompt; return what it printed."""
        before = await self.until_prompt()
        await self.page.keyboard.type(command)
        await self.press_enter()
        after = await self.until_prompt(before.count(PROMPT) + 1)
        _, _, printed = after.removeprefix(before).removesuffix(PROMPT).partition("\n")
        return printed.rstrip()


@pytest.fixture
def visit(
    io_loop: IOLoop, need: Callable[[str], str], http_server: Any, base_url: str
) -> Iterator[Callable[..., Awaitable[Tab]]]:
    """`await visit("/terminal.html")` → a Tab of a new browser, which may complain about nothing."""
    if not XTERM.is_dir():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(
            "xterm.js is missing; scripts/test installs it"
        )
    chromium = need("chromium")
    playwright = io_loop.run_sync(async_playwright().start)
    browsers: list[Browser] = []
    tabs: list[Tab] = []

    async def open_tab(path: str, renderer: str = WITHOUT_WEBGL, **options: Any) -> Tab:
        browser = await playwright.chromium.launch(executable_path=chromium, args=[*FLAGS, renderer])
        browsers.append(browser)
        tabs.append(tab := Tab(await browser.new_page(**options)))
        await tab.page.goto(base_url + path)
        return tab

    async def close_all() -> None:
        for browser in browsers:
            await browser.close()
        await playwright.stop()

    yield open_tab
    io_loop.run_sync(close_all)
    assert not [complaint for tab in tabs for complaint in tab.complaints]


@pytest.fixture
def box(io_loop: IOLoop, machine: Callable[..., Awaitable[dict[str, Any]]]) -> dict[str, Any]:
    """A new machine's JSON."""
    return io_loop.run_sync(lambda: machine(name="demo"))


@pytest.fixture
def enter(visit: Callable[..., Awaitable[Tab]], box: dict[str, Any]) -> Callable[..., Awaitable[Tab]]:
    """`await enter(WITH_WEBGL)` → a Tab with the box's terminal, at its prompt."""

    async def open_terminal(renderer: str = WITHOUT_WEBGL, **options: Any) -> Tab:
        tab = await visit(f"/terminal.html?machine={box['id']}", renderer, **options)
        await tab.until_prompt()
        await tab.until_status("connected")
        return tab

    return open_terminal


@pytest.fixture
def cut(http_port: int) -> Callable[[], None]:
    """`cut()`: end the server's connections under it, without a WebSocket close, as a dying proxy does."""

    def shut_down() -> None:
        for connection in psutil.Process().net_connections("tcp"):
            if connection.laddr.port == http_port and connection.status == psutil.CONN_ESTABLISHED:
                with socket.socket(fileno=os.dup(connection.fd)) as end:
                    end.shutdown(socket.SHUT_RDWR)

    return shut_down


@pytest.mark.gen_test
async def test_a_typed_command_shows_its_result(enter):
    """The page of a machine that is still starting becomes its terminal."""
    tab = await enter()
    assert await tab.run('echo "$((6*7)) $TERM"') == "42 xterm-256color"


@pytest.mark.gen_test
async def test_the_shell_has_the_size_of_the_window_from_its_start_and_after_each_change(enter):
    """`stty size` is what the terminal draws."""
    tab = await enter(viewport={"width": 800, "height": 500})
    first = await tab.size()
    assert await tab.run("stty size") == first
    await tab.page.set_viewport_size({"width": 1200, "height": 700})
    await tab.page.wait_for_function("cols => aether.term.cols > cols", arg=int(first.split()[1]))
    assert await tab.run("stty size") == await tab.size()


@pytest.mark.gen_test
async def test_a_stopped_machine_says_who_stopped_it_and_enter_starts_it_again(enter, box, call):
    """The terminal never just goes dead, and its way back is one key."""
    tab = await enter()
    await call("POST", f"/machines/{box['id']}/stop")
    await tab.until_status("stopped")
    await expect(tab.find("#notice-text")).to_contain_text("Machine stopped by user.")
    await tab.press_enter()
    await tab.until_prompt(2)
    await tab.until_status("connected")
    assert await tab.run("echo back") == "back"


@pytest.mark.gen_test
async def test_a_cut_connection_comes_back_by_itself_and_says_that_its_shell_is_new(enter, cut):
    """What was on the screen stays, what was in the old shell does not."""
    tab = await enter()
    await tab.run("OLD=shell")
    cut()
    screen = await tab.until_prompt(3)
    assert "OLD=shell" in screen
    assert screen.count("\nConnection lost. Reconnected — new session.\n") == 1
    await tab.page.wait_for_function("() => performance.now() - aether.state.keyAt > 500")  # see its keysTyped()
    assert await tab.run('echo "[$OLD]"') == "[]"


@pytest.mark.gen_test
async def test_after_exit_enter_opens_a_new_shell(enter):
    """An exit is no lost connection: the page waits to be asked."""
    tab = await enter()
    await tab.run("OLD=shell")
    await tab.page.keyboard.type("exit\n")
    await tab.until_status("exited")
    await tab.press_enter()
    await tab.until_prompt(3)
    assert await tab.run('echo "[$OLD]"') == "[]"
    assert "Connection lost" not in await tab.screen()


@pytest.mark.gen_test
async def test_the_start_page_lists_machines_and_leads_into_the_one_it_creates(visit, box, call):
    """From `/` to a prompt with one name and one click."""
    tab = await visit("/")
    await expect(tab.find("#list tbody tr .name")).to_have_text([box["name"]])
    await tab.find("#new-name").fill("second")
    await tab.find("#create").click()
    await tab.page.wait_for_url("**/terminal.html?machine=*")
    await expect(tab.find("#machine-name")).to_have_text("second")
    assert await tab.run("echo inside") == "inside"
    await tab.find(".back").click()
    await expect(tab.find("#list tbody tr .name")).to_have_text([box["name"], "second"])


@pytest.mark.parametrize(
    ("health", "said"),
    [
        (
            {"sandboxed": True, "contained": False},
            "processes on this computer. They are separated from each other by bub",
        ),
        (
            {"sandboxed": False, "contained": False},
            "processes on this computer. They are not separated from your files",
        ),
        ({"sandboxed": True, "contained": True}, "containers on this computer."),
    ],
)
@pytest.mark.gen_test
async def test_the_start_page_says_what_keeps_local_machines_apart(visit, health, said):
    """And claims nothing that is not so."""
    tab = await visit("/")
    answer = {"status": "ok", "provider": "local", **health}
    await tab.page.route("**/healthz", lambda route: route.fulfill(json=answer))
    await tab.page.reload()
    await expect(tab.find("#provider")).to_contain_text(f"The machines here are {said}")


@pytest.mark.gen_test
async def test_a_machine_is_deleted_after_a_question(visit, machine, box, call):
    """The one that was meant goes, and only after a yes."""
    other = await machine(name="other")
    tab = await visit("/terminal.html")
    remove = tab.page.get_by_role("button", name="Delete demo")
    await remove.click()
    await tab.find("#confirm-no").click()
    assert (await call("GET", f"/machines/{box['id']}")).code == 200
    await remove.click()
    await tab.find("#confirm-yes").click()
    await expect(tab.find("#list tbody tr .name")).to_have_text([other["name"]])
    assert (await call("GET", f"/machines/{box['id']}")).code == 404


@pytest.mark.gen_test
@pytest.mark.parametrize(("renderer", "rows_in_dom"), [(WITH_WEBGL, 0), (WITHOUT_WEBGL, 2)])
async def test_the_terminal_draws_with_webgl_or_else_with_the_dom(enter, renderer, rows_in_dom):
    """No WebGL costs speed, not the terminal."""
    tab = await enter(renderer)
    assert await tab.run("echo drawn") == "drawn"
    rows = tab.find(".xterm-rows > div").filter(has_text="drawn")
    await expect(rows).to_have_count(rows_in_dom)


@pytest.mark.gen_test
async def test_colours_and_wide_characters_are_drawn(enter):
    """SGR colours become colours, and a wide character takes two cells."""
    tab = await enter()
    assert await tab.run(r"printf '\e[32m%s\e[m %s\n' żółw '日本 🐢'") == "żółw 日本 🐢"
    green = await tab.page.evaluate("() => aether.term.options.theme.green")
    drawn = tab.find(".xterm-fg-2")
    await expect(drawn).to_have_text("żółw")
    await expect(drawn).to_have_css("color", f"rgb{tuple(bytes.fromhex(green[1:]))}")
    assert await tab.page.evaluate("() => aether.term.buffer.active.getLine(1).getCell(5).getWidth()") == 2


@pytest.mark.gen_test
async def test_a_screenshot_for_the_readme_shows_a_session(enter, terminal, box, tmp_path):
    """The picture is of the real thing; AETHER_SCREENSHOT says where to keep it."""
    await (await terminal(box["id"])).run(FURNISH)
    look = {"viewport": {"width": 1100, "height": 620}, "color_scheme": "dark", "reduced_motion": "reduce"}
    tab = await enter(**look)
    empty = await tab.page.screenshot()
    for command, sign in SESSION.items():
        assert sign in await tab.run(command)
    path = Path(os.environ.get("AETHER_SCREENSHOT", tmp_path / "terminal.png"))
    picture = await tab.page.screenshot(path=path)
    assert picture.startswith(b"\x89PNG")
    assert struct.unpack(">II", picture[16:24]) == (1100, 620)
    assert len(picture) > 2 * len(empty)
