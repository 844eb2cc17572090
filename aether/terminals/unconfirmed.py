"""Unconfirmed: input that a session's host has not confirmed, to be sent again, and written once (pure)."""


class Unconfirmed:
    """Input of one client, by its offset: bytes since the client's first one."""

    def __init__(self) -> None:
        self._taken = self._next = 0
        self._sent = 0  # up to here it went over the present channel
        self._data = bytearray()  # from `_taken` on

    @property
    def taken(self) -> int:
        """The offset up to which the host has taken it."""
        return self._taken

    @property
    def size(self) -> int:
        """How much the host has not confirmed."""
        return len(self._data)

    @property
    def has_more(self) -> bool:
        """Whether some of it was not sent over this channel."""
        return self._sent < self._next

    @property
    def on_its_way(self) -> int:
        """How much was sent over this channel and is not confirmed."""
        return self._sent - self._taken

    def add(self, data: bytes, offset: int | None) -> None:
        """Add input; what came before is left out, and what leaves a gap: its client sends that again."""
        offset = self._next if offset is None else offset
        if offset <= self._next < offset + len(data):
            self._data += data[self._next - offset :]
            self._next = offset + len(data)

    def take(self, most: int) -> tuple[int, bytes]:
        """Return what to send next, at most `most` bytes of whole characters, and its offset."""
        offset = self._sent
        start = offset - self._taken
        end = start + most
        while end < len(self._data) and self._data[end] & 0xC0 == 0x80:  # in a character (RFC 3629, section 3)
            end -= 1
        data = bytes(self._data[start:end])
        self._sent += len(data)
        return offset, data

    def confirm(self, taken: int) -> None:
        """Drop what the host has taken."""
        if self._taken < taken <= self._next:
            del self._data[: taken - self._taken]
            self._taken = taken

    def restart(self, taken: int, is_same: bool) -> None:
        """Begin on another channel; all that the host lacks is sent again, to the same shell and to no other."""
        if is_same and self._taken <= taken <= self._next:
            self.confirm(taken)
        else:  # an earlier server had sent more than this one knows of, or the shell is a new one
            self._data.clear()
            self._taken = self._next = taken
        self._sent = self._taken
