"""A connection that is lost: noticed however it goes, tried again with care, and never taken for the one before."""

import json
import re

import pytest
from playwright.async_api import expect

LINE = "Connection lost. Reconnected — new session."
WAKE_UPS = [
    "window.dispatchEvent(new Event('online'))",
    "document.dispatchEvent(new Event('visibilitychange'))",
    "window.dispatchEvent(new Event('pageshow'))",
]
DELAYS = """([code, luck]) => {
  Math.random = () => luck;
  performance.now = () => 1;
  detach();
  return Array.from({ length: 8 }, (_, attempts) => {
    clearTimeout(state.timers.retry);
    state.attempts = attempts;
    retryLater(code);
    return Math.round(state.retryAt - 1);
  });
}"""
NOTE_DETAILS = """() => {
  window.details = "";
  new MutationObserver(() => {
    window.details += document.getElementById("status-detail").textContent + " ";
  }).observe(document.getElementById("status-detail"), { childList: true, characterData: true, subtree: true });
}"""
STILL = "() => { const at = performance.now(); performance.now = () => at; }"  # typing has no pauses
FULL = [500, 1000, 2000, 4000, 8000, 15000, 15000, 15000]


async def refuse_all(tab, proxy):
    """Cut the line and let no other come, until `proxy.is_closed` is False again."""
    tab.forgive()
    proxy.is_closed = True
    proxy.cut()
    await tab.until_status("Reconnecting")


@pytest.mark.gen_test
async def test_a_cut_connection_comes_back_by_itself_and_says_that_its_shell_is_new(enter, proxy):
    """What was on the screen stays, what was in the old shell does not; the line is dimmed."""
    tab = await enter(url=proxy.url)
    await tab.run("OLD=shell")
    tab.forgive()
    proxy.cut()
    screen = await tab.until_prompt(3)
    assert "OLD=shell" in screen
    assert screen.count(f"\n{LINE}\n") == 1
    row = screen.splitlines().index(LINE)
    assert await tab.look("row => aether.term.buffer.active.getLine(row).getCell(0).getFgColor()", row) == 8
    await tab.rest()
    assert await tab.run('echo "[$OLD]"') == "[]"


@pytest.mark.gen_test
async def test_what_is_typed_in_between_reaches_no_shell(enter, proxy):
    """Nor does the second half of a command whose first half was lost."""
    tab = await enter(url=proxy.url)
    await refuse_all(tab, proxy)
    sent = len(tab.sent)
    await tab.type("touch leaked\n")
    await tab.look("() => pasteText('touch leaked')")
    proxy.is_closed = False
    await tab.until_prompt(2)
    assert not [message for message in tab.sent[sent:] if message["type"] == "input"]
    await tab.rest()
    assert await tab.run("ls leaked 2>&1 | grep -c 'No such'") == "1"


@pytest.mark.gen_test
async def test_keys_that_began_before_the_new_shell_do_not_go_on_in_it(enter, proxy):
    """After "echo " is lost, "rm -rf x" is another command: a burst of keys belongs to the shell it began in."""
    tab = await enter(url=proxy.url)
    await refuse_all(tab, proxy)
    sent = len(tab.sent)
    proxy.is_closed = False
    await tab.look(STILL)
    await tab.look("""async () => {
      document.getElementById("reconnect").click();
      const shown = () => state.status === "connected";
      let after = 0;
      while (after < 20) {  // keys, with no pause, from before the new shell until well after it came
        keysTyped("x");
        if (shown()) after += 1;
        await new Promise(requestAnimationFrame);
      }
    }""")
    assert not [message for message in tab.sent[sent:] if message["type"] == "input"]
    await tab.look("() => { delete performance.now; }")
    await tab.rest()
    assert await tab.run("echo still here") == "still here"


