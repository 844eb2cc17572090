"""Copy and paste: nothing is lost, nothing runs that was not meant to, and no program reads the clipboard."""

import base64
import hashlib
import re

import pytest
from playwright.async_api import expect

ALLOWED = {"permissions": ["clipboard-read", "clipboard-write"]}
PASTE_WINDOW = 65_532  # see outbox.js
READ = "() => navigator.clipboard.readText()"
KEY = """([key, code]) => aether.term.textarea.dispatchEvent(
  new KeyboardEvent("keydown", { key, code, ctrlKey: true, shiftKey: true, bubbles: true, cancelable: true }))"""
LINES = "".join(f"{number} żółw 日本 🐢\n" for number in range(50_000))  # over a megabyte


def typed(tab):
    """Return all input that the page has sent."""
    return "".join(message["data"] for message in tab.sent if message["type"] == "input")


async def paste(tab, text):
    """Paste as users do: the clipboard's text, by the keyboard."""
    await tab.look("text => navigator.clipboard.writeText(text)", text)
    await tab.press("Control+Shift+V")


async def allow_lines(tab):
    """Turn the question before several lines off."""
    await tab.look("() => document.getElementById('set-ask').click()")


@pytest.fixture
def with_clipboard(enter):
    """`await with_clipboard()` → a Tab that may use the clipboard, with a prompt."""
    return lambda **options: enter(**ALLOWED, **options)


@pytest.mark.gen_test
async def test_control_shift_c_copies_and_control_c_stays_sigint(with_clipboard):
    """Even with a selection."""
    tab = await with_clipboard()
    await tab.run("echo precious")
    await tab.look("() => aether.term.select(0, 1, 8)")
    for keys in ("Control+Shift+C", "Meta+Shift+C"):
        await tab.look("() => navigator.clipboard.writeText('')")
        await tab.press(keys)
        await tab.until("async () => await navigator.clipboard.readText() === 'precious'")
    await tab.look("() => navigator.clipboard.writeText('')")
    await tab.look(KEY, ["J", "KeyC"])  # Dvorak: the keys are named for what they write
    await tab.look(KEY, ["C", "KeyI"])
    await tab.until("async () => await navigator.clipboard.readText() === 'precious'")
    await tab.start_sleep()
    await tab.look("() => { navigator.clipboard.writeText('else'); aether.term.select(0, 1, 8); }")
    await tab.press("Control+c")
    await tab.until_prompt(3)
    assert await tab.look(READ) == "else"


@pytest.mark.gen_test
async def test_the_mouse_selects_and_the_browser_s_own_menu_copies_that(with_clipboard):
    """A double click takes a word; a right click leaves it to the browser's menu, which then copies it."""
    tab = await with_clipboard()
    await tab.run("echo precious")
    screen = await tab.find(".xterm-screen").bounding_box()
    cell = await tab.look("() => document.querySelector('.xterm-screen').offsetHeight / aether.term.rows")
    place = (screen["x"] + 20, screen["y"] + 1.5 * cell)
    await tab.page.mouse.dblclick(*place)
    assert await tab.look("() => aether.term.getSelection()") == "precious"
    await tab.look("() => addEventListener('contextmenu', event => { window.wasMenu = !event.defaultPrevented; })")
    await tab.page.mouse.click(*place, button="right")
    assert await tab.look("() => window.wasMenu")
    await tab.look("() => document.execCommand('copy')")  # what the menu's Copy does
    assert await tab.look(READ) == "precious"
    await tab.paste("echo $((6 * 7))")
    await tab.until_screen("$ echo $((6 * 7))")


@pytest.mark.gen_test
async def test_control_shift_v_pastes(with_clipboard):
    """One line at a prompt is not asked about, and waits for Enter."""
    tab = await with_clipboard()
    await paste(tab, "echo $((40 + 2)) żółw")
    await tab.until_screen("echo $((40 + 2)) żółw")
    await tab.press("Enter")
    await tab.until_screen("\n42 żółw\n")


