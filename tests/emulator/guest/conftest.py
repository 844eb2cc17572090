"""Unix sockets of a machine, and shells that a PTY host keeps on it."""

import os
import shlex
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncssh
import pytest

HOST = Path(__file__).parents[2] / "stand_in_host.py"


@pytest.fixture
def folder(box, runtime: str, state_dir: Path) -> Iterator[tuple[str, str]]:
    """The folder of the PTY host's sockets, as the test and as the machine call it: OpenSSH's allows no other."""
    if runtime == "plain":
        with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
            yield name, name
    else:
        name = "tmp/aether-1000-0f1ba701"
        place = state_dir / "machines" / box.id / "rootfs" / name
        place.mkdir(mode=0o700)
        fd = os.open(place, os.O_PATH)
        yield f"/proc/self/fd/{fd}", f"/{name}"  # a socket's name may have 107 bytes only
        os.close(fd)


@pytest.fixture
def keep(box, folder: tuple[str, str]) -> Callable[[str], Awaitable[str]]:
    """`await keep(command)` → the socket of a shell that runs it from the first connection on."""

    async def start(command: str) -> str:
        path = f"{folder[1]}/0"
        await box.run("cat > host.py", input=HOST.read_text())
        assert await box.run(f"python3 -I -S host.py {path} {shlex.quote(command)}") == "up\n"
        return path

    return start


@pytest.fixture
def kept(box) -> Callable[[str], AsyncIterator[tuple[asyncssh.SSHReader[bytes], asyncssh.SSHWriter[bytes]]]]:
    """`async with kept(socket)` → a connection to such a shell."""

    @asynccontextmanager
    async def connect(path: str) -> AsyncIterator[tuple[asyncssh.SSHReader[bytes], asyncssh.SSHWriter[bytes]]]:
        async with box.ssh() as connection:
            yield await connection.open_unix_connection(path)

    return connect
