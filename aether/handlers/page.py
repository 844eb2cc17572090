"""The page, its content security policy, and xterm.js from our own origin."""

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

from tornado.web import StaticFileHandler

from aether.handlers.base import BaseHandler, OriginPolicy

CDN = "https://cdn.jsdelivr.net/npm/@xterm/"


class Page:
    """The page's bytes and headers, read once.

    The policy allows the page's one script by hash and its styles inline: xterm.js writes `<style>` elements. The
    CDN is allowed only where xterm.js is not installed.
    """

    def __init__(self, static_dir: Path) -> None:
        self.body = (static_dir / "terminal.html").read_bytes()
        self.xterm_dir = static_dir / "node_modules" / "@xterm"
        cdn = "" if self.xterm_dir.is_dir() else f" {CDN}"
        scripts = re.findall(rb"<script>(.*?)</script>", self.body, re.DOTALL)
        hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(s).digest()).decode()}'" for s in scripts)
        self.content_security_policy = (
            f"default-src 'none'; script-src 'self' {hashes}{cdn}; style-src 'self' 'unsafe-inline'{cdn}; "
            "connect-src 'self'; img-src 'self' data:; font-src 'self'; base-uri 'none'; form-action 'none'; "
            "frame-ancestors 'none'"
        )


class PageHandler(BaseHandler):
    """`/terminal.html`."""

    def initialize(self, policy: OriginPolicy, page: Page) -> None:
        """Take what the route hands down."""
        super().initialize(policy)
        self.page = page

    async def get(self) -> None:
        """Answer with the page."""
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Content-Security-Policy", self.page.content_security_policy)
        self.set_header("Cache-Control", "no-cache")
        self.finish(self.page.body)


class RootHandler(BaseHandler):
    """`/`."""

    async def get(self) -> None:
        """Lead to the page."""
        self.redirect("/terminal.html")


class XtermHandler(BaseHandler, StaticFileHandler):
    """`/xterm/…`: the files that npm installed, and nothing outside of them."""

    def initialize(self, policy: OriginPolicy, path: str) -> None:  # type: ignore[override] # routes call it by keyword
        """Take what the route hands down."""
        self.policy = policy
        StaticFileHandler.initialize(self, path)

    def set_extra_headers(self, path: str) -> Any:
        """Let browsers keep the files, but ask whether they have changed."""
        self.set_header("Cache-Control", "no-cache")
