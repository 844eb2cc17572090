"""The page, its modules, its content security policy, and xterm.js from our own origin."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tornado.web import StaticFileHandler

from aether.errors import RouteNotFound
from aether.handlers.base import BaseHandler, OriginPolicy

CDN = "https://cdn.jsdelivr.net/npm/@xterm/"
PRELOADS = b"<!-- preloads -->"
IMPORT = re.compile(rb"""^(?:import\b(?!\()|export\b)[^;]*?["']\./([\w-]+\.js)["']""", re.MULTILINE)
START_PAGE = ("main.js", "start.js")
TERMINAL_PAGE = ("main.js", "terminal-main.js")
XTERM_FILES = (
    ("xterm/lib/xterm.js", "script"),
    ("addon-fit/lib/addon-fit.js", "script"),
    ("xterm/css/xterm.css", "style"),
)


class Page:
    """The page, its modules and its headers, read once.

    The modules' paths begin with a hash of them all: browsers keep them for good, and a page never gets modules of two
    versions, neither from a cache nor from a server that was deployed meanwhile.

    The start page and a terminal's are one file that names in its head what a browser will need, so that it asks for
    all of it at once, and for xterm.js, the largest, first.

    The policy allows scripts from our own origin only, and styles inline: xterm.js writes `<style>` elements. The CDN
    is allowed only where xterm.js is not installed.
    """

    def __init__(self, static_dir: Path) -> None:
        modules = {path.name: path.read_bytes() for path in sorted((static_dir / "page").glob("*.js"))}
        version = hashlib.sha256(repr(modules).encode()).hexdigest()[:12]
        self.modules = {f"{version}/{name}": body for name, body in modules.items()}
        self.xterm_dir = static_dir / "node_modules" / "@xterm"
        is_installed = self.xterm_dir.is_dir()
        cdn = "" if is_installed else f" {CDN}"
        body = (static_dir / "terminal.html").read_bytes()
        xterm = [f'<link rel="preload" as="{kind}" href="/xterm/{path}">' for path, kind in XTERM_FILES]
        self.start_body = _page(body, version, _preloads(modules, START_PAGE))
        self.terminal_body = _page(body, version, (xterm if is_installed else []) + _preloads(modules, TERMINAL_PAGE))
        self.content_security_policy = (
            f"default-src 'none'; script-src 'self'{cdn}; style-src 'self' 'unsafe-inline'{cdn}; "
            "connect-src 'self'; img-src 'self' data:; font-src 'self'; base-uri 'none'; form-action 'none'; "
            "frame-ancestors 'none'"
        )


def _preloads(modules: Mapping[str, bytes], entries: Sequence[str]) -> list[str]:
    """Return a preload for each of the entries, and for what they import; one that is overlooked only loads later."""
    names = [name for name in entries if name in modules]
    for name in names:  # which grows meanwhile
        imported = [other.decode() for other in IMPORT.findall(modules[name])]
        names += [other for other in dict.fromkeys(imported) if other in modules and other not in names]
    return [f'<link rel="modulepreload" href="/page/{name}">' for name in names]


def _page(body: bytes, version: str, preloads: Sequence[str]) -> bytes:
    named = body.replace(PRELOADS, "\n".join(preloads).encode())
    return named.replace(b'"/page/', f'"/page/{version}/'.encode())


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
        machine = self.request.query_arguments.get("machine", [b""])[0]  # as the page reads it, whatever bytes it has
        self.finish(self.page.terminal_body if machine else self.page.start_body)


class ModuleHandler(BaseHandler):
    """`/page/VERSION/…`: the modules of the page, and nothing else."""

    def initialize(self, policy: OriginPolicy, page: Page) -> None:
        """Take what the route hands down."""
        super().initialize(policy)
        self.page = page

    async def get(self, name: str) -> None:
        """Answer with a module, which never changes at its path.

        Raises:
            RouteNotFound: this version of the page has no such module.
        """
        if name not in self.page.modules:
            raise RouteNotFound(f"there is nothing at {self.request.path}; reload the page, which names its modules")
        self.set_header("Content-Type", "text/javascript; charset=utf-8")
        self.set_header("Cache-Control", "public, max-age=31536000, immutable")
        self.finish(self.page.modules[name])


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
