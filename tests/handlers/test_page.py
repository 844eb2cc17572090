"""The page's bytes, its policy, and xterm.js from our own origin."""

import base64
import hashlib
import json
import os
import re

import pytest

from aether.app import STATIC_DIR
from aether.handlers.page import CDN, Page


@pytest.fixture
def static_dir(tmp_path):
    (tmp_path / "terminal.html").write_bytes(b'<html><!-- preloads --><script src="/page/main.js"></script></html>')
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "main.js").write_bytes(b"export {};")
    (tmp_path / "page" / "notes.txt").write_bytes(b"no module")
    return tmp_path


@pytest.fixture
def xterm_dir():
    """xterm.js as npm installed it; in CI it has to be there."""
    folder = STATIC_DIR / "node_modules/@xterm"
    if not folder.is_dir() and os.environ.get("CI") != "true":
        pytest.skip("xterm.js is not installed; scripts/test installs it where npm is")
    return folder


def test_the_policy_allows_scripts_of_our_own_origin_only(static_dir):
    """Injected scripts do not run."""
    (static_dir / "node_modules" / "@xterm").mkdir(parents=True)
    policy = Page(static_dir).content_security_policy
    assert "script-src 'self';" in policy
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe-inline" not in policy.partition("style-src")[0]


def test_the_modules_are_the_scripts_in_the_folder_at_paths_with_their_version(static_dir):
    """A browser never gets modules of two versions: the page names those that it was read with."""
    old = Page(static_dir)
    (path,) = old.modules
    assert re.fullmatch(r"[0-9a-f]{12}/main\.js", path)
    assert old.modules[path] == b"export {};"
    preload = f'<link rel="modulepreload" href="/page/{path}">'
    page = f'<html>{preload}<script src="/page/{path}"></script></html>'.encode()
    assert old.start_body == old.terminal_body == page
    (static_dir / "page" / "main.js").write_bytes(b"changed")
    assert old.modules[path] == b"export {};"
    assert path not in Page(static_dir).modules


def test_the_cdn_s_files_are_pinned_to_what_npm_installs(xterm_dir):
    """The same bytes, wherever they come from."""
    pins = re.findall(
        r'\["([a-z0-9-]+)@[\d.]+", "([^"]+)", "sha384-([^"]+)"\]', (STATIC_DIR / "page" / "xterm-files.js").read_text()
    )
    assert len(pins) == 6
    for package, path, pin in pins:
        installed = (xterm_dir / package / path).read_bytes()
        assert base64.b64encode(hashlib.sha384(installed).digest()).decode() == pin


def test_the_cdn_is_allowed_only_where_xterm_is_not_installed(static_dir):
    """Third-party resources on a terminal page are a fallback at most."""
    assert CDN in Page(static_dir).content_security_policy
    (static_dir / "node_modules" / "@xterm").mkdir(parents=True)
    assert CDN not in Page(static_dir).content_security_policy


@pytest.mark.gen_test
async def test_a_terminal_s_page_names_xterm_js_before_its_modules(call, xterm_dir):
    """It is the largest of all, and would wait behind them; the start page needs none of it."""
    terminal = (await call("GET", "/terminal.html?machine=x")).body.decode()
    hrefs = re.findall(r'<link rel="(?:preload|modulepreload)"[^>]*href="([^"]+)"', terminal)
    assert hrefs[0] == "/xterm/xterm/lib/xterm.js"
    files = (STATIC_DIR / "page" / "xterm-files.js").read_text()
    named = [href.removeprefix("/xterm/").split("/", 1) for href in hrefs if href.startswith("/xterm/")]
    assert all(re.search(rf'"{package}@[\d.]+", "{path}"', files) for package, path in named)
    for href in hrefs:
        assert (await call("GET", href)).code == 200
    assert "/xterm/" not in (await call("GET", "/terminal.html")).body.decode()


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("query", "is_terminal"),
    [("?machine=x", True), ("?machine=%ff", True), ("?machine=%20", True), ("?machine=", False), ("", False)],
)
async def test_the_page_prepares_for_what_its_address_names(call, query, is_terminal):
    """As its script reads it: a machine that cannot be is told by the page itself."""
    response = await call("GET", f"/terminal.html{query}")
    assert response.code == 200
    assert (b"/terminal-main.js" in response.body) == is_terminal


