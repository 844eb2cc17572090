"""scripts/build-image.sh and try-image.sh, with an engine on the path that does nothing but note what it is asked."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "scripts/build-image.sh"

# A mock: it stands for a container engine, which most computers that run the tests lack; test_image.py uses a real one.
ENGINE = r"""#!/bin/bash
for last; do :; done
printf '%s\n' "${0##*/} $*" | tr '\n' ' ' >>"$FAKE_LOG"
echo >>"$FAKE_LOG"
[ "$FAKE_INTERRUPTED" != "$1" ] || kill -INT 0
[[ " $FAKE_FAILS " != *" $1 "* ]] || { echo "$1: no" >&2; exit 1; }
size="${FAKE_SIZE:-1337000000}" version="${FAKE_VERSION:-${0##*/} version 5}"
case "$1 $last" in
  --version*) echo "$version" ;;
  build*) echo "without attestations: $BUILDX_NO_DEFAULT_ATTESTATIONS" ;;
  image*) [[ "$version" = podman* ]] && echo "$size" || echo "$((size / 3))" ;;
  history*)
    case "$version $*" in
      *CreatedBy*) printf '404 MB\tCOPY dir:5 in /\n0 B\tCMD ["x"]\n730MB\tRUN   apt-get\n' ;;
      podman*) printf '%s\n' 404MB 0B 730MB ;;
      *human=false*) printf '%s\n' 404000000 0 "$((size - 404000000))" ;;
    esac
    ;;
  create*) echo c0ffee ;;
  run*) printf '%s' "$FAKE_BAKED" ;;
  inspect*) echo "${FAKE_STATUS:-0}" ;;
  logs*) echo "what sshd said" ;;
  exec*2222*read*) echo "SSH-2.0-OpenSSH_8.9" ;;
  exec*EPOCHREALTIME*) echo "20 ms" ;;
  exec*PS1*) echo 'coder@aether:~$ ' ;;
  'exec id') echo 'uid=1000(coder)' ;;
  exec*charmap) echo UTF-8 ;;
  'exec node'*) echo "${FAKE_NODE:-v20.20.2}" ;;
  'exec npm'* | 'exec pnpm'*) echo 10.8.2 ;;
  'exec python --version' | 'exec python3 --version') echo "${FAKE_PYTHON:-Python 3.11.17}" ;;
  exec*OPENSSL_VERSION*) echo Europe/Berlin 3.37.2 OpenSSL 3.0.2 ;;
  exec*Python.h*) echo "<module 'seven' from '/tmp/seven.so'>" ;;
  exec*pty-host*) echo /usr/local/lib/aether/pty-host-0123abcd.py ;;
  *pip*) echo 'pip 24.0 (python 3.11)' ;;
  'exec go'*) echo go version go1.21.13 linux/amd64 ;;
  'exec git'*) echo git version 2.34.1 ;;
  exec*gcc*) echo 7 ;;
  'exec make'*) echo GNU Make 4.3 ;;
  'exec command -v '*) echo "/usr/bin/${last##* }" ;;
  exec*sudo*-u) echo 0 ;;
  'exec cat file'*) printf 'kept\nkept\n' ;;
esac
"""


@pytest.fixture(scope="module")
def without_engines(tmp_path_factory):
    """A directory of this computer's commands, but no container engine."""
    found = tmp_path_factory.mktemp("bin")
    for directory in ("/usr/bin", "/bin", "/usr/local/bin"):
        for path in Path(directory).iterdir():
            if path.name not in ("docker", "podman") and not os.path.lexists(found / path.name):
                (found / path.name).symlink_to(path)
    return found


