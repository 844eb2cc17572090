"""Shells that outlive their connection: the page goes on with the same one, and nothing is lost or doubled."""

import re

import pytest
from playwright.async_api import expect

from tests.page.conftest import LEAVES, PROMPT

LINE = "Connection lost. Reconnected — new session."
WAKE_UPS = "for (const name of ['online', 'pageshow', 'focus']) window.dispatchEvent(new Event(name))"
CELLS = """() => {
  const buffer = aether.term.buffer.active, cells = [buffer.type, buffer.cursorX, buffer.cursorY];
  for (let row = 0; row < aether.term.rows; row++) {
    const line = buffer.getLine(buffer.viewportY + row);
    for (let column = 0; column < aether.term.cols; column++) {
      const cell = line.getCell(column);
      const colours = [cell.getFgColor(), cell.getBgColor()];
      cells.push([cell.getChars() || " ", ...colours, cell.isBold(), cell.isInverse()].join());
    }
  }
  return cells;
}"""
LOST_MODES = "printf '\\e[?1003h\\e[?1004h\\e[?1049hfull'; kill -9 \\$\\$"  # a program that cannot clean up
QUERIES = r"\e[c\e[>c\e[?6n\e[?1$p\eP$qm\e\\\e]11;?\e\\\e]4;1;?\e\\\e[5n"  # the last is answered with an n

pytestmark = pytest.mark.usefixtures("as_it_was")


def address(tab):
    """Return the path and query of a tab's page."""
    return re.sub("^https?://[^/]*", "", tab.page.url)


def inputs(tab):
    """Return how many messages with input the page has sent."""
    return len([message for message in tab.sent if message["type"] == "input"])


@pytest.mark.gen_test
async def test_a_reload_keeps_the_shell_and_its_screen(enter):
    """By the session in the page's address."""
    tab = await enter()
    await tab.run("OLD=shell; printf '\\e[1;31mred\\e[0m żółw 🐢\\n'")
    before = await tab.look(CELLS)
    await tab.page.reload()
    await tab.until_prompt(2)
    assert await tab.look(CELLS) == before
    assert await tab.run('echo "[$OLD]"') == "[shell]"


@pytest.mark.gen_test
async def test_another_tab_takes_over_and_the_first_can_take_back(enter, visit):
    """By a click or by Enter, and never by itself: two tabs would fight for ever."""
    tab = await enter()
    await tab.run("OLD=shell")
    other = await visit(address(tab))
    await tab.until_status("Open elsewhere")
    await other.until_status("Connected")
    assert await other.run('echo "[$OLD]"') == "[shell]"
    await tab.look(f"() => {{ {WAKE_UPS} }}")
    assert await tab.look("() => aether.facts.retryInMs") is None
    assert tab.sockets == 1
    await expect(tab.find("#notice-text")).to_have_text("This terminal was opened in another tab or device.")
    await tab.find("#notice-action").click()
    await other.until_status("Open elsewhere")
    await tab.until_screen("[shell]")
    await other.rest()
    await other.press("Enter")
    await tab.until_status("Open elsewhere")
    assert await other.run("echo again") == "again"


@pytest.mark.gen_test
async def test_what_is_typed_while_the_line_is_down_waits_and_is_delivered_once(enter, proxy):
    """And the page says how much waits."""
    tab = await enter(url=proxy.url)
    assert await tab.look(LEAVES)
    await tab.until("() => aether.facts.untaken === 0")
    await tab.lose(proxy)
    await tab.type("echo on-ce | tr -d -")
    await expect(tab.find("#status-detail")).to_contain_text("20 characters wait")
    assert not await tab.look(LEAVES)
    await tab.press("Enter")
    proxy.is_closed = False
    await tab.until_prompt(2)
    assert (await tab.screen()).count("\nonce\n") == 1
    assert await tab.look(LEAVES)


@pytest.mark.gen_test
async def test_what_a_shell_that_has_ended_did_not_get_is_shown(enter, proxy, server, box):
    """And sent to no other; what was typed is harmless text on the page."""
    tab = await enter(url=proxy.url)
    await tab.until("() => aether.facts.untaken === 0")
    await tab.lose(proxy)
    await tab.type("touch leaked\n")
    session = await tab.look("() => aether.facts.session")
    assert (await server.call("DELETE", f"/machines/{box['id']}/sessions/{session}")).code == 204
    proxy.is_closed = False
    await tab.until_status("Shell exited")
    shown = tab.find("#undelivered")
    await expect(shown).to_contain_text("Typed, but not delivered to any shell: “touch leaked⏎”")
    await tab.rest()
    await tab.press("Enter")
    await tab.until_status("Connected")
    assert await tab.look("() => aether.facts.session") != session
    await tab.until_prompt(2)
    assert await tab.run("ls leaked 2>&1 | grep -c 'No such'") == "1"
    await shown.get_by_role("button").click()
    await expect(shown).to_be_hidden()


@pytest.mark.gen_test
@pytest.mark.parametrize("is_killed", [False, True])
async def test_a_server_restart_is_got_over_with_the_same_shell(visit, fly, is_killed):
    """What the program writes meanwhile arrives, once, and the page says "resumed", not "new session"."""
    program = await fly()
    box = await program.new_machine()
    tab = await visit(f"/terminal.html?machine={box['id']}", url=program.url)
    await tab.run("OLD=shell")
    await tab.start("for i in $(seq 40); do echo line-$i; sleep 0.05; done; echo do''ne", "line-1\n")
    tab.forgive()
    await (program.kill if is_killed else program.stop)()
    if not is_killed:
        await tab.until_status("Server restarting")
    await program.start(int(program.url.rpartition(":")[2]))
    await tab.until_resumed()
    screen = await tab.until_screen("\ndone\n")
    assert re.findall(r"\nline-(\d+)", screen) == [str(count) for count in range(1, 41)]
    assert LINE not in screen
    assert await tab.run('echo "[$OLD]"') == "[shell]"


