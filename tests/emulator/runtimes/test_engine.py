"""engine: a container engine's command line."""

import asyncio
import io
import tarfile

import pytest

from aether.emulator.errors import EngineError
from aether.emulator.runtimes.engine import Engine, archive, client_environment


@pytest.fixture
def engine(tmp_path):
    """`engine("script")` → an engine whose program is that shell script."""

    def make(script, name="podman", **options):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        return Engine(str(program), **options)

    return make


@pytest.mark.gen_test
async def test_a_call_answers_what_was_printed(engine):
    """Without the line end, and with its input given."""
    assert await engine('echo "$1 $2"; cat').call("a", "b c", stdin=b"in\n") == "a b c\nin"


@pytest.mark.parametrize(
    ("script", "message"), [("echo one >&2; echo two >&2; exit 3", "two"), ("exit 3", "kill ended with status 3")]
)
@pytest.mark.gen_test
async def test_a_failing_call_raises_its_last_words(engine, script, message):
    """Or its status, where it had none."""
    with pytest.raises(EngineError, match=f"^{message}$"):
        await engine(script).call("kill", "x")


@pytest.mark.gen_test
async def test_a_run_answers_status_and_streams(engine):
    """A status other than 0 is an answer, too."""
    assert await engine("cat; echo bad >&2; exit 3").run(stdin=b"good") == (3, b"good", b"bad\n")


@pytest.mark.gen_test
async def test_what_an_engine_leaves_lies_in_a_directory_of_ours(engine, tmp_path):
    """Not where the server happens to be: podman writes a file there when a machine's memory runs out."""
    own = tmp_path / "own"
    own.mkdir()
    assert await Engine(engine("pwd").program, own).call("info") == str(own)


@pytest.mark.gen_test
async def test_an_engine_that_hangs_is_given_up(engine, marker, sleepers):
    """Neither a stop nor the server's start may hang with it."""
    with pytest.raises(EngineError, match=r"^info did not end within 0\.2 s$"):
        await engine(f"exec sleep {marker}", timeout_s=0.2).call("info")
    assert sleepers(marker) == []


@pytest.mark.gen_test
async def test_of_endless_output_only_the_beginning_is_kept(engine):
    """A machine's user may print more than the server has memory."""
    code, out, err = await engine("head -c 5000000 /dev/zero; head -c 3000000 /dev/zero >&2; exit 4").run()
    assert (code, len(out), len(err)) == (4, 1 << 20, 1 << 20)


@pytest.mark.outside
@pytest.mark.parametrize("arguments", [("create", "a\0b"), ("create", "x")])
@pytest.mark.gen_test
async def test_what_cannot_even_be_run_is_an_error_of_the_engine(tmp_path, arguments):
    """A NUL, or a program that was uninstalled."""
    with pytest.raises(EngineError, match=r"^create cannot be run: "):
        await Engine(str(tmp_path / "podman")).call(*arguments)


@pytest.mark.gen_test
async def test_a_command_that_reads_nothing_is_no_error(engine):
    """Its input is lost, no more."""
    assert await engine("exit 3").run(stdin=b"x" * 1_000_000) == (3, b"", b"")


@pytest.mark.gen_test
async def test_a_call_that_is_given_up_is_killed(engine, marker, sleepers, eventually):
    """Nothing of it goes on."""
    task = asyncio.create_task(engine(f"exec sleep {marker}").run())
    await eventually(lambda: sleepers(marker))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sleepers(marker) == []


@pytest.mark.parametrize("name", ["podman", "docker"])
@pytest.mark.gen_test
async def test_files_are_copied_with_their_owners(engine, tmp_path, name):
    """Which the two engines call differently."""
    await engine(f'echo "$*" >{tmp_path}/call; cat >{tmp_path}/input', name).copy("box", b"packed")
    option = {"podman": "--archive=false", "docker": "--archive"}[name]
    assert (tmp_path / "call").read_text().split()[:2] == ["cp", option]
    assert (tmp_path / "call").read_text().endswith(" - box:/\n")
    assert (tmp_path / "input").read_bytes() == b"packed"


def test_what_lies_in_the_home_is_the_users():
    """With the directories on the way; of all others only the files are packed."""
    packed = archive(
        [("/home/coder/.a/b/c", b"one", 0o600), ("/home/coder/.a/d", b"", 0o644), ("/etc/x/y", b"two", 0o755)]
    )
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        entries = [(e.name, e.isdir(), e.uid, oct(e.mode)) for e in tar.getmembers()]
        assert tar.extractfile("home/coder/.a/b/c").read() == b"one"
    assert entries == [
        ("home/coder/.a", True, 1000, "0o755"),
        ("home/coder/.a/b", True, 1000, "0o755"),
        ("home/coder/.a/b/c", False, 1000, "0o600"),
        ("home/coder/.a/d", False, 1000, "0o644"),
        ("etc/x/y", False, 0, "0o755"),
    ]


def test_the_client_gets_none_of_the_servers_secrets():
    """But what it needs to find its engine."""
    environ = {"FLY_API_TOKEN": "s", "AETHER_SSH_PRIVATE_KEY": "s", "DOCKER_HOST": "d", "PATH": "p"}
    assert client_environment(environ) == {"DOCKER_HOST": "d", "PATH": "p"}
