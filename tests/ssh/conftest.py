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
def connect(io_loop):
    """`await connect(server_factory)` → asyncssh's connection to such a server, both without keys and settings."""
    opened = []

    async def make(server_factory, **options):
        key = asyncssh.generate_private_key("ssh-ed25519")
        server = await asyncssh.listen(
            "127.0.0.1", 0, server_factory=server_factory, server_host_keys=[key], encoding=None, line_editor=False
        )
        opened.append(server)
        bare = {"username": "u", "known_hosts": None, "config": None, "agent_path": None, "client_keys": None}
        opened.append(connection := await asyncssh.connect("127.0.0.1", server.get_port(), **bare, **options))
        return connection

    yield make

    async def close():
        for one in reversed(opened):
            one.close()
            await one.wait_closed()

    io_loop.run_sync(close)
