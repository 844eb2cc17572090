"""Attachment: the client attached to a shell, and how much of the shell's output is on its way to it.

Output after a turn of the event loop without any is sent at once, so that an echo waits for nothing; while each turn
brings more, each turn's output is one message, so that a flood is not a thousand of them. While MAX_UNSENT_MESSAGES
wait, what a program writes byte by byte is gathered into one: a message that waits takes a kilobyte of its own.

The output on its way is bounded by the shell's SSH channel, whose window is adjusted only as the client draws
(`flow.Credit`); asyncssh's own pausing bounds less, as it grants a whole window at each resume. A client that
acknowledges says what it has drawn; for another one, what has left for the kernel counts, whose buffer
`handlers.terminal` keeps small. While a user types in another terminal of the machine, grants are spread over time.

A client of a session gets each piece of output with its offset in the session's log.
"""

import asyncio
import functools
from collections.abc import Callable
from typing import Protocol

from aether import messages
from aether.errors import AetherError
from aether.ssh.window import ReceiveWindow
from aether.terminals.flow import Credit, TypingPriority
from aether.terminals.output import Marks, Positions, Utf8, pieces

MAX_UNSENT_MESSAGES = 64
MAX_UNSENT_BYTES = 1792 * 1024  # of messages, in our own memory, whatever the client and the program do
LONGEST_ESCAPE = 6  # a control character, one byte, is six in JSON: \u0000
MIN_OVERHEAD_BYTES = 4 * 1024  # what frames need besides output is granted anew in steps of this
CLOSE_NORMAL = 1000  # RFC 6455, section 7.4.1


class Client(Protocol):
    """What an attachment needs of the client's WebSocket."""

    def send(self, message: bytes) -> "asyncio.Future[None] | None":
        """Send one message; return a future that is done when it has left, None if the client is gone."""

    def end(self, code: int, reason: str) -> None:
        """Close the connection with a WebSocket close code."""


