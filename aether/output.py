"""Output: what a shell wrote, on its way to the client's screen.

One incremental UTF-8 decoder per PTY → `Client.send`. The first output in a turn of the event loop is sent at once, so
an echo waits for nothing; what else comes in that turn is sent as one message: a flood is not a thousand of them. Nor
is what a program writes byte by byte to a client that does not read: a message that waits takes a kilobyte of its own.

Nothing on this way is held back and kept: the shell itself is held, by its SSH channel's window, which is granted anew
only as the client draws (`flow.Credit`). asyncssh's own pausing bounds less: it grants a whole window at each resume. A
client that acknowledges says what it has drawn; for another one that is what has left for the kernel, whose buffer
`handlers.terminal` keeps small.
"""

import asyncio
import codecs
from typing import Protocol

from aether import messages
from aether.flow import Credit
from aether.ssh.window import ReceiveWindow

MAX_MESSAGE_CHARS = 64 * 1024  # a slow client can acknowledge, and draw, only whole messages
MAX_UNSENT_MESSAGES = 64


class Client(Protocol):
    """The far side of a session: a WebSocket, as the session needs it."""

    def send(self, message: str) -> "asyncio.Future[None] | None":
        """Send one message; the future is done when it has left, None when there is nobody to send to."""

    def end(self, code: int, reason: str) -> None:
        """Close the connection with a WebSocket close code."""


class Output:
    """The output of one session."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._loop = asyncio.get_running_loop()
        self._credit = Credit(self._loop.time())
        self._window: ReceiveWindow | None = None
        self._has_acks = False
        self._unsent_chars = 0  # of messages, which are longer than the output in them
        self._unsent_messages = 0
        self._is_closed = False
        self._gathered: bytearray | None = None  # None: nothing was sent in this turn of the loop
        self._is_held = False  # what was gathered, until fewer messages wait

    def hold(self, window: ReceiveWindow) -> None:
        """Grant what the shell may write by this window."""
        self._window = window

    def take(self, data: bytes) -> None:
        """The shell wrote."""
        if self._gathered is not None:
            self._gathered += data  # received, for the credit, once it is sent: it is never in neither count
        else:
            self._credit.received(len(data))
            self._send(self._decoder.decode(data))
            self._gathered = bytearray()
            self._loop.call_soon(self._flush)

    def acknowledged(self, size: int) -> None:
        """The client has drawn `size` more bytes of UTF-8; from now on only it says what is drawn."""
        self._has_acks = True
        self._credit.acknowledge()
        self._drawn(size)

    def finish(self) -> None:
        """The shell writes no more: half a character at the end is shown as such."""
        self._send_gathered()
        self._send(self._decoder.decode(b"", final=True))

    def close(self) -> None:
        """Send what was gathered, and nothing after that."""
        self._send_gathered()
        self._is_closed = True

    def _flush(self) -> None:
        """Send what was gathered in this turn, or gather on where too many messages wait already."""
        if self._unsent_messages < MAX_UNSENT_MESSAGES:
            self._send_gathered()
        else:
            self._is_held = True

    def _send_gathered(self) -> None:
        gathered, self._gathered = self._gathered, None
        self._is_held = False
        if gathered:
            self._credit.received(len(gathered))
            self._send(self._decoder.decode(bytes(gathered)))

    def _send(self, text: str) -> None:
        for start in range(0, len(text), MAX_MESSAGE_CHARS):
            self._send_message(text[start : start + MAX_MESSAGE_CHARS])

    def _send_message(self, text: str) -> None:
        message = messages.output(text)
        sent = None if self._is_closed else self._client.send(message)
        if sent is None:
            return
        size = len(text) if text.isascii() else len(text.encode())
        self._credit.sent(size, self._loop.time())
        self._unsent_chars += len(message)
        self._unsent_messages += 1
        if sent.done():
            self._left(size, len(message))
        else:
            sent.add_done_callback(lambda _: self._left(size, len(message)))

    def _left(self, size: int, message_chars: int) -> None:
        """A message has left for the kernel: for a client that does not acknowledge that is as good as drawn."""
        self._unsent_chars -= message_chars
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
        """Let the shell write on, unless our own buffer is full: what a client says it has drawn may be a lie."""
        if self._window is not None and self._unsent_chars < self._credit.window:
            self._window.grant(self._credit.take_grant())
