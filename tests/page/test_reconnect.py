"""A connection that is lost: noticed however it goes, tried again with care, and never taken for the one before."""

import re

import pytest
from playwright.async_api import expect

EVERY_MS, HURRY_MS = 5_000, 8_000  # see watchdog.js
WAKE_UPS = [
    "window.dispatchEvent(new Event('online'))",
    "document.dispatchEvent(new Event('visibilitychange'))",
    "window.dispatchEvent(new Event('pageshow'))",
]
UNLUCKY = "() => { Math.random = () => 24; }"  # the first delay, of up to half a second, takes 12 s
NOTE_DETAILS = """() => {
  window.details = "";
  new MutationObserver(() => {
    window.details += document.getElementById("status-detail").textContent + " ";
  }).observe(document.getElementById("status-detail"), { childList: true, characterData: true, subtree: true });
}"""


@pytest.mark.gen_test
async def test_a_cut_connection_comes_back_by_itself_to_the_same_shell(enter, proxy):
    """The page says so quietly, and nothing in the terminal."""
    tab = await enter(url=proxy.url)
    before = await tab.run("OLD=shell") or await tab.screen()
    tab.forgive()
    proxy.cut()
    await tab.until_resumed()
    assert await tab.screen() == before
    assert await tab.run('echo "[$OLD]"') == "[shell]"


@pytest.mark.gen_test
async def test_the_page_says_when_it_tries_again_and_has_a_button_for_now(enter, proxy):
    """A countdown, and no need to sit it out."""
    tab = await enter(url=proxy.url)
    await tab.look(UNLUCKY)
    await tab.look(NOTE_DETAILS)
    await tab.lose(proxy)
    await tab.until("() => /in 1[0-2] s.*in \\d+ s/.test(window.details)")
    proxy.is_closed = False
    await tab.find("#reconnect").click()
    await tab.until_status("Connected")
    await expect(tab.find(".xterm-helper-textarea")).to_be_focused()


@pytest.mark.gen_test
@pytest.mark.parametrize("wake_up", WAKE_UPS)
async def test_one_who_comes_back_does_not_wait(enter, proxy, wake_up):
    """The network, the tab or the page is there again: that is the time to try."""
    tab = await enter(url=proxy.url)
    await tab.look(UNLUCKY)
    await tab.lose(proxy)
    proxy.is_closed = False
    woken_at = await tab.look(f"() => {{ {wake_up}; return performance.now(); }}")
    await tab.until_status("Connected")
    assert await tab.look("at => performance.now() - at < 10000", woken_at)  # of 12 s


@pytest.mark.gen_test
async def test_signs_of_a_wake_up_that_come_together_make_one_connection(enter, proxy):
    """A laptop's lid gives all three; none throws away what another has begun."""
    tab = await enter(url=proxy.url)
    await tab.look(UNLUCKY)
    await tab.lose(proxy)
    proxy.is_closed = False
    before = tab.sockets
    await tab.look(f"() => {{ {'; '.join(WAKE_UPS)} }}")
    await tab.until_status("Connected")
    assert tab.sockets == before + 1


def pings(tab):
    """Return how many times the page has asked whether the server is there."""
    return len([message for message in tab.sent if message["type"] == "ping"])


@pytest.mark.gen_test
async def test_a_line_that_went_silent_is_noticed(enter, proxy):
    """No close, no error, nothing: the server's silence on our pings is the sign. The new line works."""
    tab = await enter(url=proxy.url, has_clock=True)
    proxy.freeze()
    for _ in range(3):
        await tab.page.clock.run_for(EVERY_MS)
    await tab.until_resumed()
    assert await tab.run("echo again") == "again"


@pytest.mark.gen_test
async def test_a_line_from_before_a_wake_up_is_not_trusted(enter, proxy):
    """A laptop that slept asks at once, once; and a line that answers is kept."""
    tab = await enter(url=proxy.url, has_clock=True)
    await tab.until("() => aether.facts.roundTripMs !== null")
    before = pings(tab)
    await tab.wake_up()
    await tab.until("() => !aether.facts.isSilent")
    assert pings(tab) > before
    assert tab.sockets == 1
    proxy.freeze()
    await tab.wake_up()
    await tab.page.clock.run_for(HURRY_MS)
    await tab.until_resumed()
    assert tab.sockets == 2


@pytest.mark.gen_test
async def test_a_page_that_stood_still_asks_once_more(enter, proxy):
    """Its answer may wait there unread: a busy browser is no dead line."""
    tab = await enter(url=proxy.url, has_clock=True)
    await tab.until("() => aether.facts.roundTripMs !== null")
    before = pings(tab)
    proxy.freeze()
    await tab.wake_up()
    await tab.page.clock.fast_forward(HURRY_MS + 3_000)  # its timers were asleep
    proxy.thaw()
    await tab.until("() => !aether.facts.isSilent")
    assert pings(tab) >= before + 2
    assert tab.sockets == 1


@pytest.mark.gen_test
async def test_a_silence_is_said_before_it_is_the_end(enter, proxy):
    """No round trip is shown as if it were true, while the server does not answer."""
    tab = await enter(url=proxy.url, has_clock=True)
    await expect(tab.find("#status-detail")).to_contain_text("ms")
    proxy.freeze()
    await tab.page.clock.fast_forward(EVERY_MS)
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
    assert await tab.look("() => [aether.facts.retryInMs, aether.facts.isOpen]") == [None, False]
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
