"""frames: what goes between aether and a machine's PTY host."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aether.terminals.frames import MAX_FRAME_BYTES, FrameError, FrameReader, decode, frame, json_frame


@given(st.lists(st.tuples(st.sampled_from("ABCD"), st.binary(max_size=40))), st.data())
def test_frames_that_come_in_any_pieces_are_those_that_were_sent(frames, data):
    """Kind and payload, in order."""
    sent, came = b"".join(frame(*one) for one in frames), []
    reader = FrameReader(lambda kind, payload: came.append((chr(kind), payload)))
    while sent:
        size = data.draw(st.integers(1, len(sent)))
        reader.feed(sent[:size])
        sent = sent[size:]
    assert came == frames


def test_a_frame_longer_than_any_may_be_is_refused_before_it_has_come():
    """A forged length takes no memory."""
    with pytest.raises(FrameError, match="4294967295 bytes"):
        FrameReader(lambda *_: None).feed(struct.pack(">IB", 0xFFFFFFFF, 0x44))
    assert MAX_FRAME_BYTES <= 1 << 20


def test_a_frame_that_comes_byte_by_byte_is_not_copied_for_each():
    """A machine could keep the server busy so."""
    came, whole = [], frame("D", b"x" * 100_000)
    reader = FrameReader(lambda kind, payload: came.append(len(payload)))
    for byte in whole:
        reader.feed(bytes([byte]))
    assert came == [100_000]


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b"\xff", b"[" * 200_000])
def test_what_is_no_json_object_is_refused(payload):
    """A machine may say anything."""
    with pytest.raises(FrameError):
        decode(payload)


def test_a_json_frame_is_decoded_to_what_it_was_made_of():
    """Both ends agree."""
    assert decode(json_frame("O", {"id": "é"})[5:]) == {"id": "é"}
