"""An SSH server of asyncssh in the test's own event loop, or the system's OpenSSH server, and a connection to it."""

import os
import socket
import subprocess
from pathlib import Path

import asyncssh
import pytest

from aether.ssh.keys import public_text
from aether.ssh.pool import ConnectionPool

USER = "root" if os.getuid() == 0 else os.environ.get("USER", "")


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


@pytest.fixture
def port():
    """A port that nothing listens on, kept from others until sshd takes it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", 0))
        yield probe.getsockname()[1]


@pytest.fixture
def start_sshd(need, tmp_path, host_key, user_key):
    """`start_sshd(port)` runs the system's OpenSSH server in the foreground."""
    sshd = need("sshd")
    started = []
    (tmp_path / "host_key").write_text(host_key.private)
    (tmp_path / "host_key").chmod(0o600)
    (tmp_path / "authorized_keys").write_text(public_text(user_key) + "\n")
    config = tmp_path / "sshd_config"
    config.write_text(
        f"HostKey {tmp_path}/host_key\nAuthorizedKeysFile {tmp_path}/authorized_keys\nStrictModes no\n"
        f"PidFile none\nUsePAM no\nPasswordAuthentication no\nListenAddress 127.0.0.1\nAcceptEnv LANG COLORTERM\n"
        f"SetEnv HOME={tmp_path} SHLVL=1\n"  # the user's own start files are no part of this, and slow
    )
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where sshd separates privileges

    def start(port):
        log = (tmp_path / "sshd.log").open("ab")
        started.append(subprocess.Popen([sshd, "-D", "-e", "-f", config, "-p", str(port)], stderr=log))
        log.close()

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def make_pool(io_loop, port, host_key, user_key):
    made = []

    def make(host=host_key.public, key=user_key, address=lambda: ("127.0.0.1", port), **options):
        made.append(ConnectionPool(address, USER, key, host, **options))
        return made[-1]

    yield make
    for pool in made:
        io_loop.run_sync(pool.close)
