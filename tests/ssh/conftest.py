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
def serve(io_loop):
    """`await serve(server_factory)` → the port of such a server, and its host key."""
    opened = []

    async def make(server_factory):
        key = asyncssh.generate_private_key("ssh-ed25519")
        server = await asyncssh.listen(
            "127.0.0.1", 0, server_factory=server_factory, server_host_keys=[key], encoding=None, line_editor=False
        )
        opened.append(server)
        return server.get_port(), key

    yield make

    async def close():
        for server in opened:
            server.close()
            await server.wait_closed()

    io_loop.run_sync(close)


@pytest.fixture
def connect(io_loop, serve):
    """`await connect(server_factory)` → asyncssh's connection to such a server, both without keys and settings."""
    opened = []

    async def make(server_factory, **options):
        port, _ = await serve(server_factory)
        bare = {"username": "u", "known_hosts": None, "config": None, "agent_path": None, "client_keys": None}
        opened.append(connection := await asyncssh.connect("127.0.0.1", port, **bare, **options))
        return connection

    yield make

    async def close():
        for connection in opened:
            connection.close()
            await connection.wait_closed()

    io_loop.run_sync(close)
