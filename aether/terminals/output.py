"""Output of a PTY as text: whole UTF-8 characters, cut into messages (pure)."""

import codecs
from collections.abc import Iterator

MAX_MESSAGE_BYTES = 64 * 1024  # of UTF-8: a slow client can acknowledge, and draw, only whole messages


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
