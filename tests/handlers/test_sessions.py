"""REST: the sessions of a machine."""

import json

import pytest
from tornado.web import Application

from aether.errors import SessionNotFound
from aether.handlers.base import OriginPolicy
from aether.handlers.sessions import SessionHandler, SessionsHandler
from aether.terminals.session_info import SessionInfo

ID, OTHER_ID = "0f7b1c52-93d4-4ac8-9a5e-0d6b8f1c2e3a", "00000000-0000-0000-0000-000000000000"
VIM = SessionInfo(ID, "vim notes.txt", False, 80, 24, 1e9, 1e9, False)


def error_of(response):
    return response.code, json.loads(response.body)["error"]["code"]


class Fleet:
    """A fleet whose machine has one session; what a real one has is the PTY host's, this is about the handlers."""

    def __init__(self):
        self.ended = []

    async def sessions(self, machine_id):
        return [VIM]

    async def end_session(self, machine_id, session_id):
        if session_id != ID:
            raise SessionNotFound("no such session")
        self.ended.append((machine_id, session_id))


class TestHandlers:
    """With a fleet of the test's own."""

    @pytest.fixture
    def fleet(self):
        return Fleet()

    @pytest.fixture
    def app(self, fleet):
        given = {"policy": OriginPolicy([]), "fleet": fleet}
        routes = [(r"/machines/([^/]+)/sessions", SessionsHandler, given)]
        return Application([*routes, (r"/machines/([^/]+)/sessions/([^/]+)", SessionHandler, given)])

    @pytest.mark.gen_test
    async def test_sessions_are_listed(self, call):
        """An object with one key."""
        response = await call("GET", "/machines/m/sessions")
        assert (response.code, json.loads(response.body)) == (200, {"sessions": [VIM.to_json()]})

    @pytest.mark.gen_test
    async def test_a_session_is_hung_up(self, call, fleet):
        """204, without a body."""
        response = await call("DELETE", f"/machines/m/sessions/{ID}")
        assert (response.code, response.body, fleet.ended) == (204, b"", [("m", ID)])

    @pytest.mark.gen_test
    @pytest.mark.parametrize("session_id", [OTHER_ID, "x", ID.upper(), f"{ID}%0A", "%2e%2e"])
    async def test_a_session_that_is_not_there_is_not_found(self, call, fleet, session_id):
        """What cannot be an id is none."""
        assert error_of(await call("DELETE", f"/machines/m/sessions/{session_id}")) == (404, "session_not_found")
        assert not fleet.ended

    @pytest.mark.gen_test
    async def test_a_session_by_itself_cannot_be_read(self, call):
        """The list has all there is."""
        for method in ("GET", "HEAD"):
            assert (await call(method, f"/machines/m/sessions/{ID}")).code == 405


@pytest.mark.gen_test
async def test_a_machine_that_does_not_run_has_no_sessions_to_list_or_end(call, machine, until_state):
    """An empty list, and 409, as for a terminal; 404 for no machine."""
    for method, path in (("GET", "/sessions"), ("DELETE", f"/sessions/{ID}")):
        assert error_of(await call(method, f"/machines/nobody{path}")) == (404, "machine_not_found")
    box = await machine()
    await until_state(box["id"], "running")
    await call("POST", f"/machines/{box['id']}/stop")
    await until_state(box["id"], "stopped")
    assert json.loads((await call("GET", f"/machines/{box['id']}/sessions")).body) == {"sessions": []}
    ending = await call("DELETE", f"/machines/{box['id']}/sessions/{ID}")
    assert error_of(ending) == (409, "machine_not_running")
