"""What tests of the runtimes share: a machine's files."""

from pathlib import Path

import pytest

from aether.emulator.runtimes.rootfs import Rootfs


@pytest.fixture
def rootfs(tmp_path: Path) -> Rootfs:
    """A machine's root filesystem, prepared once."""
    rootfs = Rootfs(tmp_path / "rootfs")
    rootfs.prepare()
    return rootfs
