"""base: which requests are accepted, and errors."""

import json

import pytest
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.web import Application
from tornado.websocket import websocket_connect

from aether.errors import NotAllowed
from aether.handlers.base import BaseHandler, OriginPolicy
from aether.handlers.machines import MachinesHandler

PROXY = "https://aether.example.com"


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("127.0.0.1:8080", None),
        ("localhost:9000", "http://localhost:9000"),
        ("[::1]:8080", "http://[::1]:8080"),
        ("LOCALHOST", "http://localhost"),
        ("aether.example.com", PROXY),
        ("127.0.0.1:8080", PROXY),
    ],
)
def test_our_own_names_are_let_in(host, origin):
    """Loopback with any port (SSH forwards), and the reverse proxy's origin."""
    OriginPolicy([PROXY]).check(host, origin)


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("evil.example.com", None),
        ("evil.example.com:8080", "http://evil.example.com:8080"),
        ("127.0.0.1.evil.example.com", None),
        ("", None),
        ("127.0.0.1:8080", "http://evil.example.com"),
        ("127.0.0.1:8080", "http://127.0.0.1:3000"),
        ("127.0.0.1:8080", "null"),
        ("127.0.0.1:8080", "file://"),
        ("127.0.0.1:8080", "http://[bad"),
        ("127.0.0.1:8080", "ftp://127.0.0.1:8080"),
        ("127.0.0.1:8080", "http://aether.example.com"),
    ],
)
def test_other_names_are_not(host, origin):
    """DNS rebinding shows in Host, another site's page in Origin."""
    with pytest.raises(NotAllowed, match="AETHER_ALLOWED_ORIGINS"):
        OriginPolicy([PROXY]).check(host, origin)


def test_the_address_that_is_listened_on_is_ours():
    """`--address 127.0.0.2` is loopback, too."""
    OriginPolicy([], "127.0.0.2").check("127.0.0.2:8080", "http://127.0.0.2:8080")


def test_every_route_is_behind_the_origin_policy(aether):
    """A handler that forgets to inherit is a failing test."""
    assert all(issubclass(handler, BaseHandler) for _, handler, _ in aether.routes())


@pytest.mark.gen_test
@pytest.mark.logs_warnings
@pytest.mark.parametrize("headers", [{"Host": "evil.example.com"}, {"Origin": "http://evil.example.com"}])
async def test_a_foreign_request_is_refused_everywhere_and_logged(aether, call, headers, caplog):
    """403 in the one error shape; the log says what was seen and what was expected."""
    paths = [
        "/",
        "/machines",
        "/machines/x",
        "/terminal.html",
        "/page/main.js",
        "/xterm/xterm/lib/xterm.js",
        "/healthz",
        "/nowhere",
    ]
    for path in paths:
        response = await call("GET", path, headers=headers)
        assert (response.code, json.loads(response.body)["error"]["code"]) == (403, "not_allowed")
    assert (await call("POST", "/machines", {}, headers)).code == 403
    assert aether.fleet.list() == []
    assert "evil.example.com" in caplog.text
    assert "127.0.0.1" in caplog.text


@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_another_site_s_websocket_is_refused_before_the_upgrade(machine, base_url):
    """Cross-site WebSocket hijacking: browsers do not stop it, we do."""
    url = f"{base_url.replace('http', 'ws')}/machines/{(await machine())['id']}/terminal"
    with pytest.raises(HTTPClientError) as caught:
        await websocket_connect(HTTPRequest(url, headers={"Origin": "http://evil.example.com"}))
    assert caught.value.code == 403


@pytest.mark.gen_test
async def test_answers_are_not_cached_sniffed_or_framed(call):
    """Data is data."""
    headers = (await call("GET", "/machines")).headers
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "Server" not in headers


@pytest.mark.gen_test
async def test_head_is_answered_as_get_without_a_body(call):
    """`curl -I`, and some health checkers."""
    for path in ("/healthz", "/machines", "/terminal.html"):
        response = await call("HEAD", path)
        assert (response.code, response.body) == (200, b"")


@pytest.mark.gen_test
@pytest.mark.parametrize("headers", [{"Upgrade": "websocket"}, {"Connection": "Upgrade"}])
async def test_half_an_upgrade_is_refused_in_the_one_error_shape(call, headers):
    """Tornado's own answers are plain text."""
    response = await call("GET", "/machines/x/terminal", headers=headers)
    assert (response.code, json.loads(response.body)["error"]["code"]) == (400, "invalid_message")


class Defective:
    """A fleet with a bug."""

    def list(self):
        raise ZeroDivisionError("a secret")


class TestDefect:
    """Where the fleet has a bug: there is no known one to provoke."""

    @pytest.fixture
    def app(self):
        given = {"policy": OriginPolicy([]), "fleet": Defective(), "idle_timeout_s": 600, "default_size": None}
        return Application([("/machines", MachinesHandler, given)])

    @pytest.mark.gen_test
    @pytest.mark.logs_warnings
    async def test_a_bug_answers_500_in_the_one_error_shape_and_tells_no_secrets(self, call, caplog):
        """The traceback is in the log, not in the answer."""
        response = await call("GET", "/machines")
        assert response.code == 500
        assert json.loads(response.body)["error"]["code"] == "internal_error"
        assert b"ZeroDivisionError" not in response.body
        assert b"secret" not in response.body
        assert "ZeroDivisionError" in caplog.text
