"""Where a shell ends with its connection: what was in it is not taken for what comes next."""

import json

import pytest
from playwright.async_api import expect

from tests.page.conftest import LEAVES

PLAIN = {"AETHER_SESSIONS": "plain"}
LINE = "Connection lost. Reconnected — new session."
STILL = "() => { const at = performance.now(); performance.now = () => at; }"  # typing has no pauses


@pytest.fixture(scope="module")
def server(io_loop, make_server):
    """A server that keeps no shells."""
    program = make_server(**PLAIN)
    io_loop.run_sync(program.start)
    yield program
    io_loop.run_sync(program.stop)


@pytest.fixture(scope="module")
def box(io_loop, server):
    """A machine of it: its JSON."""
    return {**io_loop.run_sync(lambda: server.new_machine(name="plain")), "url": server.url}


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
    await tab.lose(proxy)
    before = list(tab.sent)
    await tab.type("touch leaked\n")
    await tab.paste("touch leaked")
    proxy.is_closed = False
    await tab.until_prompt(2)
    assert "input" not in {message["type"] for message in tab.sent[len(before) :]}
    await tab.rest()
    assert await tab.run("ls leaked 2>&1 | grep -c 'No such'") == "1"


@pytest.mark.gen_test
async def test_keys_that_began_before_the_new_shell_do_not_go_on_in_it(enter, proxy):
    """After "echo " is lost, "rm -rf x" is another command: a burst of keys belongs to the shell it began in."""
    tab = await enter(url=proxy.url)
    await tab.lose(proxy)
    await tab.look(STILL)
    sent = len(tab.sent)
    proxy.is_closed = False
    await tab.look("""async () => {
      document.getElementById("reconnect").click();
      const shown = () => aether.facts.status === "connected";
      let after = 0;
      while (after < 20) {  // keys, with no pause, from before the new shell until well after it came
        aether.term.input("x");
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
async def test_a_server_restart_is_called_one_and_ends_in_a_new_shell(visit, fly):
    """The page finds its machine again behind the new process, and says that the shell is new."""
    program = await fly(**PLAIN)
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


@pytest.mark.gen_test
async def test_closing_the_tab_of_a_shell_in_use_is_asked_about(enter):
    """Ctrl-W is "erase a word" in a shell. A shell that was not used, or a click on "Machines", is let go."""
    tab = await enter()
    assert await tab.look(LEAVES)
    await tab.run("echo used")
    assert not await tab.look(LEAVES)
    await tab.find(".back").click()
    await expect(tab.find("#list-title")).to_be_visible()


@pytest.mark.gen_test
async def test_the_start_page_lists_no_sessions(enter, visit):
    """There are none."""
    await enter()
    tab = await visit("/")
    await expect(tab.find("#list tbody tr").filter(has_text="plain")).to_contain_text("running")
    await expect(tab.find(".sessions li")).to_have_count(0)
