"""A flood: the tab stays usable, its memory flat, and Ctrl-C ends it."""

import pytest

SECONDS = 10
FLOOD = r"yes & while read -rsn 1 key; do printf '\e]2;key %s\a' $key; done"
COUNT_FRAMES = """() => {
  window.frames_drawn = 0;
  const count = () => { window.frames_drawn += 1; requestAnimationFrame(count); };
  count();
}"""
HEAP_BYTES = "() => { gc(); return performance.memory.usedJSHeapSize; }"  # in one go: a flood makes garbage meanwhile


@pytest.mark.gen_test
async def test_a_flood_of_ten_seconds_leaves_the_tab_usable(enter):
    """Keys are answered, frames are drawn, what was drawn is acknowledged, and memory does not grow."""
    tab = await enter()
    await tab.look(COUNT_FRAMES)
    await tab.start(FLOOD, "\ny\ny\ny\n")
    sizes = []
    for second in range(1, SECONDS + 1):
        frames, key = await tab.look("() => window.frames_drawn"), "abcdefghijkl"[second]
        began = await tab.look("() => performance.now()")
        await tab.press(key)
        await tab.page.wait_for_function("key => document.title.startsWith(`key ${key}`)", arg=key)
        await tab.until(
            "([began, frames]) => performance.now() - began > 1000 && window.frames_drawn > frames + 3", [began, frames]
        )
        sizes.append(await tab.look(HEAP_BYTES))
    assert sum(message["bytes"] for message in tab.sent if message["type"] == "ack") > 1 << 20
    assert max(sizes[3:]) - sizes[3] < 8 << 20
    await tab.press("Control+c")
    await tab.until("() => aether.term.buffer.active.length >= 10000")
    await tab.rest()
    await tab.type("kill %1; clear; printf qui; echo et\n")
    await tab.until_screen("quiet")


@pytest.mark.gen_test
async def test_control_c_ends_a_flood(enter):
    """The prompt is there again, and nothing of the flood comes after it."""
    tab = await enter()
    await tab.start("yes", "\ny\ny\ny\n")
    await tab.press("Control+c")
    await tab.rest()
    assert (await tab.start("clear; printf qui; echo et", "quiet")).startswith("quiet")


@pytest.mark.gen_test
async def test_what_is_drawn_is_acknowledged_in_bytes_of_utf_8(enter):
    """As the server counts: in characters, wide text would be held back for ever."""
    tab = await enter()
    before = sum(message["bytes"] for message in tab.sent if message["type"] == "ack")
    wide = "日本🐢" * 10  # 100 bytes, 40 UTF-16 units
    await tab.start(f"for i in {{1..20000}}; do echo {wide}; done; printf qui; echo et", "quiet")
    acknowledged = sum(message["bytes"] for message in tab.sent if message["type"] == "ack") - before
    assert acknowledged > 20000 * len(wide.encode()) - (32 << 10)
