"""The program that runs inside the terminals: a busy writer, a known text, a reader that counts.

It stands alone (standard library, any Python 3): on a machine that does not see this folder its text is typed in.

    inside.py busy BYTES_A_SECOND       write coloured lines for ever
    inside.py bulk BYTES CHUNK          say ready, wait for a byte, write the known text CHUNK bytes at a time
    inside.py sink BYTES BYTES_A_SECOND read so many bytes at such a pace (0: as fast as they come), print their SHA-256
"""

import hashlib
import os
import sys
import termios
import time
import tty
from collections.abc import Iterator

READY = b"\x1e<ready>\x1e"
DONE = b"\x1e<done>\x1e"
LINE = "\x1b[3{}m{:08d} Grüße aus Köln, 世界 — 🚀 ▓▒░ ação, Ωμέγα, ещё строка текста, plain ASCII, too ░▒▓\x1b[0m\r\n"


def text(size: int) -> Iterator[bytes]:
    """Yield `size` bytes of coloured, multi-byte text, no two lines alike, the last line filled up with `x`."""
    number = 0
    while size:
        block = "".join(LINE.format(n % 8, n) for n in range(number, number + 512)).encode()
        if len(block) > size:
            block = b"x" * size
        yield block
        number += 512
        size -= len(block)


def write(data: "bytes | memoryview") -> None:
    """Write all of it to the terminal."""
    while data:
        data = data[os.write(1, data) :]


def busy(rate: int) -> None:
    """Write `rate` bytes a second, twenty times a second."""
    line = b"\x1b[32mbuilding\x1b[0m some/file/or/other.c ... ok\r\n"
    portion = (line * (rate // 20 // len(line) + 1))[: rate // 20]
    while True:
        write(portion)
        time.sleep(0.05)


def bulk(size: int, chunk: int) -> None:
    """Write the known text when told, in pieces of `chunk` bytes; wait to be told again before the end."""
    whole = memoryview(b"".join(text(size)) + DONE)
    write(READY)
    os.read(0, 1)
    if chunk == 1:
        for place in range(len(whole)):
            os.write(1, whole[place : place + 1])
    else:
        for place in range(0, len(whole), chunk):
            write(whole[place : place + chunk])
    os.read(0, 1)


def sink(size: int, rate: int) -> None:
    """Read `size` bytes, tell their SHA-256."""
    digest = hashlib.sha256()
    write(READY)
    left = size
    while left:
        data = os.read(0, min(left, 4096))
        digest.update(data)
        left -= len(data)
        if rate:
            time.sleep(len(data) / rate)
    write(b"\x1e%s\x1e" % digest.hexdigest().encode() + DONE)


def main() -> None:
    """Do it with a raw terminal, and give it back as it was."""
    before = termios.tcgetattr(0)
    tty.setraw(0)
    try:
        numbers = [int(text) for text in sys.argv[2:]]
        if sys.argv[1] == "busy":
            busy(*numbers)
        else:
            (bulk if sys.argv[1] == "bulk" else sink)(*numbers)
    finally:
        termios.tcsetattr(0, termios.TCSANOW, before)


if __name__ == "__main__":
    main()
