"""Drawing: with WebGL where there is one, and always right without."""

import pytest
from playwright.async_api import expect

WITH_WEBGL, WITHOUT_WEBGL = "--enable-unsafe-swiftshader", "--disable-3d-apis"
LOSE = """() => {
  for (const canvas of document.querySelectorAll("#terminal canvas")) {
    canvas.getContext("webgl2")?.getExtension("WEBGL_lose_context").loseContext();
  }
}"""
PIXEL = """async (bytes) => {
  const picture = await createImageBitmap(new Blob([new Uint8Array(bytes)]));
  const canvas = new OffscreenCanvas(picture.width, picture.height), context = canvas.getContext("2d");
  context.drawImage(picture, 0, 0);
  return [...context.getImageData(1, 1, 1, 1).data];
}"""


@pytest.mark.gen_test
@pytest.mark.parametrize(("renderer", "rows_in_dom"), [(WITH_WEBGL, 0), (WITHOUT_WEBGL, 2)])
async def test_the_terminal_draws_with_webgl_or_else_with_the_dom(enter, renderer, rows_in_dom):
    """No WebGL costs speed, not the terminal."""
    tab = await enter(renderer)
    assert await tab.run("echo drawn") == "drawn"
    rows = tab.find(".xterm-rows > div").filter(has_text="drawn")
    await expect(rows).to_have_count(rows_in_dom)


@pytest.mark.gen_test
@pytest.mark.parametrize("renderer", [WITH_WEBGL, WITHOUT_WEBGL])
async def test_both_renderers_put_ink_where_the_text_is(enter, renderer):
    """A red block is red on the picture, with either of them."""
    tab = await enter(renderer)
    await tab.run(r"printf '\e[48;2;255;0;0m%40s\e[m\n' ''")
    screen = await tab.find(".xterm-screen").bounding_box()
    cell = await tab.look("() => document.querySelector('.xterm-screen').offsetHeight / aether.term.rows")
    clip = {"x": screen["x"] + 8, "y": screen["y"] + 1.5 * cell, "width": 4, "height": 2}
    await tab.until("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))")
    for _ in range(20):  # the browser draws when it likes
        if (colour := await tab.look(PIXEL, list(await tab.page.screenshot(clip=clip)))) == [255, 0, 0, 255]:
            break
    assert colour == [255, 0, 0, 255]


@pytest.mark.gen_test
async def test_a_lost_webgl_context_costs_no_text(enter):
    """Drivers restart, browsers cap contexts: the DOM renderer draws what was there and what comes."""
    tab = await enter(WITH_WEBGL)
    await tab.run("echo before")
    tab.forgive("webgl context not restored")  # so says xterm.js
    await tab.look(LOSE)
    await expect(tab.find(".xterm-rows > div").filter(has_text="before")).to_have_count(2)
    assert await tab.run("echo after") == "after"
    await expect(tab.find(".xterm-rows > div").filter(has_text="after")).to_have_count(2)
    assert await tab.run("stty size") == await tab.size()
