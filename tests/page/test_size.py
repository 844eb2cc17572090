"""The terminal's size: what is drawn is what the shell is told, whatever the window does."""

import pytest

FIT = "() => document.getElementById('set-option').click()"  # each change of a setting fits the terminal at once
DEBOUNCE_MS = 100  # see terminal.js
UNWRAPPED = """() => {
  const buffer = aether.term.buffer.active;
  let text = "";
  for (let row = 0; row < buffer.length; row++) {
    const line = buffer.getLine(row);
    text += (line.isWrapped || !row ? "" : "\\n") + line.translateToString(!buffer.getLine(row + 1)?.isWrapped);
  }
  return text;
}"""


def sizes(tab):
    """Return the sizes that the page has sent."""
    return [(message["cols"], message["rows"]) for message in tab.sent if message["type"] == "resize"]


@pytest.mark.gen_test
async def test_a_typed_command_shows_its_result(enter):
    """The page of a machine becomes its terminal."""
    tab = await enter()
    assert await tab.run('echo "$((6*7)) $TERM"') == "42 xterm-256color"


@pytest.mark.gen_test
async def test_the_shell_has_the_size_of_the_window_from_its_start_and_after_each_change(enter):
    """`stty size` is what the terminal draws."""
    tab = await enter(viewport={"width": 800, "height": 500})
    drawn = await tab.size()
    assert await tab.run("stty size") == drawn
    for width, height in [(1200, 700), (500, 300), (1201, 399)]:
        before = drawn
        await tab.page.set_viewport_size({"width": width, "height": height})
        await tab.until("size => `${aether.term.rows} ${aether.term.cols}` !== size", before)
        drawn = await tab.size()
        assert await tab.run("stty size") == drawn
    box = await tab.find("#terminal").bounding_box()
    screen = await tab.find(".xterm-screen").bounding_box()
    assert screen["width"] <= box["width"]
    assert screen["height"] <= box["height"]
    assert box["height"] - screen["height"] < 25  # less than a row is left over


@pytest.mark.gen_test
async def test_a_long_line_survives_a_narrow_window(enter):
    """It is wrapped anew, and stands there once."""
    tab = await enter(viewport={"width": 1200, "height": 700})
    await tab.run("for n in {100..180}; do printf '%s ' $n; done; echo")
    line = "".join(f"{number} " for number in range(100, 181)).strip()
    for width in (400, 1200, 700, 1200):
        before = await tab.size()
        await tab.page.set_viewport_size({"width": width, "height": 700})
        await tab.until("size => `${aether.term.rows} ${aether.term.cols}` !== size", before)
        assert await tab.run("stty size") == await tab.size()
        assert (await tab.look(UNWRAPPED)).count(line) == 1


@pytest.mark.gen_test
@pytest.mark.parametrize("style", ["display: none", "height: 0; flex: none", "width: 0; flex: none"])
async def test_a_terminal_without_a_size_sends_none(enter, style):
    """A hidden box measures as 2×1; the shell keeps its size."""
    tab = await enter()
    drawn, before = await tab.size(), len(sizes(tab))
    await tab.look("style => { document.getElementById('terminal').style = style; }", style)
    await tab.look(FIT)
    await tab.page.set_viewport_size({"width": 700, "height": 400})
    await tab.look(FIT)
    await tab.until("ms => new Promise(done => setTimeout(() => done(true), ms))", DEBOUNCE_MS + 50)
    assert (len(sizes(tab)), await tab.size()) == (before, drawn)
    await tab.look("() => { document.getElementById('terminal').style = ''; aether.term.focus(); }")
    await tab.until("size => `${aether.term.rows} ${aether.term.cols}` !== size", drawn)
    assert await tab.run("stty size") == await tab.size()


@pytest.mark.gen_test
async def test_a_hidden_tab_sends_no_size(enter):
    """Browsers lay hidden tabs out as they like."""
    tab = await enter()
    drawn, before = await tab.size(), len(sizes(tab))
    await tab.look("() => Object.defineProperty(document, 'hidden', { value: true, configurable: true })")
    await tab.page.set_viewport_size({"width": 60, "height": 60})
    await tab.look(FIT)
    assert (len(sizes(tab)), await tab.size()) == (before, drawn)
    await tab.page.set_viewport_size({"width": 900, "height": 500})
    await tab.look("() => { delete document.hidden; document.dispatchEvent(new Event('visibilitychange')); }")
    await tab.until("size => `${aether.term.rows} ${aether.term.cols}` !== size", drawn)
    assert await tab.run("stty size") == await tab.size()
    assert all(cols > 20 for cols, _ in sizes(tab))
