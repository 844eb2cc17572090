"""Output: what a shell wrote, on its way to the client's screen.

One incremental UTF-8 decoder per PTY → `Client.send`. Output after a turn of the event loop without any is sent at
once, so an echo waits for nothing; while there is more in each turn, each turn's is sent as one message: a flood is not
a thousand of them. Nor is what a program writes byte by byte to a client that does not read: a message that waits takes
a kilobyte of its own.

Nothing on this way is held back and kept: the shell itself is held, by its SSH channel's window, which is granted anew
only as the client draws (`flow.Credit`). asyncssh's own pausing bounds less: it grants a whole window at each resume. A
client that acknowledges says what it has drawn; for another one that is what has left for the kernel, whose buffer
`handlers.terminal` keeps small. While somebody types in another terminal of the machine, grants are spread over time.
"""

import asyncio
import codecs
import functools
from collections.abc import Iterator
from typing import Protocol

from aether import messages
from aether.flow import Credit, Typing
from aether.ssh.window import ReceiveWindow

MAX_MESSAGE_BYTES = 64 * 1024  # of UTF-8: a slow client can acknowledge, and draw, only whole messages
MAX_UNSENT_MESSAGES = 64
MAX_UNSENT_BYTES = 1792 * 1024  # of messages, in our own memory, whatever the client and the program do
LONGEST_ESCAPE = 6  # a control character, one byte, is six in JSON: \u0000


class Client(Protocol):
    """The far side of a session: a WebSocket, as the session needs it."""

    def send(self, message: bytes) -> "asyncio.Future[None] | None":
        """Send one message; the future is done when it has left, None when there is nobody to send to."""

    def end(self, code: int, reason: str) -> None:
        """Close the connection with a WebSocket close code."""


class Output:
    """The output of one session."""

    def __init__(self, client: Client, typing: Typing) -> None:
        self._client = client
        self._typing = typing
        self._typist = object()  # stands for us there, and keeps nothing alive
        self._pause: asyncio.TimerHandle | None = None
        self._utf8 = Utf8()
        self._loop = asyncio.get_running_loop()
        self._credit = Credit(self._loop.time())
        self._window: ReceiveWindow | None = None
        self._has_acks = False
        self._unsent_bytes = 0  # of messages, which are longer than the output in them
        self._unsent_messages = 0
        self._is_closed = False
        self._gathered: bytearray | None = None  # None: there was none in the last turn of the loop
        self._is_held = False  # what was gathered, until fewer messages wait

    def hold(self, window: ReceiveWindow) -> None:
        """Grant what the shell may write by this window."""
        self._window = window

    def take(self, data: bytes) -> None:
        """The shell wrote."""
        if self._gathered is not None:
            self._gathered += data  # received, for the credit, once it is sent: it is never in neither count
        else:
            self._send(data)
            self._gather()

    def typed(self) -> None:
        """The user of this terminal typed: what its neighbours write makes room."""
        self._typing.note(self._typist, self._loop.time())

    def acknowledged(self, size: int) -> None:
        """The client has drawn `size` more bytes of UTF-8; from now on only it says what is drawn."""
        self._has_acks = True
        self._credit.acknowledge()
        self._drawn(size)

    def finish(self) -> None:
        """The shell writes no more: half a character at the end is shown as such."""
        self._send(bytes(self._gathered or b""), is_last=True)
        self._gathered = None

    def close(self) -> None:
        """Send what was gathered, and nothing after that."""
        self._send(bytes(self._gathered or b""))
        self._gathered = None
        self._is_closed = True
        if self._pause is not None:
            self._pause.cancel()

    def _gather(self) -> None:
        """Keep what comes in the next turn of the loop for one message."""
        self._gathered = bytearray()
        self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Send what was gathered in this turn, or gather on where too many messages wait already."""
        self._is_held = self._unsent_messages >= MAX_UNSENT_MESSAGES
        if self._is_held:
            return
        gathered, self._gathered = self._gathered, None
        if gathered:
            self._send(bytes(gathered))
            self._gather()

    def _send(self, data: bytes, is_last: bool = False) -> None:
        self._credit.received(len(data))
        text = self._utf8.take(data, is_last)
        if not text or self._is_closed:
            return
        self._credit.sent(len(text), self._loop.time())  # all of it, before some of it is drawn and more granted
        for piece in pieces(text):
            message = messages.output(piece)
            sent = self._client.send(message)
            if sent is None:
                self._credit.drawn(len(piece), self._loop.time())
                continue
            self._unsent_bytes += len(message)
            self._unsent_messages += 1
            if sent.done():
                self._left(len(piece), len(message), sent)
            else:
                sent.add_done_callback(functools.partial(self._left, len(piece), len(message)))

    def _left(self, size: int, message_bytes: int, _: "asyncio.Future[None]") -> None:
        """A message has left for the kernel: for a client that does not acknowledge that is as good as drawn."""
        self._unsent_bytes -= message_bytes
        self._unsent_messages -= 1
        if self._has_acks:
            self._grant()
        else:
            self._drawn(size)
        if self._is_held:
            self._flush()

    def _drawn(self, size: int) -> None:
        self._credit.drawn(size, self._loop.time())
        self._grant()

    def _grant(self) -> None:
        """Let the shell write on, as far as our buffer can take it: what a client says it has drawn may be a lie."""
        if self._window is None or self._pause is not None or self._is_closed:
            return
        most = max(MAX_UNSENT_BYTES - self._unsent_bytes, 0) // LONGEST_ESCAPE
        grant = self._credit.take_grant(most)
        self._window.grant(grant)
        if grant and (pause_s := self._typing.pause_s(self._typist, grant, self._loop.time())):
            self._pause = self._loop.call_later(pause_s, self._go_on)

    def _go_on(self) -> None:
        self._pause = None
        self._grant()


class Utf8:
    """Makes valid UTF-8 of what comes in pieces: half a character waits for its rest, invalid bytes become U+FFFD."""

    def __init__(self) -> None:
        self._rest = b""

    def take(self, data: bytes, is_last: bool = False) -> bytes:
        """Return what is whole by now; with `is_last`, half a character at the end is invalid."""
        if self._rest:
            data = self._rest + data
        try:
            _, size = codecs.utf_8_decode(data, "strict", is_last)
            text = data if size == len(data) else data[:size]
        except UnicodeDecodeError:
            replaced, size = codecs.utf_8_decode(data, "replace", is_last)
            text = replaced.encode()
        self._rest = data[size:]
        return text


def pieces(text: bytes) -> Iterator[bytes]:
    """Cut UTF-8 into messages' worth, between characters (RFC 3629: the bytes inside of one begin with the bits 10)."""
    start = 0
    while len(text) - start > MAX_MESSAGE_BYTES:
        end = start + MAX_MESSAGE_BYTES
        while text[end] & 0xC0 == 0x80:
            end -= 1
        yield text[start:end]
        start = end
    yield text[start:] if start else text
