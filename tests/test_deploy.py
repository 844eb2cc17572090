"""scripts/deploy.sh against a flyctl that plays Fly in a file: what is called, in which order, and what never is."""

import base64
import hashlib
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from aether.settings import SETTINGS

pytestmark = pytest.mark.outside

ROOT = Path(__file__).parent.parent
SERVER = ("--server", "my-server")
ORDER = [
    "auth whoami",
    "apps list",
    "apps create my-machines",
    "ips allocate-v6",
    "build-image",
    "auth docker",
    "build-image --no-try --push",
    "apps create my-server",
    "tokens create deploy",
    "secrets import",
    "deploy",
]
CHANGES = [call for call in ORDER if call not in ("auth whoami", "apps list")]


class Fly:
    """A Fly account, a copy of what deploy.sh needs of the checkout, and the verbs of these tests."""

    def __init__(self, folder):
        self.folder, self.checkout, self.bin = folder, folder / "checkout", folder / "bin"
        self.keys = folder / "keys"
        (self.checkout / "scripts").mkdir(parents=True)
        self.bin.mkdir()
        for name in ("deploy.sh", "python.sh", "smoke.py"):
            shutil.copy(ROOT / "scripts" / name, self.checkout / "scripts")
        for name in ("aether", "infra", "server.py", "static"):
            (self.checkout / name).symlink_to(ROOT / name)
        self._program(self.bin / "flyctl", f'exec {sys.executable} -IS {ROOT}/tests/fake_flyctl.py "$@"')
        self._program(self.bin / "python3", f'exec {sys.executable} "$@"')
        self._program(self.checkout / ".venv/bin/python", f'exec {sys.executable} "$@"')
        build = '[ -f "$AETHER_SSH_PRIVATE_KEY_FILE" ] && echo "[\\"build-image${*:+ $*}\\"]" >>"$FAKE_FLY/calls"'
        fail = '[ "build-image${*:+ $*}" != "$(cat "$FAKE_FLY/fail-build" 2>/dev/null)" ]'
        self._program(self.checkout / "scripts/build-image.sh", f"{build} && {fail}")
        self.write({"user": "me@example.com", "apps": {}, "tokens": []})

    @staticmethod
    def _program(path, text):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def write(self, state):
        (self.folder / "state.json").write_text(json.dumps(state))

    @property
    def state(self):
        return json.loads((self.folder / "state.json").read_text())

    def app(self, name, **more):
        """Let an app be there already."""
        state = self.state
        state["apps"][name] = {"network": "default", "ips": [], "secrets": {}, "deploys": [], "machines": [], **more}
        self.write(state)

    def start(self, *argv, **environ):
        """Start the script, in a process group of its own, as at a prompt."""
        env = {key: value for key, value in os.environ.items() if not key.startswith(("FLY_", "AETHER_"))}
        env |= {"PATH": f"{self.bin}:/usr/bin:/bin", "FAKE_FLY": str(self.folder), "AETHER_DEPLOY_DIR": str(self.keys)}
        env |= {"FLY_APP_NAME": "my-machines", **environ}
        (self.folder / "calls").write_text("")
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        command = [self.checkout / "scripts/deploy.sh", *argv]
        return subprocess.Popen(command, cwd=self.folder, env=env, start_new_session=True, **pipes)

    def deploy(self, *argv, smoke=False, **environ):
        """Run the script; keep what it printed and which programs it called."""
        with self.start(*argv, *([] if smoke else ["--no-smoke-test"]), **environ) as script:
            try:
                self.output = "".join(script.communicate())
            finally:
                script.kill()
        self.argv = [json.loads(line) for line in (self.folder / "calls").read_text().splitlines()]
        return script.returncode

    @property
    def calls(self):
        """The calls by the names of ORDER."""
        texts = [" ".join(argv) for argv in self.argv]
        return [next((name for name in ORDER[::-1] if text.startswith(name)), text) for text in texts]

    def printed(self):
        """The commands that the script said it runs, with what differs from run to run taken out."""
        return [
            re.sub(r"\d{4,5}(?=:8080|/|$| )", "PORT", line) for line in self.output.splitlines() if line[:2] == "+ "
        ]


@pytest.fixture
def fly(tmp_path):
    """An account with nothing in it."""
    return Fly(tmp_path)


@pytest.fixture(scope="module")
def deployed(tmp_path_factory):
    """What a first deployment left behind, for tests that only look."""
    fly = Fly(tmp_path_factory.mktemp("deployed"))
    assert fly.deploy(*SERVER, FLY_REGION="fra", AETHER_MEMORY_MB="1024") == 0, fly.output
    return fly


