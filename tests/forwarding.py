"""What an SSH server may be asked to forward: Unix sockets on its own side are reached, nothing else is."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import asyncssh

FORBIDDEN = ("tcp", "remote tcp", "remote unix", "agent", "x11", "tun")
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def serving(path: str, handle: Handler) -> AsyncIterator[None]:
    """Serve a Unix socket; what the handler is given is closed after it."""

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            await handle(reader, writer)

    async with await asyncio.start_unix_server(served, path):
        yield


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send back what comes."""
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


async def is_forwarded(connection: asyncssh.SSHClientConnection, kind: str) -> bool:
    """Ask for a kind of forwarding that would work here if it were allowed; the client's own options must have it."""
    if kind == "agent":  # its client is not told of a refusal
        result = await connection.run("echo $SSH_AUTH_SOCK")
        return result.stdout != "\n"
    try:
        await _ask(connection, kind)
    except (asyncssh.ChannelOpenError, asyncssh.ChannelListenError):
        return False
    return True


async def _ask(connection: asyncssh.SSHClientConnection, kind: str) -> None:
    host, port = connection.get_extra_info("peername")[:2]
    if kind == "tcp":
        await connection.open_connection(host, port)
    elif kind == "remote tcp":
        await connection.forward_remote_port(host, 0, host, port)
    elif kind == "remote unix":
        await connection.forward_remote_path("/tmp/remote-socket", "/nowhere")
    elif kind == "x11":
        await connection.run("true", x11_forwarding=True, x11_display="localhost:99")
    else:
        await connection.open_tun()
