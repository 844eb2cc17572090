"""The images themselves, built and tried by a real engine where there is one that can fetch what they are made from."""

import json
import os
import re
import shlex
import subprocess
from pathlib import Path

import asyncssh
import pytest

from aether.emulator.runtimes.base import ENGINES

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


NAME = f"aether-server-test-{os.getpid()}"
PASSWORD = "correct horse battery staple"
GIVEN = {
    "AETHER_LOGIN": f"aether:{{PLAIN}}{PASSWORD}",
    "AETHER_FLY_API_TOKEN": "FlyV1 fm2_secret",
    "AETHER_FLY_APP_NAME": "my-machines",
    "AETHER_SSH_HOST": "127.0.0.1",
    "FLY_FLAPS_BASE_URL": "http://127.0.0.1:4280",
}
START = "python -m aether.emulator --token fm2_secret --runtime fast --state-dir /tmp/fly & exec infra/server/start"
ASK = """
import base64, http.client, sys
login = base64.b64encode(f"aether:{sys.argv[1]}".encode()).decode()
asked = http.client.HTTPConnection("127.0.0.1", 8080)
asked.request("GET", "/machines", headers={"Authorization": f"Basic {login}"})
print(asked.getresponse().status)
"""


@pytest.fixture(params=ENGINES)
def server(request, server_image):
    """`server("exec", NAME, …)` → what an engine prints; the container NAME has a server and an emulated Fly."""
    engine, image = request.param, server_image(request.param)

    def run(*argv, **environ):
        env = {**os.environ, **environ}
        return subprocess.run([engine, *argv], env=env, check=True, stdout=subprocess.PIPE, text=True).stdout

    key = asyncssh.generate_private_key("ssh-ed25519").export_private_key().decode()
    given = {**GIVEN, "AETHER_SSH_PRIVATE_KEY": key}
    run("run", "--detach", "--name", NAME, *(f"--env={each}" for each in given), image, "bash", "-c", START, **given)
    yield run
    subprocess.run([engine, "logs", NAME], check=False)  # shown where the test fails
    run("rm", "--force", NAME)


def test_the_servers_image_is_built_and_serves_whoever_has_its_password(server):
    """As a user of its own; its health check says when it is ready, and SIGTERM is a clean end."""
    text = (ROOT / "infra/server/Dockerfile").read_text()
    check = shlex.join(json.loads(re.search(r"^    CMD (\[.*\])$", text, re.MULTILINE)[1]))
    server("exec", NAME, "timeout", "60", "bash", "-c", f"until {check} 2>/dev/null; do sleep 0.1; done")
    assert server("exec", NAME, "id", "-u") == "10001\n"
    answers = [server("exec", NAME, "python", "-c", ASK, password) for password in (PASSWORD, "guessed")]
    assert answers == ["200\n", "401\n"]
    server("stop", "-t", "30", NAME)
    assert server("inspect", "--format", "{{.State.ExitCode}}", NAME) == "0\n"