@pytest.mark.gen_test
async def test_a_megabyte_arrives_whole_and_in_order(with_clipboard, proxy):
    """And keys that are typed meanwhile come after it."""
    tab = await with_clipboard(url=proxy.url)
    await allow_lines(tab)
    expected = LINES.replace("\n", "\r").encode() + b"end"
    assert len(expected) > 1 << 20
    await tab.start(f"stty raw -echo; printf rea; echo dy; head -c {len(expected)} | sha256sum; stty sane", "ready")
    proxy.freeze()
    await paste(tab, LINES)
    await tab.until("() => !aether.facts.isAllSent")
    await tab.type("end")
    proxy.thaw()
    await tab.until_screen(hashlib.sha256(expected).hexdigest())
    assert await tab.look("() => aether.facts.isAllSent")
    await expect(tab.find("#notice")).to_be_hidden()


@pytest.mark.gen_test
async def test_a_paste_is_as_fast_as_the_program_reads(with_clipboard):
    """A slow one is not drowned: the rest waits here, where it can be cancelled, and arrives when it is wanted."""
    tab, other = await with_clipboard(), await with_clipboard()
    await allow_lines(tab)
    text = "0123456789abcde\n" * (3 << 16)  # more than an SSH server keeps for a program that does not read
    wanted = text.replace("\n", "\r").encode()
    script = f"until [ -e go ]; do sleep 0.1; done; head -c {len(wanted)} | sha256sum; stty sane; rm go"
    await tab.start(f"stty raw -echo; printf rea; echo dy; {script}", "ready")
    await paste(tab, text)
    await tab.until("most => aether.facts.waiting > most && !aether.facts.isAllSent", PASTE_WINDOW)
    await expect(tab.find("#notice-text")).to_contain_text("Pasting:")
    await other.run("touch go")
    await tab.until_screen(hashlib.sha256(wanted).hexdigest())
    await expect(tab.find("#notice")).to_be_hidden()


@pytest.mark.gen_test
@pytest.mark.parametrize("way", ["button", "Control+c"])
async def test_a_long_paste_shows_its_progress_and_can_be_cancelled(with_clipboard, proxy, way):
    """What the server has not confirmed is not counted as sent; what was not sent is not sent after the cancel."""
    tab = await with_clipboard(url=proxy.url)
    await allow_lines(tab)
    # no echo: Linux may show what it could not echo yet behind what a later program writes
    await tab.start("stty -echo; printf rea; echo dy; cat > pasted", "ready")
    proxy.freeze()
    await paste(tab, LINES)
    await expect(tab.find("#notice-text")).to_have_text(re.compile(r"Pasting: 7\d of 839 thousand characters\."))
    if way == "button":
        await tab.find("#notice-action").click()
    else:
        await tab.press(way)
    await expect(tab.find("#notice")).to_be_hidden()
    proxy.thaw()
    if way == "button":
        await tab.press("Control+d", "Control+d")
    await tab.until_prompt(2)
    assert typed(tab).count("żółw") < 5000
    assert 0 < int(await tab.run("wc -c < pasted; rm pasted")) < 200_000


@pytest.mark.gen_test
async def test_pasted_text_cannot_leave_bracketed_paste(with_clipboard):
    """An ESC is shown, not sent: the rest would be typed commands. So are other controls: Ctrl-C would end the line."""
    tab = await with_clipboard()
    await paste(tab, "safe\x1b[201~\rtouch escaped\x03\x9b201~\r\n")
    await expect(tab.find("#ask")).to_be_visible()  # the CR in it makes two lines
    await tab.press("Enter")
    await tab.until_screen("␛[201~")
    assert typed(tab) == "\x1b[200~safe␛[201~\rtouch escaped␃␛201~\r\x1b[201~"
    await tab.press("Control+c")
    await tab.until_prompt(2)
    assert await tab.run("ls escaped 2>&1 | grep -c 'No such'") == "1"


