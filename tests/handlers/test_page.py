"""The page's bytes, its policy, and xterm.js from our own origin."""

import base64
import hashlib
import json
import os
import re

import pytest

from aether.app import STATIC_DIR
from aether.handlers.page import CDN, Page

HTML = b"<html><script>\nlet x = 1;\n</script></html>"


@pytest.fixture
def static_dir(tmp_path):
    (tmp_path / "terminal.html").write_bytes(HTML)
    return tmp_path


@pytest.fixture
def xterm_dir():
    """xterm.js as npm installed it; in CI it has to be there."""
    folder = STATIC_DIR / "node_modules/@xterm"
    if not folder.is_dir() and os.environ.get("CI") != "true":
        pytest.skip("xterm.js is not installed; scripts/test installs it where npm is")
    return folder


def test_the_policy_allows_the_page_s_script_by_its_hash(static_dir):
    """Injected scripts do not run."""
    digest = base64.b64encode(hashlib.sha256(b"\nlet x = 1;\n").digest()).decode()
    policy = Page(static_dir).content_security_policy
    assert f"script-src 'self' 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe-inline" not in policy.partition("style-src")[0]


def test_the_cdn_s_files_are_pinned_to_what_npm_installs(xterm_dir):
    """The same bytes, wherever they come from."""
    pins = re.findall(
        r'\["([a-z0-9-]+)@[\d.]+", "([^"]+)", "sha384-([^"]+)"\]', (STATIC_DIR / "terminal.html").read_text()
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
async def test_the_root_leads_to_the_page(call):
    """The printed URL works."""
    response = await call("GET", "/")
    assert (response.code, response.headers["Location"]) == (302, "/terminal.html")
    page = await call("GET", "/terminal.html")
    assert page.headers["Content-Type"].startswith("text/html")
    assert len(re.findall(rb"<script", page.body)) == 1
    assert not re.search(rb"<[^>]+\son[a-z]+=", page.body)


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "path",
    [
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
    """Only what npm installed is served."""
    response = await call("GET", path)
    assert (response.code, json.loads(response.body)["error"]["code"]) in [(403, "not_allowed"), (404, "not_found")]


@pytest.mark.gen_test
async def test_xterm_comes_from_our_own_origin(call, xterm_dir):
    """Works offline, and no third party sees who opens a terminal."""
    response = await call("GET", "/xterm/xterm/lib/xterm.js")
    assert response.code == 200
    assert "javascript" in response.headers["Content-Type"]
