"""An SSH server of asyncssh in the test's own event loop, and a connection to it."""

import asyncssh
import pytest


class OpenServer(asyncssh.SSHServer):
    """Accepts every user, and has the session that it was made with."""

    def __init__(self, session=None):
        self._session = session

    def begin_auth(self, username):
        return False

    def session_requested(self):
        return self._session()


@pytest.fixture
def closing(io_loop):
    """`closing(one)` → the same; it is closed after the test, the last one first."""
    opened = []

    def note(one):
        opened.append(one)
        return one

    yield note

    async def close():
        for one in reversed(opened):
            one.close()
            await one.wait_closed()

    io_loop.run_sync(close)


@pytest.fixture
def serve(closing):
    """`await serve(server_factory)` → the port of such a server, and its host key."""

    async def make(factory):
        key = asyncssh.generate_private_key("ssh-ed25519")
        options = {"server_host_keys": [key], "encoding": None, "line_editor": False}
        server = closing(await asyncssh.listen("127.0.0.1", 0, server_factory=factory, **options))
        return server.get_port(), key

    return make


@pytest.fixture
def connect(closing, serve):
    """`await connect(server_factory)` → asyncssh's connection to such a server, both without keys and settings."""

    async def make(factory, **options):
        port, _ = await serve(factory)
        bare = {"username": "u", "known_hosts": None, "config": None, "agent_path": None, "client_keys": None}
        return closing(await asyncssh.connect("127.0.0.1", port, **bare, **options))

    return make