@pytest.fixture
def again(fly, deployed):
    """An account in which everything is deployed, for tests that deploy once more."""
    fly.write(deployed.state)
    shutil.copytree(deployed.keys, fly.keys)
    return fly


def test_a_first_deployment_makes_everything_in_order(deployed):
    """Apps, address, image, then the server with its secrets staged before its first start."""
    assert deployed.calls == ORDER


def test_a_second_deployment_makes_nothing_twice(again):
    """It brings image and server up to date; the token stays the one it has."""
    before = again.state
    assert again.deploy(*SERVER) == 0, again.output
    assert [call for call in again.calls if call in CHANGES] == [*ORDER[4:7], "secrets import", "deploy"]
    for part in ("ips", "network"):
        assert again.state["apps"]["my-machines"][part] == before["apps"]["my-machines"][part]
    assert again.state["tokens"] == before["tokens"]


def test_a_run_that_fails_anywhere_stops_there_and_the_next_goes_on(fly):
    """Whatever fails, nothing after it is done, and running the script again is the remedy."""
    for step in CHANGES:
        if step.startswith("build-image"):
            (fly.folder / "fail-build").write_text(step)
        else:
            (fly.folder / "fail").write_text(" ".join(word for word in step.split() if not word.startswith("my-")))
        assert fly.deploy(*SERVER) == 1, f"{step}: {fly.output}"
        assert fly.calls[-1] == step
        assert "run this again" in fly.output
        (fly.folder / "fail-build").unlink(missing_ok=True)
    assert fly.deploy(*SERVER) == 0
    assert set(fly.state["apps"]) == {"my-machines", "my-server"}
    assert fly.state["apps"]["my-machines"]["ips"] == ["v6"]
    assert set(fly.state["apps"]["my-server"]["secrets"]) == {
        "AETHER_FLY_API_TOKEN",
        "AETHER_LOGIN",
        "AETHER_SSH_PRIVATE_KEY",
    }


def test_the_token_opens_the_machines_app_and_only_the_server_has_it(deployed):
    """All machines of an app see the app's secrets, and users are root in theirs."""
    apps, (token,) = deployed.state["apps"], deployed.state["tokens"]
    assert apps["my-machines"]["secrets"] == {}
    assert apps["my-server"]["secrets"]["AETHER_FLY_API_TOKEN"] == token["token"]
    assert token["app"] == "my-machines"
    assert token["flags"]["--expiry"] == ["8760h"]


def test_no_secret_is_printed_or_on_a_command_line(deployed):
    """Command lines are readable by every user of a computer, and output ends up in logs."""
    secrets = list(deployed.state["apps"]["my-server"]["secrets"].values())
    secrets += [*secrets[0].splitlines(), (deployed.keys / "my-server.password").read_text()]
    seen = deployed.output + json.dumps(deployed.argv)
    for secret in filter(None, secrets):
        assert secret not in seen, secret


def test_the_secrets_arrive_whole(deployed):
    """The key with all its lines, and a log-in that the password in the file fits."""
    secrets = deployed.state["apps"]["my-server"]["secrets"]
    assert secrets["AETHER_SSH_PRIVATE_KEY"] == (deployed.keys / "my-machines.key").read_text()
    user, _, hashed = secrets["AETHER_LOGIN"].partition(":{SSHA}")
    digest, salt = (both := base64.b64decode(hashed))[:20], both[20:]
    assert user == "aether"
    assert len(salt) == 16
    assert digest == hashlib.sha1((deployed.keys / "my-server.password").read_bytes() + salt).digest()


def test_what_is_made_on_this_computer_is_for_its_user_only(deployed):
    """Key and password, and the folder they are in."""
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (deployed.keys, *deployed.keys.iterdir())}
    assert modes == {"keys": 0o700, "my-machines.key": 0o600, "my-machines.key.pub": 0o644, "my-server.password": 0o600}


def test_the_server_is_one_machine_without_a_public_address(deployed):
    """aether has no log-in of its own: nothing of it may be on the internet."""
    server = deployed.state["apps"]["my-server"]
    (deploy,) = server["deploys"]
    flags = deploy["flags"]
    assert server["ips"] == []
    assert {"--ha=false", "--no-public-ips"} <= set(flags)
    assert (deploy["at"], deploy["where"]) == (str(deployed.checkout), ["."])
    assert flags["--region"] == ["fra"]
    assert set(flags["--env"]) == {
        "AETHER_FLY_APP_NAME=my-machines",
        "AETHER_FLY_REGION=fra",
        "AETHER_MEMORY_MB=1024",
        "AETHER_SSH_NETWORK=public",
        "AETHER_ALLOWED_ORIGINS=http://my-server.internal:8080",
    }
    for flag in ("--config", "--dockerfile", "--ignorefile"):
        assert (ROOT / flags[flag][0]).is_file()


