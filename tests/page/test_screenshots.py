"""The README's pictures can be taken again, with one command."""

import asyncio
import struct
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SIZES = {"terminal": (1100, 620), "stopped": (1100, 620), "start": (1100, 660), "phone": (585, 990)}
MAX_BYTES = 150_000


def size_of(picture):
    """Return a PNG's width and height."""
    assert picture.startswith(b"\x89PNG")
    return struct.unpack(">II", picture[16:24])


@pytest.mark.patience(180)
@pytest.mark.gen_test
async def test_the_pictures_are_of_the_real_thing(need, tmp_path):
    """Four scenes, small enough to be committed, each with something on it."""
    need("vim")
    need("chromium")
    process = await asyncio.create_subprocess_exec(
        sys.executable, ROOT / "scripts" / "screenshots.py", tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        process._transport.close()
    assert process.returncode == 0, said.decode()
    pictures = {path.stem: path.read_bytes() for path in tmp_path.iterdir()}
    assert {name: size_of(picture) for name, picture in pictures.items()} == SIZES
    assert all(10_000 < len(picture) < MAX_BYTES for picture in pictures.values())


@pytest.mark.parametrize("name", SIZES)
def test_the_readme_shows_each_picture(name):
    """And the one that is committed is small, too."""
    path = f"tests/screenshots/{name}.png"
    assert path in (ROOT / "README.md").read_text()
    picture = (ROOT / path).read_bytes()
    assert size_of(picture) == SIZES[name]
    assert len(picture) < MAX_BYTES
