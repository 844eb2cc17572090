"""ReceiveWindow: the flow control of one SSH channel (RFC 4254, section 5.2), in our hands instead of asyncssh's.

asyncssh grants the whole window again at the first bytes it delivers, drawn or not, and once more at each resume
while old bytes still wait in its buffer. With grants that follow the client's screen, one number bounds everything.
`_init_recv_window` and `_recv_window` are asyncssh's own names (2.x); `tests/ssh/test_window.py` notices a change.
"""

import asyncssh
from asyncssh.constants import MSG_CHANNEL_WINDOW_ADJUST
from asyncssh.packet import UInt32


class ReceiveWindow:
    """What the far side of a channel may send; it starts with the window the channel was opened with."""

    def __init__(self, channel: asyncssh.SSHClientChannel[bytes]) -> None:
        self._channel = channel
        channel._init_recv_window = 0  # asyncssh grants what is missing to half of this: nothing

    @property
    def left(self) -> int:
        """How many bytes the far side may still send."""
        return self._channel._recv_window

    def grant(self, size: int) -> None:
        """Let the far side send `size` bytes more; a channel that is closing gets nothing."""
        if size and not self._channel.is_closing():
            self._channel._recv_window += size
            self._channel.send_packet(MSG_CHANNEL_WINDOW_ADJUST, UInt32(size))