def test_imports_in_every_form_are_found_and_what_is_none_does_no_harm(static_dir):
    """Preloads only save time."""
    lines = ['import "./side.js";', "import { a } from './single.js';", '// import x from "./gone.js";', "const a = 1;"]
    lines += ['export { b } from "./more.js";', 'const c = () => import("./later.js");', 'import d from "./gone.js";']
    (static_dir / "page" / "main.js").write_text("\n".join(lines))
    for name in ("side", "single", "more", "later"):
        (static_dir / "page" / f"{name}.js").write_text("")
    found = re.findall(rb'modulepreload" href="/page/\w+/([^"]+)"', Page(static_dir).start_body)
    assert found == [b"main.js", b"side.js", b"single.js", b"more.js"]


@pytest.mark.gen_test
async def test_the_root_leads_to_the_page(call):
    """The printed URL works."""
    response = await call("GET", "/")
    assert (response.code, response.headers["Location"]) == (302, "/terminal.html")
    page = await call("GET", "/terminal.html")
    assert page.headers["Content-Type"].startswith("text/html")
    (script,) = re.findall(rb"<script[^>]*>[^<]*", page.body)
    assert re.fullmatch(rb'<script type="module" src="/page/[0-9a-f]{12}/main.js">', script)
    assert not re.search(rb"<[^>]+\son[a-z]+=", page.body)


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "path",
    [
        "/page/",
        "/page/nothing.js",
        "/page/package.json",
        "/page/../terminal.html",
        "/page/..%2fterminal.html",
        "/page/%2e%2e/package.json",
        "/page//etc/passwd",
        "/page/main.js",
        "/page/000000000000/main.js",
        "/xterm/../../terminal.html",
        "/xterm/..%2f..%2fterminal.html",
        "/xterm/%2e%2e/%2e%2e/package.json",
        "/xterm//etc/passwd",
        "/xterm/xterm",
        "/static/terminal.html",
        "/server.py",
    ],
)
@pytest.mark.logs_warnings
async def test_files_outside_are_out_of_reach(call, path):
    """Only the page's modules and what npm installed are served."""
    response = await call("GET", path)
    assert (response.code, json.loads(response.body)["error"]["code"]) in [(403, "not_allowed"), (404, "not_found")]


@pytest.mark.gen_test
async def test_xterm_comes_from_our_own_origin(call, xterm_dir):
    """Works offline, and no third party sees who opens a terminal."""
    response = await call("GET", "/xterm/xterm/lib/xterm.js")
    assert response.code == 200
    assert "javascript" in response.headers["Content-Type"]


@pytest.mark.gen_test
async def test_every_module_that_the_page_names_is_served_for_good(call):
    """The page has no missing part, and a browser asks for each once: its path changes when a module does."""
    paths = set()
    for path in ("/terminal.html", "/terminal.html?machine=x"):
        page = await call("GET", path)
        assert page.headers["Cache-Control"] == "no-cache"
        paths |= {*re.findall(r'<link rel="modulepreload" href="([^"]+)">', page.body.decode())}
    assert {path.rpartition("/")[2] for path in paths} == {path.name for path in (STATIC_DIR / "page").iterdir()}
    for path in paths:
        response = await call("GET", path)
        assert response.code == 200
        assert response.body == (STATIC_DIR / "page" / path.rpartition("/")[2]).read_bytes()
        assert response.headers["Content-Type"] == "text/javascript; charset=utf-8"
        assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert response.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ["/terminal.html", "main.js"])
async def test_page_and_modules_are_not_sent_twice(call, path):
    """A browser that asks with the ETag it has gets no body; `curl -I` gets the same headers."""
    if path == "main.js":
        path = re.search(r'src="([^"]+)"', (await call("GET", "/terminal.html")).body.decode())[1]
    response = await call("GET", path)
    again = await call("GET", path, headers={"If-None-Match": response.headers["Etag"]})
    assert (again.code, again.body) == (304, b"")
    head = await call("HEAD", path)
    assert (head.code, head.headers["Etag"]) == (200, response.headers["Etag"])