@pytest.fixture
def key(need, tmp_path):
    """A private key, its public half beside it."""
    path = tmp_path / "key"
    subprocess.run([need("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", path], check=True)
    return path


@pytest.fixture
def build(tmp_path, without_engines, key):
    """`build("--push", FAKE_SIZE="1")` → the outcome, and the calls of the engine it made."""
    log = tmp_path / "calls"
    engines = tmp_path / "engines"
    engines.mkdir()
    # A mock: the engine's container has no SSH server to log in to.
    (engines / "ssh").write_text('#!/bin/bash\nprintf \'%s\\n\' "ssh $*" >>"$FAKE_LOG"\n')
    (engines / "ssh").chmod(0o755)

    def run(*options, engines_there=("podman",), script=SCRIPT, cwd=None, **environment):
        log.write_text("")
        for name in engines_there:
            (engines / name).write_text(ENGINE)
            (engines / name).chmod(0o755)
        standard = {"FLY_APP_NAME": "my-machines", "AETHER_SSH_PRIVATE_KEY_FILE": str(key)}
        paths = {"PATH": f"{engines}:{without_engines}", "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
        fake = {"FAKE_LOG": str(log), "FAKE_FAILS": "", "FAKE_BAKED": ""}
        given = {name: value for name, value in {**standard, **environment}.items() if value is not None}
        environ = {**paths, **fake, **given}
        argv = [script, *options]
        done = subprocess.run(
            argv, cwd=cwd, env=environ, capture_output=True, text=True, check=False, start_new_session=True
        )
        done.calls = log.read_text().splitlines()
        return done

    return run


def words(done, *wanted):
    """Return the calls that begin with some words, by their first two words."""
    return [" ".join(call.split()[:2]) for call in done.calls if call.split()[1] in wanted]


def test_everything_in_order(build):
    """Log-in, build, size, try, push: what can fail early does."""
    done = build("--push")
    assert done.returncode == 0, done.stderr
    steps = words(done, "info", "login", "build", "image", "history", "create", "start", "stop", "rm", "push")
    early, tried, last = (
        ["info", "login", "build", "image", "history"],
        ["create", "start", "stop", "start", "rm"],
        "push",
    )
    assert [step.removeprefix("podman ") for step in steps] == [*early, *tried, last, last]


def test_both_tags_and_the_public_key_are_given_to_the_build(build, key):
    """`latest`, and one that says what is in it; options behind -- are the engine's."""
    done = build("--", "--network", "host")
    [call] = [call for call in done.calls if " build " in call]
    assert "--tag registry.fly.io/my-machines/base:latest --tag registry.fly.io/my-machines/base:" in call
    assert f"AUTHORIZED_KEY={' '.join(key.with_suffix('.pub').read_text().split()[:2])}" in call
    assert "--platform linux/amd64" in call
    [tag] = re.findall(r"--tag \S+:([0-9a-f]{12}) ", call)
    assert f"--build-arg VERSION={tag} " in call
    assert re.search(r"--build-arg REVISION=([0-9a-f]{7,})? ", call)
    assert "without attestations: 1\n" in done.stdout
    assert call.rstrip().endswith("--network host infra/images/base")
    assert words(done, "push") == []


def test_the_tag_follows_the_content(build, tmp_path):
    """The same for the same, another for another key."""

    def tag(*options):
        return re.search(r"is (\S+:[0-9a-f]{12})$", build(*options).stderr, re.MULTILINE)[1]

    assert tag() == tag()
    assert tag("--no-key") != tag()
    other = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other], check=True)
    assert tag("--public-key", f"{other}.pub") not in (tag(), tag("--no-key"))


def test_the_size_is_shown_by_layer(build):
    """And layers without any are not."""
    assert "1337 MB, by layer:\n     404 MB  COPY dir:5 in /\n      730MB  RUN apt-get\n" in build().stderr


@pytest.mark.parametrize(
    ("engine", "version"), [("podman", None), ("docker", None), ("docker", "podman version 4.3.1")]
)
@pytest.mark.parametrize(("size", "is_fine"), [("1999999999", True), ("2000000000", False)])
def test_an_image_of_two_gigabytes_is_too_big(build, tmp_path, engine, version, size, is_fine):
    """It is neither tried nor pushed. What each engine calls an image's size is not the same."""
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker/config.json").write_text('{"auths": {"registry.fly.io": {"auth": "eDp4"}}}')
    done = build("--push", engines_there=(engine,), FAKE_SIZE=size, FAKE_VERSION=version)
    assert (done.returncode == 0) is is_fine
    assert bool(words(done, "push")) is is_fine
    assert is_fine or f"the image has {size} bytes, and must have fewer than 2000000000" in done.stderr


@pytest.mark.parametrize(
    ("environment", "options", "message"),
    [
        ({"engines_there": ()}, (), "no container engine: install docker or podman"),
        ({"engines_there": ()}, ("--engine", "docker"), "no container engine: install docker"),
        ({"FAKE_FAILS": "info"}, (), "installed, but not working: podman (is its service running?"),
        ({"FAKE_FAILS": "login"}, ("--push",), "podman is not logged in to registry.fly.io: run `flyctl auth docker`"),
        ({"engines_there": ("docker",)}, ("--push",), "docker is not logged in to registry.fly.io"),
        ({"FLY_APP_NAME": None}, (), "no app: set FLY_APP_NAME"),
        ({"AETHER_SSH_PRIVATE_KEY_FILE": None}, (), "no key: set AETHER_SSH_PRIVATE_KEY_FILE"),
        ({"AETHER_SSH_PRIVATE_KEY_FILE": "/dev/null"}, (), "is not a private key without a passphrase"),
        ({}, ("--public-key", "/dev/null"), "/dev/null is not a public SSH key"),
        ({}, ("--public-key", "/nowhere"), "/nowhere is not a public SSH key"),
        ({}, ("--pusch",), "unknown option --pusch"),
        ({}, ("--app",), "--app needs a value"),
        ({"FAKE_FAILS": "build"}, (), "the build failed"),
    ],
)
def test_what_is_missing_is_said_before_anything_is_done(build, environment, options, message):
    """In a sentence that says what to do."""
    done = build(*options, **environment)
    assert done.returncode == 1
    assert message in done.stderr
    assert words(done, "create", "push") == []


