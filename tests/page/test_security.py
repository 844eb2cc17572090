"""What a program in the terminal, or a page elsewhere, cannot do."""

import re

import pytest
from playwright.async_api import expect

INJECT = """() => {
  const script = document.createElement("script");
  script.textContent = "window.injected = true";
  document.body.append(script);
}"""
REFUSED = [
    INJECT,
    "() => { document.body.insertAdjacentHTML('beforeend', '<img src=data:, onerror=\"window.injected = true\">'); }",
    "() => fetch('http://127.0.0.1:9/').catch(() => {})",
    "() => { document.body.append(Object.assign(document.createElement('iframe'), { src: '/' })); }",
    "() => { setTimeout('window.injected = true'); }",
]


@pytest.mark.gen_test
@pytest.mark.parametrize("attack", REFUSED)
async def test_the_policy_refuses_what_the_page_does_not_need_and_tests_notice_it(visit, attack):
    """Each of these is a console error, and those fail every test here."""
    tab = await visit("/")
    await expect(tab.find("#list-title")).to_be_visible()
    async with tab.page.expect_console_message(lambda message: message.type == "error"):
        await tab.look(attack)
    assert not await tab.look("() => Boolean(window.injected)")
    assert tab.complaints
    tab.complaints.clear()


@pytest.mark.gen_test
async def test_the_policy_starts_from_none(visit, server):
    """Scripts from the server itself, styles inline for xterm.js, and nothing else."""
    policy = (await server.call("GET", "/terminal.html")).headers["Content-Security-Policy"]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == "'self'"
    assert rules["style-src"] == "'self' 'unsafe-inline'"
    assert [name for name, value in rules.items() if "*" in value or "http" in value] == []


@pytest.mark.gen_test
async def test_nothing_comes_from_elsewhere(visit, box, server):
    """No third party learns who opens a terminal."""
    tab = await visit("about:blank", url="")
    asked = []
    tab.page.on("request", lambda request: asked.append(request.url))
    await tab.page.goto(f"{server.url}/terminal.html?machine={box['id']}")
    await tab.until_prompt()
    assert asked
    assert [url for url in asked if not url.startswith((server.url, "data:"))] == []


async def click_link(tab, modifiers=()):
    """Click on the first cells of the second line."""
    screen = await tab.find(".xterm-screen").bounding_box()
    cell = await tab.look("() => document.querySelector('.xterm-screen').offsetHeight / aether.term.rows")
    place = (screen["x"] + 30, screen["y"] + 1.5 * cell)
    await tab.page.mouse.move(place[0] + 5, place[1])
    await tab.page.mouse.move(*place)
    await tab.until("() => document.getElementById('terminal').title")
    for key in modifiers:
        await tab.page.keyboard.down(key)
    await tab.page.mouse.click(*place)
    for key in modifiers:
        await tab.page.keyboard.up(key)


@pytest.mark.gen_test
@pytest.mark.parametrize("form", ["%s", r"\e]8;;%s\e\\innocent\e]8;;\e\\"])
async def test_a_link_is_shown_and_opens_only_with_a_modifier_and_without_an_opener(enter, server, form):
    """A plain click is the program's or the selection's."""
    tab = await enter()
    target = f"{server.url}/healthz"
    await tab.run(f"printf '{form.replace('%s', target)}\\n'")
    await click_link(tab)
    assert target in await tab.look("() => document.getElementById('terminal').title")
    assert len(tab.page.context.pages) == 1
    async with tab.page.context.expect_page() as opened:
        await click_link(tab, ["Control"])
    page = await opened.value
    await page.wait_for_load_state()
    assert page.url == target
    assert await page.evaluate("() => window.opener") is None


@pytest.mark.gen_test
async def test_only_web_links_open(enter):
    """Whatever a program calls a link."""
    tab = await enter()
    opened = """url => {
      const calls = [];
      window.open = (...call) => calls.push(call);
      aether.term.options.linkHandler.activate({ ctrlKey: true }, url);
      return calls.length;
    }"""
    assert await tab.look(opened, "https://example.org/") == 1
    for url in ("javascript:alert(1)", "file:///etc/passwd", "data:text/html,x", "aether:x", "nonsense"):
        assert await tab.look(opened, url) == 0


@pytest.mark.gen_test
async def test_text_from_elsewhere_stays_text(visit):
    """A reason, a name or a program's offer with markup in it is shown as it is."""
    tab = await visit("/")
    tab.forgive("400")
    answer = {"error": {"code": "invalid_message", "message": "<b id=forged>x</b>"}}
    pattern = re.compile("/machines$")
    await tab.page.route(
        pattern,
        lambda route: route.fulfill(status=400, json=answer) if route.request.method == "POST" else route.continue_(),
    )
    await tab.find("#create").click()
    await expect(tab.find("#action-error")).to_have_text("<b id=forged>x</b>")
    await expect(tab.find("#forged")).to_have_count(0)
