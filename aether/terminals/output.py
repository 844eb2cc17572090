"""Output of a PTY as text: whole UTF-8 characters, cut into messages (pure)."""

import codecs
from collections import deque
from collections.abc import Iterator

MAX_MESSAGE_BYTES = 64 * 1024  # of UTF-8: a slow client can acknowledge, and draw, only whole messages

MAX_INVALID_BYTES = MAX_MESSAGE_BYTES // 3 - 3  # a byte becomes three where it is invalid


class Utf8:
    """Makes valid UTF-8 of what comes in pieces: half a character waits for its rest, invalid bytes become U+FFFD."""

    def __init__(self, rest: bytes = b"") -> None:
        self._rest = rest

    @property
    def rest(self) -> bytes:
        """What has come of a character that is not whole yet."""
        return self._rest

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


class Positions:
    """Whole characters of a log's output, with the offset in the log after them.

    An offset counts the bytes that the program wrote, also where they were invalid and have become U+FFFD.
    """

    def __init__(self, offset: int) -> None:
        self._end = offset  # of what was taken
        self._utf8 = Utf8()

    @property
    def offset(self) -> int:
        """The offset after the last whole character: where to go on with a decoder of one's own."""
        return self._end - len(self._utf8.rest)

    def take(self, data: bytes, is_last: bool = False) -> Iterator[tuple[bytes, int]]:
        """Cut output into texts of at most MAX_MESSAGE_BYTES, each with the offset after it."""
        before, rest = self.offset, self._utf8.rest
        text = self._utf8.take(data, is_last)
        self._end += len(data)
        if len(text) == self.offset - before:
            for piece in pieces(text) if text else ():
                before += len(piece)
                yield piece, before
        elif len(text) <= MAX_MESSAGE_BYTES:
            yield text, self.offset
        else:  # some of it is invalid, so how long a text is says nothing about where it ends: cut before decoding
            self._end, self._utf8 = self._end - len(data), Utf8(rest)
            for start in range(0, len(data), MAX_INVALID_BYTES):
                end = start + MAX_INVALID_BYTES
                yield from self.take(data[start:end], is_last and end >= len(data))


class Marks:
    """How far a client that counts what it has drawn has come in a session's log."""

    def __init__(self) -> None:
        self._marks: deque[tuple[int, int]] = deque()  # of messages not drawn: UTF-8 sent up to each, and its offset
        self._sent = self._drawn = 0

    def sent(self, size: int, offset: int) -> None:
        """Note a message of `size` bytes of UTF-8, and the offset after it."""
        self._sent += size
        self._marks.append((self._sent, offset))

    def drawn(self, size: int) -> int | None:
        """Note that so much more was drawn; return the offset of what is drawn now if that is another."""
        self._drawn = min(self._drawn + size, self._sent)
        offset = None
        while self._marks and self._marks[0][0] <= self._drawn:
            offset = self._marks.popleft()[1]
        return offset

    def clear(self) -> None:
        """Forget the offsets: what is sent from here on is of another log."""
        self._marks.clear()


def pieces(text: bytes, most: int = MAX_MESSAGE_BYTES) -> Iterator[bytes]:
    """Cut UTF-8 between characters into pieces of at most `most` bytes.

    The bytes inside of a character begin with the bits 10 (RFC 3629, section 3).
    """
    start = 0
    while len(text) - start > most:
        end = start + most
        while text[end] & 0xC0 == 0x80:
            end -= 1
        yield text[start:end]
        start = end
    yield text[start:] if start else text
