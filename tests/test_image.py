"""infra/images/base: the image itself, built and tried by a real engine where there is one that can fetch its base."""

import os
import subprocess
from pathlib import Path

import pytest

from aether.emulator.containers import ENGINES

ROOT = Path(__file__).parent.parent


@pytest.fixture(params=ENGINES)
def engine(request, machine_image):
    """An engine that works, and has built all of the image but the key."""
    machine_image(request.param)
    return request.param


def test_the_image_is_built_and_does_all_that_a_machine_must(engine, need, tmp_path):
    """Its size, its tools, its SSH server, our key in it, its end, and its files after a restart."""
    key = tmp_path / "key"
    subprocess.run([need("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    options = os.environ.get("AETHER_TEST_BUILD_OPTIONS", "").split()
    argv = [ROOT / "scripts/build-image.sh", "--engine", engine, "--app", "aether-test", "--", *options]
    environ = {**os.environ, "AETHER_SSH_PRIVATE_KEY_FILE": str(key)}
    done = subprocess.run(argv, env=environ, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    listed = ["images", "--quiet", "registry.fly.io/aether-test/base"]
    images = subprocess.run([engine, *listed], check=True, capture_output=True, text=True).stdout.split()
    if images:
        subprocess.run([engine, "rmi", "--force", *images], check=True, stdout=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout[-3000:]
    for line in ("sshd answers", "login with the key", "login with the image's", "files after a restart"):
        assert f"\n  {line}" in done.stdout
