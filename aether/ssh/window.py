"""ReceiveWindow: the flow control of one SSH channel (RFC 4254, section 5.2), driven by what the client has drawn."""

from aether.ssh import internals


class ReceiveWindow:
    """How much the far side of a channel may send; it begins as the window the channel was opened with."""

    def __init__(self, channel: internals.AnyChannel) -> None:
        self._channel = channel
        internals.stop_automatic_grants(channel)

    @property
    def left(self) -> int:
        """How many bytes the far side may still send."""
        return internals.window_left(self._channel)

    def grant(self, size: int) -> None:
        """Let the far side send `size` bytes more; does nothing on a channel that is closing."""
        if size and not self._channel.is_closing():
            internals.adjust_window(self._channel, size)