class Attachment:
    """One client and its credit.

    Args:
        priority: where keys are noted, for all terminals of a machine.
    """

    def __init__(self, client: Client, priority: TypingPriority) -> None:
        self.client = client
        self._priority = priority
        self._key = object()  # stands for this terminal there, and keeps nothing alive
        self._pause: asyncio.TimerHandle | None = None
        self._utf8 = Utf8()
        self._loop = asyncio.get_running_loop()
        self.credit = Credit(self._loop.time())
        self.window: ReceiveWindow | None = None
        self._has_acks = False
        self.unsent_bytes = 0  # of messages, which are longer than the output in them
        self.unsent_messages = 0
        self._is_closed = False
        self._gathered: bytearray | None = None  # None: there was no output in the last turn of the loop
        self._is_held = False  # what was gathered, until fewer messages wait
        self._overhead = 0  # bytes that were no output, since the last grant
        self._positions: Positions | None = None  # of a session's output
        self._marks = Marks()
        self._on_drawn: Callable[[int], None] | None = None

    @property
    def is_paused(self) -> bool:
        """Whether the shell waits because a user types in another terminal of the machine."""
        return self._pause is not None

    # From the shell.

    def begin(self, window: ReceiveWindow) -> None:
        """Take output from a shell that may write as `window` allows."""
        self.window = window

    def resume(self, offset: int, on_drawn: Callable[[int], None], is_same: bool) -> None:
        """Take a session's output from `offset` of its log on; `on_drawn` is called with the offset that was drawn.

        What is not drawn yet of another shell's output says nothing about this one's.
        """
        if not is_same:
            self._marks.clear()
        self._positions = Positions(offset)
        self._on_drawn = on_drawn

    def restart(self) -> None:
        """Send what was gathered, for the channel that it came over is lost; the next one has a window of its own."""
        self.flush()
        self.window = None
        self.credit.restart()

    @property
    def offset(self) -> int | None:
        """Where in the session's log the client goes on, once it has all that was sent."""
        return None if self._positions is None else self._positions.offset

    def announce(self, is_reconnect: bool) -> None:
        """Tell the client that a shell runs: a new one, if the client has lost another."""
        self.client.send(messages.reconnected() if is_reconnect else messages.output(b""))

    def take(self, data: bytes) -> None:
        """Send on what the shell wrote."""
        if self._gathered is not None:
            self._gathered += data  # received, for the credit, only once it is sent: it always is in one of the counts
        else:
            self._send(data)
            self._gather()

    def add_overhead(self, size: int) -> None:
        """Count bytes that came over the channel and are no output: they are granted anew without being drawn."""
        self.credit.received(size)
        self._overhead += size
        if self._overhead >= MIN_OVERHEAD_BYTES:
            self._overhead = 0
            self._grant()

    def tell(self, message: bytes) -> None:
        """Send another message behind the output; what waits of such, too, holds the shell back."""
        self.flush()
        if not self._is_closed:
            self._post(message, 0)

    def flush(self) -> None:
        """Send what was gathered, so that another message can follow it."""
        gathered, self._gathered = self._gathered, None
        if gathered:
            self._send(bytes(gathered))

    def finish(self) -> None:
        """Send what is left of a shell that writes no more; half a character at the end is shown as U+FFFD."""
        gathered, self._gathered = self._gathered, None
        self._send(bytes(gathered or b""), is_last=True)

    # From the client.

    def typed(self) -> None:
        """Note that the user typed: the machine's other terminals are slowed for it."""
        self._priority.note(self._key, self._loop.time())

    def acknowledged(self, size: int) -> None:
        """Note that the client has drawn `size` more bytes of UTF-8; after the first call only this counts as drawn."""
        self._has_acks = True
        self.credit.acknowledge()
        self._drawn(size)

    # The end.

    def end(self, error: AetherError | None, reason: str = "") -> None:
        """Send what was gathered, then the error if there is one, and close the client's connection."""
        self.flush()
        self._is_closed, self._on_drawn = True, None
        if self._pause is not None:
            self._pause.cancel()
        if error is not None:
            self.client.send(messages.error(error.message, error.retry_s))
            self.client.end(error.ws_close, error.message)
        else:
            self.client.end(CLOSE_NORMAL, reason)

    # On the way.

    def _gather(self) -> None:
        """Gather what comes in the next turn of the loop into one message."""
        self._gathered = bytearray()
        self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Send what was gathered in this turn, or gather on if too many messages wait."""
        self._is_held = self.unsent_messages >= MAX_UNSENT_MESSAGES
        if self._is_held:
            return
        gathered, self._gathered = self._gathered, None
        if gathered:
            self._send(bytes(gathered))
            self._gather()

    def _texts(self, data: bytes, is_last: bool) -> list[tuple[bytes, int | None]]:
        """Return the messages' texts, with their offsets where the shell is a session's."""
        if self._positions is not None:
            return [*self._positions.take(data, is_last)]
        text = self._utf8.take(data, is_last)
        return [(piece, None) for piece in pieces(text)] if text else []

    def _send(self, data: bytes, is_last: bool = False) -> None:
        self.credit.received(len(data))
        texts = self._texts(data, is_last)
        if self._is_closed:
            return
        # all of it, before some of it is drawn and more granted
        self.credit.sent(sum(len(piece) for piece, _ in texts), self._loop.time())
        for piece, offset in texts:
            if offset is not None:
                self._marks.sent(len(piece), offset)
            self._post(messages.output(piece, offset), len(piece))

    def _post(self, message: bytes, size: int) -> None:
        """Send a message with `size` bytes of output in it, and count it until it has left."""
        sent = self.client.send(message)
        if sent is None:
            self.credit.drawn(size, self._loop.time())
            return
        self.unsent_bytes += len(message)
        self.unsent_messages += 1
        if sent.done():
            self._left(size, len(message), sent)
        else:
            sent.add_done_callback(functools.partial(self._left, size, len(message)))

    def _left(self, size: int, message_bytes: int, _: "asyncio.Future[None]") -> None:
        """Count a message that has left for the kernel: without acknowledgements that counts as drawn."""
        self.unsent_bytes -= message_bytes
        self.unsent_messages -= 1
        if self._has_acks:
            self._grant()
        else:
            self._drawn(size)
        if self._is_held:
            self._flush()

    def _drawn(self, size: int) -> None:
        self.credit.drawn(size, self._loop.time())
        if (offset := self._marks.drawn(size)) is not None and self._on_drawn is not None:
            self._on_drawn(offset)
        self._grant()

    def _grant(self) -> None:
        """Let the shell write on, as far as our own buffer can take it: a client's acknowledgements may be false."""
        if self.window is None or self._pause is not None or self._is_closed:
            return
        most = max(MAX_UNSENT_BYTES - self.unsent_bytes, 0) // LONGEST_ESCAPE
        grant = self.credit.take_grant(most)
        self.window.grant(grant)
        if grant and (pause_s := self._priority.pause_s(self._key, grant, self._loop.time())):
            self._pause = self._loop.call_later(pause_s, self._go_on)

    def _go_on(self) -> None:
        self._pause = None
        self._grant()
