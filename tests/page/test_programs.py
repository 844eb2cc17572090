"""Programs that take the whole screen, or draw on it as they like: what they draw is what is seen."""

import pytest
from playwright.async_api import expect

SIZE = {"viewport": {"width": 900, "height": 500}}
SMALLER = {"width": 640, "height": 380}
LINE = "row => aether.term.buffer.active.getLine(row + aether.term.buffer.active.viewportY).translateToString(true)"
CELL = """([row, column]) => {
  const cell = aether.term.buffer.active.getLine(row).getCell(column);
  const kind = cell.isFgRGB() ? "rgb" : cell.isFgPalette() ? "palette" : "default";
  return [cell.getChars(), cell.getWidth(), kind, cell.getFgColor()];
}"""
SCREEN_ROWS = """(() => {
  const buffer = aether.term.buffer.active;
  const line = (row) => buffer.getLine(buffer.viewportY + row).translateToString(true);
  return Array.from({ length: aether.term.rows }, (_, row) => line(row)).join("\\n");
})()"""
BUFFER = "type => aether.term.buffer.active.type === type"


async def shrink(tab):
    """Make the window smaller; return rows and columns."""
    before = await tab.size()
    await tab.page.set_viewport_size(SMALLER)
    await tab.until("size => `${aether.term.rows} ${aether.term.cols}` !== size", before)
    return [int(number) for number in (await tab.size()).split()]


@pytest.mark.gen_test
async def test_vim_edits_saves_and_quits(enter, program):
    """It follows a new size, and the shell's screen is there again afterwards."""
    tab = await enter(**SIZE)
    await tab.run("echo before")
    await tab.start(f"{program('vim')} -u NONE -N note.txt", '"note.txt" [New]')
    assert await tab.look(BUFFER, "alternate")
    await tab.type("ihello from vim")
    await tab.press("Escape")
    rows, _ = await shrink(tab)
    await tab.until(f"rows => ({LINE})(rows - 2).trim() === '~' && ({LINE})(0).trim() === 'hello from vim'", rows)
    await tab.type(":wq\n")
    screen = await tab.until_prompt(3)
    assert await tab.look(BUFFER, "normal")
    assert "before" in screen
    assert "~\n" not in screen
    assert await tab.run("cat note.txt; rm note.txt") == "hello from vim"


@pytest.mark.gen_test
@pytest.mark.parametrize(("name", "sign"), [("htop", "Load average"), ("top", "load average")])
async def test_process_viewers_fill_the_screen_at_every_size(enter, program, name, sign):
    """The last line of htop is its key bar, whatever the size."""
    tab = await enter(**SIZE)
    await tab.start(program(name), sign, "PID")
    rows, _ = await shrink(tab)
    await tab.until(f"rows => aether.term.rows === rows && ({SCREEN_ROWS}).includes('PID')", rows)
    if name == "htop":
        await tab.until(f"rows => ({LINE})(rows - 1).includes('F1')", rows)
    await tab.press("q")
    await tab.start("clear; echo it-is-$(stty size)", f"it-is-{await tab.size()}")


@pytest.mark.gen_test
async def test_less_pages_and_searches_with_application_cursor_keys(enter, program):
    """The arrows become what the program asked for, and the screen comes back."""
    tab = await enter(**SIZE)
    await tab.start(f"seq 1000 | {program('less')}", "1\n2\n3")
    assert await tab.look("() => aether.term.modes.applicationCursorKeysMode")
    await tab.press("ArrowDown")
    await tab.until(f"() => ({LINE})(0) === '2'")
    await tab.type("/^500\n")
    await tab.until(f"() => ({LINE})(0) === '500'")
    await tab.press("q")
    await tab.until_prompt(2)
    assert not await tab.look("() => aether.term.modes.applicationCursorKeysMode")
    assert "500" not in (await tab.screen()).splitlines()
    assert "\x1bOB" in [message.get("data") for message in tab.sent]


