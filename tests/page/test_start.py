"""The start page: what machines there are, and what can be done with them."""

import json
import re

import pytest
from playwright.async_api import expect

from aether.emulator.runtimes.base import Isolation

PHONE = {"viewport": {"width": 360, "height": 700}, "has_touch": True, "is_mobile": True}

pytestmark = pytest.mark.usefixtures("as_it_was")


def row(tab, name):
    """Return a machine's row."""
    return tab.find("#list tbody tr").filter(has=tab.find(".name").get_by_text(name, exact=True))


@pytest.mark.gen_test
async def test_the_list_shows_state_size_and_age(visit, box, server):
    """And follows what happens elsewhere by itself."""
    tab = await visit("/")
    demo = row(tab, "demo")
    await expect(demo).to_contain_text("running")
    await expect(demo).to_contain_text("1 shared CPU, 512 MB")
    await expect(demo.locator("td").nth(4)).to_have_text(re.compile(r"^(< 1|\d+) min$"))
    await expect(demo).to_contain_text("if unused, stops in")
    await expect(demo.get_by_role("link", name="Open")).to_have_attribute("href", f"/terminal.html?machine={box['id']}")
    await server.new_machine(name="elsewhere")
    await expect(row(tab, "elsewhere")).to_contain_text("running")


@pytest.mark.gen_test
async def test_a_new_machine_has_the_name_size_and_region_asked_for(visit, server):
    """And its terminal opens."""
    tab = await visit("/")
    await tab.find("#new-name").fill("second")
    await tab.find("#new-size").select_option("2 shared CPUs, 2 GB")
    await tab.find("#new-region").fill("ams")
    await tab.find("#create").click()
    await tab.page.wait_for_url("**/terminal.html?machine=*")
    await expect(tab.find("#machine-name")).to_have_text("second")
    assert await tab.run("echo inside") == "inside"
    machine_id = re.search("machine=([^&]*)", tab.page.url)[1]
    made = json.loads((await server.call("GET", f"/machines/{machine_id}")).body)
    assert (made["region"], made["guest"]) == ("ams", {"cpu_kind": "shared", "cpus": 2, "memory_mb": 2048})
    await tab.find(".back").click()
    await expect(row(tab, "second")).to_contain_text("ams")


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("field", "text", "said"),
    [
        ("#new-name", "No Spaces", "name: must be lower-case letters, digits and hyphens"),
        ("#new-region", "?", "region: must be a Fly region such as iad"),
    ],
)
async def test_an_error_is_told_as_the_api_worded_it(visit, field, text, said):
    """What happened, and what to do next."""
    tab = await visit("/")
    tab.forgive("400")
    await tab.find(field).fill(text)
    await tab.find("#create").click()
    await expect(tab.page.get_by_role("alert")).to_contain_text(said)
    await expect(tab.find("#create")).to_be_enabled()


@pytest.mark.gen_test
@pytest.mark.parametrize(("button", "path"), [("Stop", "stop"), ("Delete", "")])
async def test_what_is_refused_is_told_as_the_api_worded_it(visit, own, button, path):
    """By whichever button it was asked."""
    tab = await visit("/")
    tab.forgive("502")
    refusal = {"error": {"code": "provider_error", "message": "Fly is out of order; try again"}}
    pattern = re.compile(f"/machines/{own['id']}/?{path}$")
    await tab.page.route(pattern, lambda route: route.fulfill(status=502, json=refusal))
    await row(tab, "own").get_by_role("button", name=button).click()
    if button == "Delete":
        await tab.find("#ask-yes").click()
    await expect(tab.page.get_by_role("alert")).to_have_text("Fly is out of order; try again")


@pytest.mark.gen_test
async def test_a_machine_is_stopped_and_started(visit, own):
    """One button for what can be done now."""
    tab = await visit("/")
    machine = row(tab, "own")
    await expect(machine).to_contain_text("running")
    await machine.get_by_role("button", name="Stop").click()
    await expect(machine).to_contain_text("stopped")
    await machine.get_by_role("button", name="Start").click()
    await expect(machine).to_contain_text("running")


@pytest.mark.gen_test
async def test_a_machine_is_deleted_after_a_question(visit, box, own, server):
    """The one that was meant goes, and only after a yes; Escape and Enter on the first button are a no."""
    tab = await visit("/")
    remove = tab.page.get_by_role("button", name="Delete own")
    for no in ("Escape", "Enter"):
        await remove.click()
        await expect(tab.find("#ask-title")).to_have_text("Delete own?")
        await tab.press(no)
        await expect(tab.find("#ask")).to_be_hidden()
    assert (await server.call("GET", f"/machines/{own['id']}")).code == 200
    await remove.click()
    await tab.find("#ask-yes").click()
    await expect(row(tab, "own")).to_have_count(0)
    await expect(row(tab, "demo")).to_have_count(1)
    assert (await server.call("GET", f"/machines/{own['id']}")).code == 404


@pytest.mark.gen_test
async def test_a_server_that_does_not_answer_is_said_and_got_over(visit, proxy, box):
    """The list stays, with a word about its age."""
    tab = await visit("/", url=proxy.url)
    await expect(row(tab, "demo")).to_be_visible()
    tab.forgive()
    proxy.is_closed = True
    proxy.cut()
    await expect(tab.find("#list-error")).to_contain_text("The aether server does not answer.")
    await expect(row(tab, "demo")).to_be_visible()
    proxy.is_closed = False
    await expect(tab.find("#list-error")).to_be_hidden()


@pytest.mark.gen_test
async def test_phones_see_all_of_it(visit, own):
    """Nothing is wider than the screen, and fingers hit what they mean."""
    tab = await visit("/", **PHONE)
    machine = row(tab, "own")
    await expect(machine).to_contain_text("running")
    assert await tab.look("() => document.documentElement.scrollWidth <= innerWidth")
    for name in ("Stop", "Delete"):
        assert (await machine.get_by_role("button", name=name).bounding_box())["height"] >= 40
    await machine.get_by_role("button", name="Stop").tap()
    await expect(machine).to_contain_text("stopped")
    await machine.get_by_role("link", name="Open").tap()
    await tab.until_status("Stopped")
    assert await tab.look("() => document.documentElement.scrollWidth <= innerWidth")
    await tab.find("#notice-action").tap()
    await tab.until_prompt()
    await expect(tab.find("#keys")).to_be_visible()


@pytest.mark.gen_test
async def test_light_and_dark_are_followed(visit):
    """The page has no opinion of its own."""
    tab = await visit("/", color_scheme="light")
    light = await tab.look("() => getComputedStyle(document.body).backgroundColor")
    await tab.page.emulate_media(color_scheme="dark")
    await tab.until("light => getComputedStyle(document.body).backgroundColor !== light", light)


@pytest.mark.parametrize("isolation", Isolation)
@pytest.mark.gen_test
async def test_the_start_page_says_what_keeps_local_machines_apart(visit, isolation):
    """And claims nothing that is not so."""
    tab = await visit("/")
    answer = {"status": "ok", "provider": "local", "machines": isolation.value}
    await tab.page.route("**/healthz", lambda route: route.fulfill(json=answer))
    await tab.page.reload()
    await expect(tab.find("#provider")).to_have_text(f"The machines here are {isolation.value}.")
