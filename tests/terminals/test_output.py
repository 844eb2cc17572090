"""output: bytes become whole characters, and pieces of them."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from aether.terminals.output import Utf8, pieces

# parts of characters of one to four bytes, and bytes that no character has or that come too soon
PARTS = [b"a", b"\xc3", b"\xa9", "日".encode(), b"\xe6", b"\x97\xa5", "🐢".encode(), b"\xf0\x9f", b"\x90\xa2", b"\xff"]
PARTS += [b"\xed\xa0\x80", b"\xf4\x90", b"\xe0\x80", b"\xc0\x80"]  # half a surrogate pair; beyond Unicode; too long


@settings(deadline=None)
@given(st.lists(st.sampled_from(PARTS) | st.binary(max_size=6)), st.data())
def test_bytes_cut_anywhere_become_the_text_that_they_are_together(parts, data):
    """As Python has it, invalid bytes and half a character at the end as U+FFFD; each piece by itself is whole."""
    whole, utf8, seen = b"".join(parts), Utf8(), b""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=len(whole))))
    for start, end in pairwise([0, *cuts]):
        taken = utf8.take(whole[start:end])
        assert taken == taken.decode().encode()
        seen += taken
    seen += utf8.take(whole[max(cuts, default=0) :], is_last=True)
    assert seen.decode() == whole.decode("utf-8", "replace")


@settings(deadline=None)
@given(st.text(st.sampled_from("aé日🐢"), max_size=40), st.integers(4, 12))
def test_text_is_cut_into_messages_between_characters(text, most):
    """None is longer than the most, nor empty where there is text."""
    cut = list(pieces(text.encode(), most))
    assert "".join(piece.decode() for piece in cut) == text
    assert all(len(piece) <= most for piece in cut)
    assert all(cut) or not text