@pytest.mark.gen_test
async def test_a_program_s_screen_is_left_when_its_shell_is_lost(enter, proxy):
    """Alternate screen, mouse reports and cursor keys were the lost program's; the scrollback is the user's."""
    tab = await enter(url=proxy.url)
    await tab.run("echo before")
    await tab.start(r"printf '\e[?1049h\e[?1h\e[?1003h\e[?25lfull scr'; printf een; read", "full screen")
    tab.forgive()
    proxy.cut()
    assert "before" in await tab.until_screen(LINE)
    modes = await tab.look("() => [aether.term.modes.mouseTrackingMode, aether.term.modes.applicationCursorKeysMode]")
    assert modes == ["none", False]


@pytest.mark.gen_test
async def test_the_page_says_when_it_tries_again_and_has_a_button_for_now(enter, proxy):
    """A countdown, and no need to sit it out."""
    tab = await enter(url=proxy.url)
    await tab.look("() => { Math.random = () => 1; state.attempts = 8; }")
    await tab.look(NOTE_DETAILS)
    await refuse_all(tab, proxy)
    await tab.until("() => /in 1[0-5] s.*in \\d+ s/.test(window.details)")
    proxy.is_closed = False
    await tab.find("#reconnect").click()
    await tab.until_status("Connected")
    await expect(tab.find(".xterm-helper-textarea")).to_be_focused()


@pytest.mark.gen_test
@pytest.mark.parametrize("wake_up", WAKE_UPS)
async def test_whoever_comes_back_does_not_wait(enter, proxy, wake_up):
    """The network, the tab or the page is there again: that is the time to try."""
    tab = await enter(url=proxy.url)
    await tab.look("() => { Math.random = () => 1; state.attempts = 8; }")
    await refuse_all(tab, proxy)
    proxy.is_closed = False
    woken_at = await tab.look(f"() => {{ {wake_up}; return performance.now(); }}")
    await tab.until_status("Connected")
    assert await tab.look("at => state.since - at < 10000", woken_at)  # of 15 s


@pytest.mark.gen_test
async def test_signs_of_a_wake_up_that_come_together_make_one_connection(enter, proxy):
    """A laptop's lid gives all three; none throws away what another has begun."""
    tab = await enter(url=proxy.url)
    await tab.look("() => { Math.random = () => 1; state.attempts = 8; }")
    await refuse_all(tab, proxy)
    proxy.is_closed = False
    before = tab.sockets
    await tab.look(f"() => {{ {'; '.join(WAKE_UPS)} }}")
    await tab.until_status("Connected")
    assert tab.sockets == before + 1


