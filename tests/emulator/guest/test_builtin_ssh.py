"""builtin_ssh: the keys of the built-in SSH server, beside what test_supervisor.py says of both servers."""

import pytest

from aether.emulator.guest import builtin_ssh


@pytest.fixture
def runtime():
    """What no runtime has a part in."""
    return "plain"


@pytest.mark.gen_test
async def test_a_broken_line_does_not_disable_the_other_keys(box):
    """What the user writes into authorized_keys beside keys is passed over."""
    await box.run("mkdir -p .ssh && echo 'ssh-ed25519 nonsense' > .ssh/authorized_keys")
    assert await box.run("echo in") == "in\n"


def test_the_host_key_is_made_once(tmp_path):
    """A machine that is given none makes one that lasts, which no other user can read."""
    assert builtin_ssh.host_key(tmp_path) == builtin_ssh.host_key(tmp_path)
    assert (tmp_path / "etc/ssh/ssh_host_ed25519_key").stat().st_mode & 0o077 == 0
