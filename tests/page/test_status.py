"""What the page says of itself is true, and everybody can read it."""

import asyncio
import json
import re
import time

import pytest
from playwright.async_api import expect

from aether.machines import MachineState

pytestmark = pytest.mark.usefixtures("as_it_was")
RATIO = """
  const part = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  const luminance = (rgb) => [0.2126, 0.7152, 0.0722].reduce(
    (sum, share, place) => sum + share * part(rgb[place] / 255), 0);
  const ratio = (one, other) => {
    const [light, dark] = [luminance(one), luminance(other)].sort((a, b) => b - a);
    return (light + 0.05) / (dark + 0.05);
  };
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const colour = (text) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = text;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
"""  # WCAG 2.2, "relative luminance" and "contrast ratio"
POOR_TEXT = f"""() => {{
  {RATIO}
  const behind = (node) => {{
    for (; node; node = node.parentElement) {{
      const found = colour(getComputedStyle(node).backgroundColor);
      if (found[3] === 255) return found;
    }}
    return [255, 255, 255];
  }};
  const isText = (node) => [...node.childNodes].some((child) => child.nodeType === Node.TEXT_NODE && child.data.trim());
  return [...document.querySelectorAll("body *")]
    .filter((node) => isText(node) && node.checkVisibility() && !node.matches(":disabled, script, .xterm *"))
    .filter((node) => ratio(colour(getComputedStyle(node).color), behind(node)) < 4.5)
    .map((node) => node.textContent);
}}"""
POOR_COLOURS = f"""() => {{
  {RATIO}
  const {{ background, ...colours }} = aether.term.options.theme;
  return ["foreground", "cursor", "red", "green", "yellow", "blue", "magenta", "cyan", "brightBlack"]
    .filter((name) => ratio(colour(colours[name]), colour(background)) < 4.5);
}}"""
LOOK_MS = 30_000  # see idleness.js
HALTED = (MachineState.STOPPING, MachineState.STOPPED)
DOT = "() => getComputedStyle(document.querySelector('#status .dot')).backgroundColor"
GREEN = "() => getComputedStyle(document.documentElement).getPropertyValue('--green')"


async def state_of(server, box):
    return json.loads((await server.call("GET", f"/machines/{box['id']}")).body)["state"]


@pytest.mark.gen_test
async def test_the_header_names_machine_and_status(enter, box):
    """As the PRD draws it."""
    tab = await enter()
    await expect(tab.find("#machine-name")).to_have_text("demo")
    words = (await tab.find("header").inner_text()).split()
    assert words[2:6] == ["Machine:", "demo", box["id"][:8], "Status:"]
    assert words[6] == "Connected"
    green = await tab.look(GREEN)
    assert await tab.look(DOT) == f"rgb{tuple(bytes.fromhex(green.strip()[1:]))}"


@pytest.mark.gen_test
async def test_the_round_trip_is_measured(enter, proxy):
    """A way that is 150 ms longer is shown as such, and a short one as short."""
    tab = await enter(url=proxy.url)
    await tab.until("() => aether.facts.roundTripMs !== null && aether.facts.roundTripMs < 150")
    proxy.delay_s = 0.075
    await tab.wake_up()
    await tab.until("() => aether.facts.roundTripMs >= 150")
    shown = await tab.find("#status-detail").inner_text()
    assert int(shown.removesuffix(" ms")) >= 150


class TestSlowBoot:
    """Where a machine boots for as long as the test wants."""

    @pytest.fixture
    def boots(self):
        return asyncio.Event()

    @pytest.fixture
    def delays(self, boots):
        return lambda seconds: boots.wait()

    @pytest.mark.gen_test
    async def test_a_machine_that_starts_says_what_it_does_and_for_how_long(
        self, aether, machine, base_url, visit, boots
    ):
        """Seconds count, steps have names, and then there is a prompt."""
        aether.emulator.options.boot_delay_s = 1.0
        box = await machine()
        tab = await visit(f"/terminal.html?machine={box['id']}", url=base_url)
        await tab.until_status("Starting")
        await expect(tab.find("#status-detail")).to_have_text(re.compile("the machine boots, [1-9][0-9]* s"))
        boots.set()
        await tab.until_prompt()
        await tab.until_status("Connected")


@pytest.mark.gen_test
async def test_a_stopped_machine_says_who_stopped_it_and_enter_starts_it_again(enter, own, server):
    """The terminal never just goes dead, and its way back is one key."""
    tab = await enter(machine=own)
    await server.call("POST", f"/machines/{own['id']}/stop")
    await tab.until_status("Stopped")
    await expect(tab.find("#notice-text")).to_have_text("Machine stopped by user. Press Enter to start it.")
    await tab.press("Enter")
    await tab.until_prompt(2)
    await tab.until_status("Connected")
    assert await tab.run("echo back") == "back"