def test_who_has_deployed_is_told_how_to_reach_the_server(deployed):
    """The tunnel, the addresses, and where the password is."""
    for line in (
        "    flyctl proxy 8080:8080 --app my-server",
        f"    open http://localhost:8080/   as user aether, with the password in {deployed.keys}/my-server.password",
        "From a WireGuard peer of yours (flyctl wireguard create) it is http://my-server.internal:8080/",
    ):
        assert line in deployed.output.splitlines()


def test_a_server_on_fly_gets_every_setting_that_makes_sense_there():
    """A setting that is new in aether is passed on, or left out here on purpose."""
    script = (ROOT / "scripts/deploy.sh").read_text()
    start = (ROOT / "infra/server/start").read_text()
    here = {"AETHER_ADDRESS", "AETHER_PORT", "AETHER_STATE_DIR", "AETHER_LOG_FORMAT", "FLY_FLAPS_BASE_URL"}
    local = {"AETHER_EMULATOR_RUNTIME"}
    for name in {setting.metadata["env"] for setting in SETTINGS} - here - local:
        assert name in script, name
    assert all(name in start for name in ("FLY_API_TOKEN", "FLY_APP_NAME", "FLY_REGION"))


def test_without_a_server_only_the_machines_app_is_made(fly):
    """Who runs the server elsewhere is told how to start it."""
    assert fly.deploy() == 0
    assert set(fly.state["apps"]) == {"my-machines"}
    assert fly.state["tokens"] == []
    key = f"AETHER_SSH_PRIVATE_KEY_FILE={fly.keys}/my-machines.key"
    assert f"    FLY_APP_NAME=my-machines AETHER_SSH_NETWORK=public {key} ./scripts/serve\n" in fly.output


@pytest.mark.parametrize(
    ("network", "options", "there", "addresses"),
    [
        ("public", (), [], ["v6"]),
        ("public", (), ["shared_v4", "private_v6"], ["shared_v4", "private_v6", "v6"]),
        ("public", (), ["v4"], ["v4"]),
        ("public", ("--address", "v4"), ["v6"], ["v6", "v4"]),
        ("private", (), [], []),
    ],
)
def test_the_machines_app_gets_the_address_that_its_network_needs(fly, network, options, there, addresses):
    """Raw TCP needs a dedicated IPv4 or an IPv6; a private network needs none."""
    fly.app("my-machines", ips=there)
    assert fly.deploy(*options, AETHER_SSH_NETWORK=network) == 0
    assert fly.state["apps"]["my-machines"]["ips"] == addresses


def test_users_machines_share_a_network_only_where_they_must(fly, deployed):
    """One private network is flat, and users are root in their machines."""
    assert deployed.state["apps"]["my-machines"]["network"] == "my-machines"
    assert deployed.state["apps"]["my-server"]["network"] == "default"
    fly.deploy(AETHER_SSH_NETWORK="private")
    assert fly.state["apps"]["my-machines"]["network"] == "default"


def test_a_dry_run_changes_nothing_and_prints_what_a_real_run_would_do(fly):
    """The very commands, in their order."""
    before = fly.state
    assert fly.deploy(*SERVER, "--dry-run") == 0, fly.output
    assert fly.calls == ["auth whoami", "apps list"]
    assert fly.state == before
    assert not fly.keys.exists()
    planned = fly.printed()
    fly.deploy(*SERVER)
    assert planned == fly.printed()
    assert len(planned) == len(ORDER) + len(["mkdir", "ssh-keygen", "mkdir", "password"]) - 1  # one folder for both


def test_a_new_token_is_made_when_asked_for(again):
    """Tokens end after a year."""
    assert again.deploy(*SERVER, "--new-token") == 0
    assert len(again.state["tokens"]) == 2
    assert again.state["apps"]["my-server"]["secrets"]["AETHER_FLY_API_TOKEN"] == again.state["tokens"][1]["token"]


def test_a_token_that_no_server_got_can_be_found_and_ended(fly):
    """It is made before its server's secrets are set, and the next run makes another one."""
    (fly.folder / "fail").write_text("secrets import")
    assert fly.deploy(*SERVER) == 1
    [name] = fly.state["tokens"][0]["flags"]["--name"]
    assert f'look for "{name}" in `flyctl tokens list --app my-machines`' in fly.output
    assert "`flyctl tokens revoke ID`" in fly.output
    assert fly.deploy(*SERVER) == 0
    (fly.folder / "fail").write_text("secrets import")
    assert fly.deploy(*SERVER) == 1
    assert "tokens revoke" not in fly.output


