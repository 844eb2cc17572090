"""The frames that a PTY host and its clients exchange; `infra/images/base/pty_host.py` lists them (pure)."""

import json
import struct
from collections.abc import Callable
from typing import Any

PROTOCOL = 1
SPOKEN = (PROTOCOL,)  # a host that was started by an earlier server goes on with its sessions
MAX_FRAME_BYTES = 1 << 20  # a list of a thousand sessions is a third of that
HEAD = struct.Struct(">IB")
OFFSET = struct.Struct(">Q")
SIZE = struct.Struct(">QHH")
TAKEN = struct.Struct(">QI")
OUTPUT_HEAD_BYTES = HEAD.size + OFFSET.size


class FrameError(ValueError):
    """What came is no frame; the text says why."""


def frame(kind: str, payload: bytes = b"") -> bytes:
    """Return a frame."""
    return HEAD.pack(len(payload), ord(kind)) + payload


def json_frame(kind: str, content: dict[str, Any]) -> bytes:
    """Return a frame whose payload is JSON."""
    return frame(kind, json.dumps(content).encode())


def input_frame(offset: int, data: bytes) -> bytes:
    """Return a frame with input, from `offset` of its client's count."""
    return frame("I", OFFSET.pack(offset) + data)


def drawn_frame(offset: int) -> bytes:
    """Return a frame that says up to which offset output has been drawn."""
    return frame("A", OFFSET.pack(offset))


def size_frame(cols: int, rows: int) -> bytes:
    """Return a frame with a new window size in cells."""
    return frame("R", struct.pack(">HH", cols, rows))


def decode(payload: bytes) -> dict[str, Any]:
    """Return the JSON object in a payload; raise FrameError."""
    try:
        content = json.loads(payload)
    except ValueError as error:
        raise FrameError(str(error)) from error
    if not isinstance(content, dict):
        raise FrameError("not a JSON object")
    return content


class FrameReader:
    """Cuts what comes in pieces into frames.

    Args:
        take: called for each whole frame, with its kind and its payload.
    """

    def __init__(self, take: Callable[[int, bytes], None]) -> None:
        self._take = take
        self._rest = bytearray()
        self._needed = 0  # bytes before there is a whole frame

    def feed(self, data: bytes) -> None:
        """Take bytes; raise FrameError for a frame that is longer than any may be."""
        if self._rest:
            self._rest += data
            if len(self._rest) < self._needed:  # a copy for each byte of a frame would be a machine's way to keep us busy
                return
            data = bytes(self._rest)
            self._rest.clear()
        at, end = 0, HEAD.size
        while end <= len(data):
            size, kind = HEAD.unpack_from(data, at)
            if size > MAX_FRAME_BYTES:
                raise FrameError(f"a frame of {size} bytes")
            end += size
            if end > len(data):
                break
            self._take(kind, data[at + HEAD.size : end])
            at, end = end, end + HEAD.size
        self._rest += data[at:]
        self._needed = end - at