@pytest.mark.gen_test
async def test_a_stale_tab_starts_no_machine(enter, own, server):
    """Not by waking up, not by a reload, not by the Enter of a command that the shell did not live to see."""
    tab = await enter(machine=own)
    await tab.find("#power").click()
    await tab.until_status("Stopped")
    for event in ("online", "pageshow", "focus"):
        await tab.look("name => window.dispatchEvent(new Event(name))", event)
    await tab.look("() => document.dispatchEvent(new Event('visibilitychange'))")
    await tab.find("#terminal").click()
    await tab.look("() => { const at = performance.now(); performance.now = () => at; }")  # typed without a pause
    await tab.type("make\n")
    await tab.until_status("Stopped")
    assert await state_of(server, own) in HALTED
    assert tab.sockets == 1
    await tab.page.reload()
    await tab.until_status("Stopped")
    assert await state_of(server, own) in HALTED


@pytest.mark.gen_test
async def test_a_key_that_is_held_down_starts_no_machine(enter, own, server):
    """The Enter of the last command, held for longer than a pause between two bursts of keys."""
    tab = await enter(machine=own)
    await tab.page.keyboard.down("Enter")
    await server.call("POST", f"/machines/{own['id']}/stop")
    await tab.until_status("Stopped")
    await tab.rest()
    await tab.page.keyboard.down("Enter")  # a repetition
    await tab.look("() => document.activeElement.blur()")
    await tab.page.keyboard.down("Enter")
    await tab.until_status("Stopped")
    assert await state_of(server, own) in HALTED
    await tab.page.keyboard.up("Enter")
    await tab.press("Enter")
    await tab.until_status("Connected")


@pytest.mark.gen_test
async def test_an_idle_stop_is_announced_a_key_puts_it_off_and_afterwards_it_is_named(
    aether, settings, clock, machine, base_url, visit, eventually
):
    """No surprise, and no bill."""
    clock.now = time.time()  # as the browser's
    box = await machine()
    activity = aether.fleet.get(box["id"])
    almost_idle_since = clock.now + 30 - settings.idle_timeout_s
    tab = await visit(f"/terminal.html?machine={box['id']}", url=base_url, has_clock=True)
    await tab.until_prompt()
    notice = tab.find("#notice-text")
    activity.last_activity_at = almost_idle_since
    await tab.page.clock.fast_forward(LOOK_MS)
    await expect(notice).to_have_text(re.compile("This machine is not in use, so it stops in < 1 min; .* Press a key"))
    await tab.press("Space")
    await eventually(lambda: activity.last_activity_at == clock.now)
    await tab.page.clock.fast_forward(LOOK_MS)
    await expect(notice).to_be_hidden()
    await tab.until_status("Connected")
    activity.last_activity_at = almost_idle_since
    await tab.page.clock.fast_forward(LOOK_MS)
    await expect(notice).to_contain_text("This machine is not in use")
    await tab.find("#notice-action").click()  # all right
    await expect(notice).to_be_hidden()
    clock.now += settings.idle_timeout_s + 1  # the last key is published in whole seconds
    await aether.housekeeping.sweep()
    await tab.until_status("Stopped")
    await expect(notice).to_have_text("Machine stopped after 10 minutes without activity. Press Enter to start it.")


@pytest.mark.gen_test
async def test_a_stop_that_the_provider_refuses_is_told(visit, fly):
    """The machine runs on, and bills: its user must know, and can try again."""
    program = await fly("--fault", "lose-503:stop:99")
    program.may_log = "Fly"
    box = await program.new_machine()
    tab = await visit(f"/terminal.html?machine={box['id']}", url=program.url)
    await tab.until_prompt()
    await tab.find("#power").click()
    await expect(tab.find("#notice-text")).to_contain_text("Fly")
    await expect(tab.find("#power")).to_have_text("Stop")
    await expect(tab.find("#power")).to_be_enabled()
    await tab.until_status("Connected")
    await expect(tab.find("#power")).to_be_focused()  # as before: a button that is disabled loses it
    await tab.find("#notice-action").click()
    await tab.type("printf st; echo ill\n")
    await tab.until_screen("still")


@pytest.mark.gen_test
async def test_a_line_that_is_slow_to_open_is_called_connecting(visit, box, proxy):
    """With the seconds, once they are worth a word."""
    tab = await visit("about:blank", url="")
    await tab.page.route_web_socket("**/terminal?*", lambda socket: None)  # accepted, and never answered
    await tab.page.goto(f"{box['url']}/terminal.html?machine={box['id']}")
    await tab.until_status("Connecting")
    await expect(tab.find("#status-detail")).to_have_text(re.compile(r"\d+ s"))