def test_a_second_computer_cannot_lock_the_machines_by_a_new_key(again):
    """Machines that exist open to the key that they were created with."""
    shutil.rmtree(again.keys)
    assert again.deploy(*SERVER) == 1
    assert "AETHER_SSH_PRIVATE_KEY_FILE" in again.output
    assert not set(again.calls) & set(CHANGES)


def test_machines_that_are_there_keep_their_key_though_no_server_knows_it(fly):
    """Who runs the server elsewhere has the key elsewhere."""
    fly.app("my-machines", machines=["148ed"])
    assert fly.deploy() == 1
    assert "AETHER_SSH_PRIVATE_KEY_FILE" in fly.output
    assert not set(fly.calls) & set(CHANGES)


def test_a_second_computer_leaves_a_password_that_it_does_not_know(again):
    """It stays the one that its users have."""
    (again.keys / "my-server.password").unlink()
    before = again.state["apps"]["my-server"]["secrets"]
    assert again.deploy(*SERVER) == 0
    assert again.state["apps"]["my-server"]["secrets"] == before
    assert not (again.keys / "my-server.password").exists()


def test_a_short_password_is_refused_before_a_token_is_made(fly, tmp_path):
    """Anyone on the private network can guess. Its file may be named from where the user is."""
    (tmp_path / "password").write_text("hunter2\n")
    assert fly.deploy(*SERVER, AETHER_PASSWORD_FILE="password") == 1
    assert "20 characters" in fly.output
    assert fly.state["tokens"] == []