@pytest.mark.gen_test
async def test_several_lines_are_asked_about_until_that_is_turned_off(with_clipboard):
    """Escape pastes nothing; the answer is remembered; the settings turn it on again."""
    tab = await with_clipboard()
    await paste(tab, "echo one\necho two")
    await expect(tab.find("#ask-title")).to_have_text("Paste 2 lines?")
    await expect(tab.find("#ask-preview")).to_have_text("echo one\necho two")
    await tab.press("Escape")
    await expect(tab.find("#ask")).to_be_hidden()
    assert typed(tab) == ""
    await paste(tab, "echo one\necho two")
    await tab.find("#ask-never").check()
    await tab.find("#ask-yes").click()
    await tab.until_screen("echo two")
    await tab.press("Enter")
    await tab.until_screen("\none\ntwo\n")
    await tab.page.reload()
    await tab.until_prompt()
    await paste(tab, "echo three\necho four")
    await tab.until_screen("echo four")
    await tab.find("#open-settings").click()
    await tab.find("#set-ask").check()
    await tab.find("#settings-close").click()
    await paste(tab, "echo five\necho six")
    await expect(tab.find("#ask")).to_be_visible()


@pytest.mark.gen_test
async def test_one_line_is_asked_about_where_it_would_run_at_once(with_clipboard):
    """Without bracketed paste a line's end is Enter; several are asked about in tmux, too, which has a shell inside."""
    tab = await with_clipboard()
    await tab.start("sh -c 'printf rea; echo dy; exec cat > /dev/null'", "ready")
    await paste(tab, "rm -rf precious\n")
    await expect(tab.find("#ask-title")).to_have_text("Paste a line and run it?")
    await tab.find("#ask-no").click()
    await tab.press("Control+c")
    await tab.start(r"printf '\e[?1049h\e[?2004hrea'; echo dy; cat > /dev/null", "ready")
    await paste(tab, "one\n")
    await tab.until_screen("^[[200~one")
    await expect(tab.find("#ask")).to_be_hidden()
    await paste(tab, "one\ntwo")
    await expect(tab.find("#ask-title")).to_have_text("Paste 2 lines?")


@pytest.mark.gen_test
async def test_half_a_character_costs_no_more_than_itself(with_clipboard):
    """A program's clipboard may hold half of a surrogate pair: the rest of the paste arrives, and its end."""
    tab = await with_clipboard()
    await tab.start(r"printf '\e[?2004hrea'; echo dy; cat > /dev/null", "ready")
    await tab.paste("left\ud800right")
    await tab.until_screen("^[[200~left\ufffdright^[[201~")


def clipboard_command(text):
    """Return a command that prints OSC 52."""
    return rf"printf '\e]52;c;{base64.b64encode(text.encode()).decode()}\a'"


@pytest.mark.gen_test
async def test_a_program_writes_the_clipboard_only_with_consent(with_clipboard):
    """It is asked once, without taking the focus from what is being typed."""
    tab = await with_clipboard()
    await tab.look("() => navigator.clipboard.writeText('mine')")
    await tab.run(clipboard_command("żółw from a program"))
    await expect(tab.find("#offer-text")).to_contain_text("żółw from a program")
    await expect(tab.find(".xterm-helper-textarea")).to_be_focused()
    assert await tab.look(READ) == "mine"
    await tab.find("#offer-yes").click()
    await expect(tab.find("#offer")).to_be_hidden()
    await tab.until("async () => await navigator.clipboard.readText() === 'żółw from a program'")
    await tab.run(clipboard_command("more"))
    await tab.until("async () => await navigator.clipboard.readText() === 'more'")


@pytest.mark.gen_test
async def test_a_refused_program_does_not_ask_again(with_clipboard):
    """No is no, until the page is left."""
    tab = await with_clipboard()
    await tab.look("() => navigator.clipboard.writeText('mine')")
    await tab.run(clipboard_command("theirs"))
    await tab.find("#offer-no").click()
    await tab.run(clipboard_command("again"))
    await expect(tab.find("#offer")).to_be_hidden()
    assert await tab.look(READ) == "mine"


@pytest.mark.gen_test
async def test_no_program_reads_the_clipboard(with_clipboard):
    """Nothing is answered, with or without consent to write."""
    tab = await with_clipboard()
    await tab.run(clipboard_command("consent"))
    await tab.find("#offer-yes").click()
    await tab.until("async () => await navigator.clipboard.readText() === 'consent'")
    await tab.look("() => navigator.clipboard.writeText('secret')")
    before = len(typed(tab))
    await tab.run(r"printf '\e]52;c;?\a'")
    assert await tab.run("read -rt 0.2 answer; echo got $answer") == "got"
    assert "52" not in typed(tab)[before:].replace("]52;c;?", "")
    assert await tab.look(READ) == "secret"