@pytest.mark.gen_test
async def test_tmux_splits_and_follows_the_size(enter, program):
    """Two shells side by side, the border from top to bottom, the status in the last line."""
    tab = await enter(**SIZE)
    await tab.start(f"{program('tmux')} -L page -f /dev/null new 'exec sh'", "[0] ")
    await tab.press("Control+b")
    await tab.type("%")
    await tab.until_screen("│")
    await tab.type("echo right-$((1+1))\n")
    await tab.until_screen("right-2")
    rows, columns = await shrink(tab)
    border = columns // 2
    await tab.until(
        f"""([rows, column]) => Array.from({{ length: rows - 1 }}, (_, row) => ({LINE})(row)).every(
          line => "│┤├".includes(line[column]) || "│┤├".includes(line[column - 1])
        ) && ({LINE})(rows - 1).startsWith("[0]")""",
        [rows, border],
    )
    await tab.type("tmux -L page kill-server\n")
    await tab.until_prompt(2)
    assert await tab.look(BUFFER, "normal")


@pytest.mark.gen_test
async def test_the_node_and_python_repls_answer(enter, program):
    """Line editing and history, in other hands than the shell's."""
    tab = await enter(**SIZE)
    await tab.start(program("node"), ">")
    await tab.type("6 * 7\n")
    await tab.until_screen("\n42\n>")
    await tab.press("ArrowUp")
    await tab.type(" + 1\n")
    await tab.until_screen("\n43\n>")
    await tab.press("Control+d")
    await tab.until_prompt(2)
    await tab.start("python3 -q", ">>>")
    await tab.type("'grüße'.upper()\n")
    await tab.until_screen("'GRÜSSE'")
    await tab.press("Control+d")
    await tab.until_prompt(3)


@pytest.mark.gen_test
async def test_a_progress_bar_stays_on_its_line(enter):
    r"""`\r` goes back, and what is drawn over is gone."""
    tab = await enter()
    printed = await tab.run(r"for n in 1 20 300; do printf '\r[%-5s] %3s' $n $n; done; printf '\r\e[Kdone\n'")
    assert printed == "done"


@pytest.mark.gen_test
async def test_colours_of_every_kind_are_drawn(enter):
    """16 colours are the theme's, 256 and true ones are the program's; contrast stays readable."""
    tab = await enter()
    assert await tab.run(r"printf '\e[32mgreen\e[m \e[38;5;208mx\e[m \e[38;2;1;2;3my\e[m\n'") == "green x y"
    assert (await tab.look(CELL, [1, 0]))[2:] == ["palette", 2]
    assert (await tab.look(CELL, [1, 6]))[2:] == ["palette", 208]
    assert (await tab.look(CELL, [1, 8]))[2:] == ["rgb", 0x010203]
    green = await tab.look("() => aether.term.options.theme.green")
    drawn = tab.find(".xterm-fg-2")
    await expect(drawn).to_have_text("green")
    await expect(drawn).to_have_css("color", f"rgb{tuple(bytes.fromhex(green[1:]))}")


@pytest.mark.gen_test
async def test_wide_and_combining_characters_take_the_cells_that_programs_count(enter):
    """CJK and emoji take two cells, a combining accent none: what follows stands where the shell thinks it does."""
    tab = await enter()
    await tab.run("printf '日本🐢e\\u0301|\\n'")
    cells = [await tab.look(CELL, [1, column]) for column in range(8)]
    assert [cell[0] for cell in cells] == ["日", "", "本", "", "🐢", "", "e\u0301", "|"]
    assert [cell[1] for cell in cells] == [2, 0, 2, 0, 2, 0, 1, 1]
    asked = await tab.run(r"printf '🚀🚀\e[6n'; IFS= read -rs -d R place; echo; echo ${place##*;}")
    assert asked == "🚀🚀\n5"


@pytest.mark.gen_test
async def test_programs_hear_the_mouse(enter):
    """A click is reported with its cell, in the encoding asked for."""
    tab = await enter()
    await tab.start(r"printf '\e[?1000;1006h'; read -rsn 18 report; printf '\e[?1000;1006l'; echo ${report:1}", "")
    await tab.until("() => aether.term.modes.mouseTrackingMode === 'vt200'")
    screen = await tab.find(".xterm-screen").bounding_box()
    await tab.page.mouse.click(screen["x"] + 3, screen["y"] + 3)
    await tab.until_screen("[<0;1;1M")
    await tab.until_prompt(2)


@pytest.mark.gen_test
async def test_the_title_is_text(enter):
    """A program names the tab, and nothing but the tab."""
    tab = await enter()
    await tab.run(r"printf '\e]2;<img src=x onerror=alert(1)> &amp;\a'")
    await expect(tab.page).to_have_title("<img src=x onerror=alert(1)> &amp; · demo")
    await expect(tab.find("img")).to_have_count(0)