@pytest.mark.gen_test
async def test_vim_survives_a_cut_and_a_reload(enter, proxy, program):
    """Each cell is as it was, and it goes on where it was."""
    tab = await enter(url=proxy.url)
    await tab.start(f"{program('vim')} -nu NONE -c 'set nocp ruler' notes", "[New File]")
    await tab.type("ione\ntwo")
    await tab.until_screen("two", "INSERT", "2,4")
    before = await tab.look(CELLS)
    tab.forgive()
    proxy.cut()
    await tab.until_resumed()
    assert await tab.look(CELLS) == before
    await tab.type("\nthree")
    await tab.until_screen("three", "3,6")
    before = await tab.look(CELLS)
    await tab.page.reload()
    await tab.until_screen("three", "3,6")
    await tab.until(f"before => JSON.stringify(({CELLS})()) === JSON.stringify(before)", before)
    await tab.press("Escape")
    await tab.type(":q!\n")
    await tab.until_prompt(2)


@pytest.mark.gen_test
async def test_what_was_asked_before_a_reload_is_not_answered_again(enter):
    """No answer is typed into the shell that is there now."""
    tab = await enter()
    await tab.run(f"printf '{QUERIES}'; read -rsd n")
    before, sent = await tab.look(CELLS), inputs(tab)
    await tab.page.reload()
    await tab.until_prompt(2)
    await tab.until("() => !aether.facts.isMuted")
    assert await tab.look(CELLS) == before
    assert inputs(tab) == sent
    assert await tab.run("printf '\\e[5n'; read -rsd n; echo answered") == "answered"


@pytest.mark.gen_test
async def test_a_program_that_asked_while_the_line_was_down_gets_its_answer(enter, proxy, box):
    """Nothing else could give it."""
    tab, other = await enter(url=proxy.url), await enter()
    await tab.start("until [ -e go ]; do sleep 0.1; done; rm go; printf '\\e[5n'; read -rsd n; ech''o answ''ered", "")
    await tab.until("() => aether.facts.untaken === 0")
    await tab.lose(proxy)
    await other.run("touch go; while [ -e go ]; do sleep 0.1; done")
    proxy.is_closed = False
    await tab.until_screen("\nanswered\n")


@pytest.mark.gen_test
async def test_modes_of_a_program_that_is_gone_are_not_armed_again(enter):
    """The mouse would type into the shell."""
    tab = await enter()
    await tab.type(f'sh -c "{LOST_MODES}"\n')
    await tab.until_screen("full", "Killed", PROMPT)
    assert await tab.look("() => aether.term.modes.mouseTrackingMode") == "any"
    await tab.page.reload()
    await tab.until("() => window.aether?.term && aether.facts.isAttached && !aether.facts.isMuted")
    await tab.until("() => aether.term.buffer.active.type === 'normal'")
    modes = await tab.look("() => [aether.term.modes.mouseTrackingMode, aether.term.modes.sendFocusMode]")
    assert modes == ["none", False]
    assert await tab.look("() => aether.term.modes.bracketedPasteMode")


@pytest.mark.gen_test
async def test_a_closed_tab_leaves_its_session_which_the_start_page_opens_and_ends(enter, visit, own, program):
    """A shell at its prompt ends at once, a program after a question."""
    left = await enter(machine=own)
    await left.run("OLD=shell")
    await left.start(f"{program('vim')} -nu NONE notes", "[New File]")
    await left.page.close()
    tab = await visit("/")
    session = tab.find(".sessions li").filter(has_text=re.compile("vim.* notes, < 1 min ago"))
    await session.get_by_role("link", name="Open").click()
    await tab.until_status("Connected")
    await tab.until_screen("\n~")
    await tab.type(":q!\n")
    await tab.until_prompt()
    assert await tab.run('echo "[$OLD]"') == "[shell]"
    await tab.type("sleep 1234\n")
    await tab.find(".back").click()
    session = tab.find(".sessions li").filter(has_text="sleep 1234")
    end = session.get_by_role("button", name="End sleep 1234")
    await end.click()
    await tab.find("#ask-no").click()
    await end.click()
    await expect(tab.find("#ask-title")).to_have_text("End sleep 1234?")
    await tab.find("#ask-yes").click()
    await expect(session).to_have_count(0)


@pytest.mark.gen_test
async def test_an_end_that_is_refused_is_told(enter, visit, own):
    """As the API worded it."""
    await enter(machine=own)
    tab = await visit("/")
    tab.forgive("502")
    refusal = {"error": {"code": "provider_error", "message": "the machine does not answer"}}
    await tab.page.route("**/sessions/*", lambda route: route.fulfill(status=502, json=refusal))
    await tab.find(".sessions li").filter(has_text="open now").first.get_by_role("button").click()
    await expect(tab.page.get_by_role("alert")).to_have_text("the machine does not answer")


@pytest.mark.gen_test
async def test_phones_see_the_sessions(enter, visit, own):
    """Nothing is wider than the screen."""
    tab = await enter(machine=own)
    await tab.type(f"sh -c 'read _' {'long-' * 40}\n")
    start = await visit("/", viewport={"width": 360, "height": 700}, has_touch=True, is_mobile=True)
    await expect(start.find(".sessions li").filter(has_text="long-")).to_be_visible()
    assert await start.look("() => document.documentElement.scrollWidth <= innerWidth")
    await tab.press("Enter")