@pytest.mark.parametrize(
    ("argv", "environ", "said"),
    [
        ((), {"FLY_APP_NAME": ""}, "FLY_APP_NAME is not set"),
        (("--server", "my-machines"), {}, "another app"),
        (("--server",), {}, "--server needs a value"),
        (("--address", "v5"), {}, "v6 or v4"),
        (("--servant",), {}, "--servant is no option"),
        ((), {"AETHER_SSH_NETWORK": "flat"}, "public or private"),
        ((), {"PATH": "/usr/bin:/bin"}, "flyctl is not installed"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_done(fly, argv, environ, said):
    """With what to do about it."""
    assert fly.deploy(*argv, **environ) == 1
    assert said in fly.output
    assert fly.calls == []


def test_who_is_not_logged_in_is_told_how_to(fly):
    """Before anything else is asked of Fly."""
    fly.write({**fly.state, "user": None})
    assert fly.deploy() == 1
    assert "flyctl auth login" in fly.output
    assert fly.calls == ["auth whoami"]


def test_help_names_every_option(fly):
    """And every option that the script knows is in it."""
    assert fly.deploy("--help") == 0
    known = re.findall(r"^    (--[\w |-]+)\)", (ROOT / "scripts/deploy.sh").read_text(), re.MULTILINE)
    options = [option for line in known for option in line.split(" | ")]
    assert "--server" in options
    assert all(f"\n  {option}" in fly.output for option in options)


@pytest.fixture
def program(tmp_path, server_environ):
    """`program("server.py", …)` → the port of a program of ours that has said its URL."""
    started = []

    def start(*argv, **more):
        env = {key: value for key, value in os.environ.items() if not key.startswith(("FLY_", "AETHER_"))}
        env |= {**server_environ, **more}
        with (tmp_path / "log").open("a") as log:
            process = subprocess.Popen([sys.executable, *argv], cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=log)
        started.append(process)
        return int(re.search(rb"http://127.0.0.1:(\d+)", process.stdout.readline())[1])

    yield start
    for process in started:
        process.terminate()
        process.communicate()


def test_the_smoke_test_uses_the_deployed_server_and_leaves_nothing(fly, program):
    """Through `flyctl proxy`, as its users do: create, a command in the terminal, destroy. A dry run says so before."""
    port = program("server.py", "--port", "0")
    assert fly.deploy(*SERVER, "--dry-run", smoke=True) == 0, fly.output
    planned, login = fly.printed(), f"--password-file {fly.keys}/my-server.password"
    assert planned[-2:] == [
        "+ flyctl proxy PORT:PORT --app my-server",  # the second, 8080, looks like one, too
        f"+ .venv/bin/python scripts/smoke.py --url http://localhost:PORT {login}",
    ]
    assert fly.deploy(*SERVER, smoke=True, FAKE_FLY_SERVER_PORT=str(port)) == 0, fly.output
    assert "its terminal runs a command" in fly.output
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/machines") as answer:
        assert json.load(answer) == {"machines": []}
    assert fly.argv[-1][0] == "proxy"
    assert fly.printed() == planned


def test_the_smoke_test_without_a_server_starts_one_for_it(fly, program, tmp_path):
    """With a token that is good for an hour. A dry run says so before, and makes none."""
    state = str(tmp_path / "emulator")
    port = program("-m", "aether.emulator", "--port", "0", "--token", "fm2_0secret=", "--state-dir", state)
    there = {"FLY_FLAPS_BASE_URL": f"http://127.0.0.1:{port}", "AETHER_SSH_HOST": "127.0.0.1"}
    assert fly.deploy("--dry-run", smoke=True) == 0, fly.output
    assert fly.state["tokens"] == []
    planned = fly.printed()
    assert planned[-1] == "+ .venv/bin/python scripts/smoke.py"
    assert fly.deploy(smoke=True, **there) == 0, fly.output
    assert "its terminal runs a command" in fly.output
    assert fly.printed() == planned
    assert fly.state["tokens"][0]["flags"]["--expiry"] == ["1h"]


@pytest.fixture
def emulated(program, tmp_path):
    """`emulated("--fault", …)` → the settings of a server whose Fly is emulated, and a look at its machines."""

    def start(*options):
        state = ("--state-dir", str(tmp_path / "emulator"))
        url = f"http://127.0.0.1:{program('-m', 'aether.emulator', '--port', '0', '--token', 'T', *state, *options)}"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True)
        there = {"FLY_API_TOKEN": "T", "FLY_APP_NAME": "app", "FLY_FLAPS_BASE_URL": url, "AETHER_SSH_HOST": "127.0.0.1"}
        request = urllib.request.Request(f"{url}/v1/apps/app/machines", headers={"Authorization": "Bearer T"})

        def machines():
            with urllib.request.urlopen(request) as answer:
                return json.load(answer)

        return {**there, "AETHER_SSH_PRIVATE_KEY_FILE": str(tmp_path / "key")}, machines

    return start


@pytest.fixture
def smoke():
    """`smoke(settings)` → scripts/smoke.py on its way, in a process group of its own."""
    started = []

    def start(settings):
        argv, env = [sys.executable, ROOT / "scripts/smoke.py"], {**os.environ, **settings}
        started.append(subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, text=True, start_new_session=True))
        return started[-1]

    yield start
    for process in started:
        with process:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_smoke_test_leaves_no_machine(emulated, smoke, number):
    """Ctrl-C reaches all of a terminal's programs, the server among them; a machine that is forgotten is billed."""
    settings, machines = emulated()
    process = smoke(settings)
    assert any("a machine is created" in line for line in process.stdout)
    os.killpg(process.pid, number)
    assert process.wait() != 0
    assert machines() == []


# The last step of a create, which here takes a second or two: the machine is there, and its server has not said so yet.
SLOW_CREATE = ("--runtime", "fast", "--fault", "rate-limit:metadata:3")


@pytest.mark.gen_test
async def test_a_smoke_test_that_is_interrupted_while_its_machine_is_made_leaves_none(emulated, smoke, eventually):
    """The server makes it all the same. A terminal that is closed may send more than one signal."""
    settings, machines = emulated(*SLOW_CREATE)
    process = smoke(settings)
    await eventually(machines)
    for number in (signal.SIGINT, signal.SIGHUP):
        os.killpg(process.pid, number)
    assert process.wait() != 0
    assert "a machine is created" not in process.stdout.read()
    assert machines() == []


@pytest.mark.gen_test
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
async def test_an_interrupted_deployment_leaves_no_machine(fly, program, emulated, eventually, number):
    """The machine is destroyed through the tunnel, which stays until that is done."""
    settings, machines = emulated(*SLOW_CREATE)
    port = program("server.py", "--port", "0", **settings)
    with fly.start(*SERVER, FAKE_FLY_SERVER_PORT=str(port)) as script:
        await eventually(machines)
        os.killpg(script.pid, number)
        script.communicate()
    assert script.returncode != 0
    assert machines() == []


def test_a_smoke_test_that_fails_fails_the_deployment(fly, program, tmp_path):
    """What is deployed but does not work is not done."""
    fault = ("--token", "fm2_0secret=", "--state-dir", str(tmp_path / "emulator"), "--fault", "quota:*")
    port = program("-m", "aether.emulator", "--port", "0", *fault)
    there = {"FLY_FLAPS_BASE_URL": f"http://127.0.0.1:{port}", "AETHER_SSH_HOST": "127.0.0.1"}
    assert fly.deploy(smoke=True, **there) == 1
    assert "provider_error" in fly.output
    assert "the smoke test failed" in fly.output