def test_a_push_that_fails_says_why_it_may(build):
    """An app that is not there, or is not ours, or a log-in that has expired."""
    done = build("--push", FAKE_FAILS="push")
    assert done.returncode == 1
    assert "does not know the repository my-machines/base" in done.stderr
    assert "the app must exist (flyctl apps create my-machines;" in done.stderr
    assert "your log-in's token be of its organisation" in done.stderr
    assert "(flyctl auth docker)" in done.stderr


def test_docker_is_known_to_be_logged_in_by_its_configuration(build, tmp_path):
    """That is where `flyctl auth docker` writes it; docker is taken before podman."""
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker/config.json").write_text('{"auths": {"registry.fly.io": {"auth": "eDp4"}}}')
    done = build("--push", engines_there=("docker", "podman"))
    assert done.returncode == 0, done.stderr
    assert {call.split()[0] for call in done.calls} == {"docker", "ssh"}


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"FAKE_NODE": "v18.1.0"}, "node: `node --version` printed v18.1.0, not ^v20"),
        ({"FAKE_PYTHON": "Python 3.11.0rc1"}, "python3: `python3 --version` printed Python 3.11.0rc1, not"),
        ({"FAKE_STATUS": "137"}, "SIGTERM ended it with status 137, not 0"),
        ({"FAKE_BAKED": "/etc/ssh/ssh_host_rsa_key"}, "is in it: /etc/ssh/ssh_host_rsa_key"),
        ({"FAKE_FAILS": "exec"}, "does not answer on port 2222"),
    ],
)
def test_an_image_that_fails_the_try_is_not_pushed(build, environment, message, tmp_path):
    """The container is removed, and what sshd said is shown; nothing is left behind."""
    done = build("--push", **environment)
    assert done.returncode == 1
    assert message in done.stderr
    assert words(done, "push") == []
    if words(done, "create"):
        assert "log: what sshd said" in done.stderr
        assert words(done, "rm") == ["podman rm"]
    assert list(tmp_path.glob("tmp.*")) == []


@pytest.mark.parametrize(("options", "is_tried"), [((), True), (("--no-key",), False)])
def test_the_key_in_the_image_is_tried_if_we_have_its_other_half(build, options, is_tried):
    """And no other key is expected to log in."""
    done = build(*options)
    assert done.returncode == 0, done.stderr
    assert ("login with the image's" in done.stderr) is is_tried
    assert any(call.startswith("ssh ") for call in done.calls) is is_tried


def test_the_private_key_stays_out_of_the_container(build, key):
    """What is copied there is on the disk until it is removed."""
    done = build()
    users = [call for call in done.calls if str(key) in call]
    assert [call.split()[0] for call in users] == ["ssh"]
    assert f"-i {key} " in users[0]


@pytest.mark.parametrize("option", ["private", "public"])
def test_a_private_key_is_not_taken_for_a_public_one(build, key, option):
    """Nor a comment: the key itself is what goes into the image."""
    given = key if option == "private" else key.with_suffix(".txt")
    line = key.with_suffix(".pub").read_text().strip()
    key.with_suffix(".txt").write_text(f"# mine\n\n{line}\n")
    done = build("--public-key", given, "--no-try")
    if option == "private":
        assert f"{key} is not a public SSH key" in done.stderr
        assert words(done, "build") == []
    else:
        assert any(f"AUTHORIZED_KEY={line} " in call for call in done.calls)


@pytest.mark.parametrize("options", [(), ("--public-key", "key.pub")])
def test_paths_are_from_where_the_user_is(build, key, options):
    """As everywhere; the script finds its own files from wherever it is called, even where CDPATH leads astray."""
    (key.parent / "elsewhere/scripts").mkdir(parents=True)
    away = {"CDPATH": str(key.parent / "elsewhere")}
    done = build(*options, cwd=key.parent, AETHER_SSH_PRIVATE_KEY_FILE="key", **away)
    assert done.returncode == 0, done.stderr
    relative = os.path.relpath(SCRIPT, ROOT)
    done = build(relative, "--public-key", str(key.with_suffix(".pub")), script="bash", cwd=ROOT, **away)
    assert done.returncode == 0, done.stderr


def test_an_interrupted_try_leaves_nothing(build, tmp_path, key):
    """Ctrl-C, whenever it comes."""
    done = build(FAKE_INTERRUPTED="create")
    assert done.returncode != 0
    assert words(done, "rm") == ["podman rm"]
    [made] = [call.split()[3] for call in done.calls if call.split()[1] == "create"]
    assert any(call.rstrip().endswith(f"rm --force {made}") for call in done.calls)
    assert list(tmp_path.glob("tmp.*")) == []


@pytest.mark.outside
def test_help_names_every_option():
    """And needs no engine."""
    text = subprocess.run([SCRIPT, "--help"], capture_output=True, text=True, check=True).stdout
    cases = re.findall(r"^    (--[a-z].*)\)", SCRIPT.read_text(), re.MULTILINE)
    options = {option for case in cases for option in case.split(" | ") if option.startswith("--")}
    assert len(options) > 5
    assert all(f"  {option}" in text for option in options)


def test_scripts_can_be_run():
    """By their names."""
    for name in ("build-image.sh", "try-image.sh"):
        assert shutil.which(ROOT / "scripts" / name)