@pytest.mark.gen_test
async def test_without_xterm_the_page_says_what_is_missing(visit, box):
    """And what to do about it, instead of an empty screen."""
    tab = await visit("about:blank", url="")
    tab.forgive("ERR_FAILED", "Content Security Policy", "violates the following")
    await tab.page.route("**/xterm.js", lambda route: route.abort())
    await tab.page.goto(f"{box['url']}/terminal.html?machine={box['id']}")
    await tab.until_status("Unavailable")
    await expect(tab.find("#notice-text")).to_contain_text("xterm.js, which draws the terminal, could not be loaded")
    await tab.page.unroute("**/xterm.js")
    await tab.find("#notice-action").click()  # Reload
    await tab.until_status("Connected")


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("path", "module"), [("/", "main.js"), ("/", "notice.js"), ("/terminal.html?machine=none", "terminal.js")]
)
async def test_a_page_that_misses_a_module_says_so(visit, box, path, module):
    """By its script, or without one after five seconds; a page that has them all takes the text away at once."""
    tab = await visit("about:blank", url="")
    tab.forgive("ERR_FAILED", "404", "4404", "Failed to fetch dynamically imported module")
    await tab.page.goto(f"{box['url']}{path}")
    await expect(tab.find("#loading")).to_have_count(0)
    await tab.page.route(f"**/page/*/{module}", lambda route: route.abort())
    await tab.page.reload()
    if module == "main.js":
        await tab.look("() => document.getAnimations().forEach((animation) => animation.finish())")
    await expect(tab.find("#loading")).to_be_visible()


@pytest.mark.gen_test
async def test_after_exit_enter_opens_a_new_shell(enter):
    """An exit is no lost connection: the page waits to be asked."""
    tab = await enter()
    await tab.run("OLD=shell")
    await tab.type("exit\n")
    await tab.until_status("Shell exited")
    await tab.rest()
    await tab.press("Enter")
    await tab.until_prompt(3)
    assert await tab.run('echo "[$OLD]"') == "[]"
    assert "Connection lost" not in await tab.screen()


@pytest.mark.gen_test
async def test_changes_are_announced_and_seconds_are_not(enter, own, server):
    """The word is a live region, the countdown and the round trip are outside of it."""
    tab = await enter(machine=own)
    await expect(tab.find("#status [aria-live=polite]")).to_have_text("Connected")
    await expect(tab.find("[aria-live] #status-detail")).to_have_count(0)
    await server.call("POST", f"/machines/{own['id']}/stop")
    await expect(tab.find("#status [aria-live=polite]")).to_have_text("Stopped")
    await expect(tab.page.get_by_role("status").filter(has_text="Press Enter")).to_be_visible()


@pytest.mark.gen_test
async def test_screen_readers_get_the_screen_as_text(enter):
    """A setting, remembered."""
    tab = await enter()
    await tab.find("#open-settings").click()
    await tab.find("#set-reader").check()
    await tab.press("Escape")
    await tab.run("echo readable")
    await expect(tab.find(".xterm-accessibility-tree > div").filter(has_text="readable").first).to_be_attached()
    await tab.page.reload()
    await tab.until_prompt()
    await expect(tab.find(".xterm-accessibility")).to_be_attached()


@pytest.mark.gen_test
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_text_is_readable_on_its_ground(enter, own, scheme):
    """WCAG AA, 4.5 to 1: terminal, notice, settings and start page, in both schemes."""
    tab = await enter(machine=own, color_scheme=scheme)
    assert await tab.look(POOR_COLOURS) == []
    assert await tab.look(POOR_TEXT) == []
    await tab.find("#open-settings").click()
    assert await tab.look(POOR_TEXT) == []
    await tab.press("Escape")
    await tab.find("#power").click()
    await tab.until_status("Stopped")
    assert await tab.look(POOR_TEXT) == []
    await tab.find(".back").click()
    await expect(tab.find("#list")).to_be_visible()
    assert await tab.look(POOR_TEXT) == []


@pytest.mark.gen_test
async def test_the_page_follows_the_scheme_while_it_is_open(enter):
    """Night falls on terminals, too."""
    tab = await enter(color_scheme="light")
    light = await tab.look("() => aether.term.options.theme.background")
    await tab.page.emulate_media(color_scheme="dark")
    await tab.until("light => aether.term.options.theme.background !== light", light)
    dark = await tab.look("() => aether.term.options.theme.background")
    await expect(tab.find("#terminal-view")).to_have_css("background-color", f"rgb{tuple(bytes.fromhex(dark[1:]))}")


@pytest.mark.gen_test
async def test_everything_works_from_the_keyboard(visit, server):
    """From the start page into a new machine, out of the terminal to the buttons, and back."""
    tab = await visit("/terminal.html")
    await tab.find("#list-title").wait_for()
    await tab.press("Tab")
    await expect(tab.find("#new-name")).to_be_focused()
    await tab.type("by-hand")
    await tab.press("Enter")
    await tab.page.wait_for_url("**/terminal.html?machine=*")
    assert await tab.run("echo typed") == "typed"
    await tab.press("Control+Shift+Enter")
    await expect(tab.find("#open-settings")).to_be_focused()
    await tab.press("Tab", "Enter")  # the Stop button
    await tab.until_status("Stopped")
    await tab.press("Tab", "Enter")  # the notice's: Start machine
    await tab.until_prompt(3)
    await expect(tab.find(".xterm-helper-textarea")).to_be_focused()
    await tab.press("Control+Shift+Enter", "Enter")
    await expect(tab.find("#settings")).to_be_visible()
    await tab.press("Escape")
    await expect(tab.find(".xterm-helper-textarea")).to_be_focused()
