"""Keys: each one once and in order, as terminals send it."""

import pytest
from playwright.async_api import expect

KEYS = {
    "Control+c": "^C",
    "Control+d": "^D",
    "Control+z": "^Z",
    "Control+r": "^R",
    "Control+w": "^W",
    "Alt+b": "^[b",
    "Alt+.": "^[.",
    "F1": "^[OP",
    "F5": "^[[15~",
    "F12": "^[[24~",
    "Shift+Tab": "^[[Z",
    "Control+ArrowLeft": "^[[1;5D",
    "Home": "^[[H",
    "Delete": "^[[3~",
    "Escape": "^[",
    "Backspace": "^?",
    "Enter": "^M",
}
PHONE = {"viewport": {"width": 390, "height": 780}, "has_touch": True, "is_mobile": True}


def typed(tab):
    """Return all input that the page has sent."""
    return "".join(message["data"] for message in tab.sent if message["type"] == "input")


async def show_keys(tab):
    """Let the terminal show each byte that comes, as `cat -v` writes it."""
    await tab.start("stty raw -echo; printf rea; echo dy; cat -v", "ready")


@pytest.mark.gen_test
async def test_thirty_keys_a_second_arrive_once_and_in_order(enter):
    """Nothing is dropped, doubled or swapped."""
    tab = await enter()
    text = "the quick brown fox jumps over the lazy dog 0123456789"
    await tab.page.keyboard.type(text, delay=1000 / 30)
    await tab.until_screen(text)
    assert typed(tab) == text


@pytest.mark.gen_test
async def test_control_alt_and_function_keys(enter):
    """What the program reads is what xterm sends."""
    tab = await enter()
    await show_keys(tab)
    await tab.press(*KEYS)
    await tab.until_screen("ready", "".join(KEYS.values()))


@pytest.mark.gen_test
async def test_shift_enter_is_a_line_feed(enter):
    """Programs that tell it from Enter start a new line; for a shell it is Enter."""
    tab = await enter()
    await tab.type("echo 'one")
    await tab.press("Shift+Enter")
    await tab.until_screen("\n> ".rstrip())
    await tab.type("two'")
    await tab.press("Shift+Enter")
    await tab.until_screen("\none\ntwo\n")
    assert typed(tab) == "echo 'one\ntwo'\n"


@pytest.mark.gen_test
async def test_one_who_types_sees_where(enter):
    """However far up the user has scrolled, and whichever key it is."""
    tab = await enter(**PHONE)
    await tab.run("seq 200")
    for press in (
        lambda: tab.press("Shift+Enter"),
        lambda: tab.press("x"),
        lambda: tab.page.get_by_role("button", name="Tab", exact=True).tap(),
    ):
        await tab.look("() => aether.term.scrollLines(-50)")
        assert await tab.look("() => aether.term.buffer.active.viewportY < aether.term.buffer.active.baseY")
        await press()
        await tab.until("() => aether.term.buffer.active.viewportY === aether.term.buffer.active.baseY")


@pytest.mark.gen_test
async def test_option_is_meta_where_the_user_wants_it(enter):
    """On a Mac, Option writes characters unless a program is to have it."""
    tab = await enter()
    assert await tab.look("() => aether.term.options.macOptionIsMeta") is False
    await tab.look("() => { document.getElementById('set-option').click(); }")
    assert await tab.look("() => aether.term.options.macOptionIsMeta") is True


@pytest.mark.gen_test
@pytest.mark.parametrize(("steps", "text"), [(["´"], "é"), (["に", "にh", "にほん"], "日本")])
async def test_dead_keys_and_input_methods_send_what_they_compose(enter, steps, text):
    """Steps on the way are shown, not sent."""
    tab = await enter()
    await tab.start("printf rea; echo dy; cat", "ready")
    keyboard = await tab.page.context.new_cdp_session(tab.page)
    for step in steps:
        await keyboard.send(
            "Input.imeSetComposition", {"text": step, "selectionStart": len(step), "selectionEnd": len(step)}
        )
    await keyboard.send("Input.insertText", {"text": text})
    await tab.until_screen(f"ready\n{text}")
    await tab.type("x\n")
    await tab.until_screen(f"{text}x\n{text}x")
    assert typed(tab).endswith(f"cat\r{text}x\r")


@pytest.mark.gen_test
async def test_control_c_ends_a_program(enter):
    """SIGINT, at once."""
    tab = await enter()
    await tab.start_sleep(" && echo never")
    await tab.press("Control+c")
    await tab.until_prompt(2)


@pytest.mark.gen_test
async def test_phones_have_a_bar_with_the_keys_they_lack(enter):
    """Its Ctrl holds for the next key; arrows are what the program asked for; the keyboard stays up."""
    tab = await enter(**PHONE)
    await show_keys(tab)
    for name in ("Esc", "Tab", "Up", "Left"):
        await tab.page.get_by_role("button", name=name, exact=True).tap()
    await tab.page.get_by_role("button", name="Ctrl").tap()
    await expect(tab.page.get_by_role("button", name="Ctrl")).to_have_attribute("aria-pressed", "true")
    await tab.type("cc")
    await tab.page.get_by_role("button", name="Ctrl").tap()
    await tab.page.get_by_role("button", name="Right").tap()
    await tab.until_screen("^[[A^[[D^Cc^[[1;5C")
    assert "\x1b\t\x1b[A" in typed(tab)
    await expect(tab.page.get_by_role("button", name="Ctrl")).to_have_attribute("aria-pressed", "false")
    await expect(tab.find(".xterm-helper-textarea")).to_be_focused()


@pytest.mark.gen_test
async def test_a_mouse_s_owner_sees_no_key_bar(enter):
    """It is for coarse pointers."""
    tab = await enter()
    await expect(tab.find("#keys")).to_be_hidden()


@pytest.mark.gen_test
async def test_the_font_size_follows_the_keys_and_is_remembered(enter):
    """Ctrl and plus, minus, zero: the shell's size follows, and the next visit begins with it."""
    tab = await enter()
    assert await tab.look("() => aether.term.options.fontSize") == 14
    before = await tab.size()
    await tab.press("Control+=", "Control+=", "Control+-", "Control+=")
    assert await tab.look("() => aether.term.options.fontSize") == 16
    assert await tab.size() != before
    assert await tab.run("stty size") == await tab.size()
    await tab.page.reload()
    await tab.until_prompt()
    assert await tab.look("() => aether.term.options.fontSize") == 16
    await tab.press("Control+0")
    assert await tab.look("() => aether.term.options.fontSize") == 14
    assert "=" not in typed(tab).replace("stty size", "")
