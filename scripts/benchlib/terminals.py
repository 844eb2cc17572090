"""The clients: a PTY's master, asyncssh in this process, and the WebSocket protocols of aether's peers."""

import asyncio
import codecs
import contextlib
import fcntl
import json
import os
import struct
import subprocess
import termios

import asyncssh
from tornado.httpclient import AsyncHTTPClient, HTTPClientError

from benchlib.terminal import Terminal
from benchlib.websocket import TEXT, WebSocket
from benchlib.wire import DirectStream

COLS, ROWS = 120, 40


class PtyTerminal(Terminal):
    """A program on a PTY of this computer: a shell, or the ssh client."""

    def __init__(self, argv: list[str]) -> None:
        super().__init__()
        self._master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLS, 0, 0))
        try:
            self._process = subprocess.Popen(
                argv,
                stdin=slave,
                stdout=slave,
                stderr=slave,
                start_new_session=True,
                preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509
                env={**os.environ, "TERM": "xterm-256color", "LANG": "C.UTF-8"},
            )
        finally:
            os.close(slave)
        self.pid = self._process.pid
        self._wire = DirectStream(self._master, self.show, self.lose)

    @property
    def wire(self) -> DirectStream:
        """The PTY's master."""
        return self._wire

    def send(self, data: bytes) -> None:
        """Type."""
        self._wire.write(data)

    async def close(self) -> None:
        """Hang up and wait for the program."""
        self._wire.close()
        with contextlib.suppress(OSError):
            os.close(self._master)
        self._process.terminate()
        for _ in range(200):
            if self._process.poll() is not None:
                return
            await asyncio.sleep(0.01)
        self._process.kill()
        self._process.wait()


class AsyncsshTerminal(Terminal):
    """asyncssh in this process, as its documentation shows it: `create_process`, streams, all defaults."""

    _connection: asyncssh.SSHClientConnection
    _process: asyncssh.SSHClientProcess[bytes]
    _task: asyncio.Task[None]

    def __init__(self) -> None:
        super().__init__()
        self._bytes_s: float | None = None
        self._readable = asyncio.Event()
        self._readable.set()

    @classmethod
    async def open(cls, host: str, port: int, user: str, key: str) -> "AsyncsshTerminal":
        """Connect and start a shell."""
        self = cls()
        self._connection = await asyncssh.connect(
            host, port, username=user, client_keys=[key], known_hosts=None, config=None, agent_path=None
        )
        self._process = await self._connection.create_process(
            term_type="xterm-256color", term_size=(COLS, ROWS), encoding=None
        )
        self._task = asyncio.create_task(self._pump(), name="asyncssh reader")
        return self

    @property
    def wire(self) -> None:
        """The descriptor is asyncssh's own."""
        return

    def pace(self, bytes_s: float | None) -> None:
        """Take so many bytes a second from the stream; asyncssh reads the socket as it sees fit."""
        self._bytes_s = bytes_s
        (self._readable.clear if bytes_s == 0 else self._readable.set)()

    def send(self, data: bytes) -> None:
        """Type."""
        self._process.stdin.write(data)

    async def drain(self) -> None:
        """Wait for the stream's writer."""
        await self._process.stdin.drain()

    async def close(self) -> None:
        """End the connection."""
        self._connection.abort()
        self._task.cancel()
        await asyncio.wait([self._task])
        await self._connection.wait_closed()

    async def _pump(self) -> None:
        try:
            while data := await self._process.stdout.read(65536 if not self._bytes_s else int(self._bytes_s / 50)):
                self.show(data)
                if self._bytes_s:
                    await asyncio.sleep(len(data) / self._bytes_s)
                await self._readable.wait()
        except (asyncssh.Error, OSError) as error:
            self.lose(str(error))
        else:
            self.lose("closed by the far side")


class SocketTerminal(Terminal):
    """What the WebSocket protocols have in common."""

    socket: WebSocket

    async def connect(self, url: str, is_compressed: bool = False) -> None:
        """Open the WebSocket."""
        self.socket = await WebSocket.connect(url, self.message, self.lose, is_compressed)

    @property
    def wire(self) -> DirectStream:
        """The socket."""
        return self.socket.wire

    def message(self, kind: int, payload: bytes) -> None:
        """Take a message from the server."""
        raise NotImplementedError

    async def close(self) -> None:
        """Hang up."""
        self.socket.close()


class TerminadoTerminal(SocketTerminal):
    """terminado's protocol: JSON arrays."""

    @classmethod
    async def open(cls, url: str) -> "TerminadoTerminal":
        """Connect; the server starts the shell."""
        self = cls()
        await self.connect(url)
        self.socket.send(json.dumps(["set_size", ROWS, COLS]).encode())
        return self

    def send(self, data: bytes) -> None:
        """Type."""
        self.socket.send(json.dumps(["stdin", data.decode()]).encode())

    def message(self, kind: int, payload: bytes) -> None:
        """Show output."""
        decoded = json.loads(payload)
        if decoded[0] == "stdout":
            self.show(decoded[1].encode())


class WebsshTerminal(SocketTerminal):
    """webssh's protocol: a form for the connection, then JSON in and binary messages out."""

    @classmethod
    async def open(cls, url: str, form: str) -> "WebsshTerminal":
        """Let the server connect, then take the shell over."""
        self = cls()
        http = AsyncHTTPClient(force_instance=True)
        try:
            answer = json.loads((await http.fetch(url, method="POST", body=form, request_timeout=30)).body)
        except HTTPClientError as error:
            raise ConnectionError(f"webssh: {error}") from error
        finally:
            http.close()
        if not answer.get("id"):
            raise ConnectionError(f"webssh: {answer.get('status')}")
        await self.connect(url.replace("http", "ws", 1) + "ws?id=" + answer["id"])
        self.socket.send(json.dumps({"resize": [COLS, ROWS]}).encode())
        return self

    def send(self, data: bytes) -> None:
        """Type."""
        self.socket.send(json.dumps({"data": data.decode()}).encode())

    def message(self, kind: int, payload: bytes) -> None:
        """Show output: each message is decoded by itself, as webssh's page does."""
        self.show(payload if kind == TEXT else codecs.decode(payload, "utf-8", "replace").encode())