@pytest.mark.gen_test
async def test_the_delays_double_with_full_jitter_and_servers_that_restart_are_spread_out(enter):
    """0.5 s to 15 s, any part of it; after a restart or at a limit up to 5 s from the first time on."""
    tab = await enter()
    tab.forgive()
    assert await tab.look(DELAYS, [1006, 1]) == FULL
    assert await tab.look(DELAYS, [1006, 0.5]) == [delay // 2 for delay in FULL]
    assert await tab.look(DELAYS, [1006, 0]) == [0] * len(FULL)
    for code in (1012, 4429):
        assert await tab.look(DELAYS, [code, 1]) == [max(delay, 5000) for delay in FULL]


@pytest.mark.gen_test
async def test_only_a_connection_that_holds_makes_the_delays_short_again(visit, box):
    """Ten seconds: a server that accepts and falls over is not hammered."""
    tab = await visit("about:blank", url="")
    await tab.page.clock.install()
    await tab.page.goto(f"{box['url']}/terminal.html?machine={box['id']}")
    await tab.until_prompt()
    await tab.look("() => { state.attempts = 5; }")
    await tab.page.clock.run_for(5_000)  # real time passes, too
    assert await tab.look("() => state.attempts") == 5
    await tab.page.clock.run_for(6_000)
    assert await tab.look("() => state.attempts") == 0


@pytest.mark.gen_test
async def test_a_line_that_went_silent_is_noticed(enter, proxy):
    """No close, no error, nothing: the server's silence on our questions is the sign. The new line works."""
    tab = await enter(url=proxy.url)
    await tab.look("""() => {
      const old = state.socket;  // the new one has all the time it needs
      Object.defineProperty(WATCH_MS, "every", { get: () => (state.socket === old ? 300 : 5000) });
      watchConnection();
    }""")
    proxy.freeze()
    await tab.until_screen(LINE)
    await tab.rest()
    assert await tab.run("echo again") == "again"


@pytest.mark.gen_test
async def test_a_line_from_before_a_wake_up_is_not_trusted(enter, proxy):
    """A laptop that slept asks at once, once; and a line that answers is kept."""
    tab = await enter(url=proxy.url)
    await tab.look("() => { window.kept = state.socket; }")
    pings = await tab.look("() => state.pings")
    await tab.look(f"() => {WAKE_UPS[0]}")
    await tab.until("pings => state.pings > pings && state.silences === 0", pings)
    assert await tab.look("() => state.socket === window.kept")
    proxy.freeze()
    await tab.look(f"() => {{ WATCH_MS.hurry = 300; {WAKE_UPS[0]}; }}")
    await tab.until_screen(LINE)


@pytest.mark.gen_test
async def test_a_page_that_stood_still_asks_once_more(enter, proxy):
    """Its answer may lie there unread: a busy browser is no dead line."""
    tab = await enter(url=proxy.url)
    await tab.look("() => { WATCH_MS.every = 300; window.kept = state.socket; }")
    await tab.look("""() => {
      state.silences = SILENCES;
      watchConnection(100);
      const began = performance.now();
      while (performance.now() - began < 100 + 2 * OVERSLEPT_MS);
    }""")
    await tab.until("() => state.silences === 0")
    assert await tab.look("() => state.socket === window.kept")


@pytest.mark.gen_test
async def test_a_silence_is_said_before_it_is_the_end(enter, proxy):
    """No round trip is shown as if it were true, while nobody answers."""
    tab = await enter(url=proxy.url)
    await expect(tab.find("#status-detail")).to_contain_text("ms")
    proxy.freeze()
    await tab.look("() => askWhetherHeard()")
    await expect(tab.find("#status-detail")).to_have_text(re.compile(r"no answer for \d+ s"))
    await expect(tab.find("#status-word")).to_have_text("Connected")
    proxy.thaw()
    await expect(tab.find("#status-detail")).to_contain_text(" ms")


@pytest.mark.gen_test
async def test_a_machine_that_is_gone_is_not_asked_for_again(visit, server):
    """4404: whatever happens, one WebSocket was enough."""
    box = await server.new_machine(name="short-lived")
    tab = await visit(f"/terminal.html?machine={box['id']}")
    await tab.until_status("Connected")
    assert (await server.call("DELETE", f"/machines/{box['id']}")).code == 204
    await tab.until_status("Gone")
    for wake_up in WAKE_UPS:
        await tab.look(f"() => {wake_up}")
    assert await tab.look("() => [state.retryAt, state.socket]") == [0, None]
    assert tab.sockets == 1
    await tab.find("#notice-action").click()
    await expect(tab.find("#list-title")).to_be_visible()


@pytest.mark.gen_test
async def test_a_machine_that_never_was_is_gone(visit):
    """A link from last week ends in words, not in a loop."""
    tab = await visit("/terminal.html?machine=00000000-0000-4000-8000-000000000000")
    tab.forgive("404", "closed before the connection is established")  # whichever of REST and WebSocket says so first
    await tab.until_status("Gone")
    await expect(tab.find("#notice-text")).to_contain_text("no machine")


@pytest.mark.gen_test
async def test_a_server_restart_is_called_one_and_ends_in_a_new_shell(visit, fly):
    """The page finds its machine again behind the new process, and says that the shell is new."""
    program = await fly()
    box = json.loads((await program.call("POST", "/machines", {})).body)
    tab = await visit(f"/terminal.html?machine={box['id']}", url=program.url)
    await tab.run("OLD=shell")
    tab.forgive()
    await tab.look("() => { Math.random = () => 0.1; }")  # the delays grow while the server is away
    await program.stop()
    await tab.until_status("Server restarting")
    await program.start(int(program.url.rpartition(":")[2]))
    await tab.until_screen(LINE)
    await tab.until_status("Connected")
    await tab.rest()
    assert await tab.run('echo "[$OLD]"') == "[]"
