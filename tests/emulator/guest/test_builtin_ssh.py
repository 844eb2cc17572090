"""builtin_ssh: which keys log in to the built-in SSH server."""

import asyncssh
import pytest

from aether.emulator.guest import builtin_ssh


@pytest.fixture
def runtime():
    """What no runtime has a part in."""
    return "plain"


@pytest.mark.gen_test
async def test_only_the_key_logs_in(box):
    """Another key, another user, a password: none gets in."""
    other = asyncssh.generate_private_key("ssh-ed25519")
    for options in ({"client_keys": [other]}, {"username": "root"}, {"client_keys": [], "password": "x"}):
        with pytest.raises(asyncssh.PermissionDenied):
            async with box.ssh(**options):
                pass


@pytest.mark.gen_test
async def test_own_authorized_keys_count_at_once(box):
    """A key the user adds to ~/.ssh/authorized_keys may log in from then on."""
    other = asyncssh.generate_private_key("ssh-ed25519")
    line = other.export_public_key().decode().strip()
    await box.run(f"mkdir -p .ssh && echo '{line}' >> .ssh/authorized_keys")
    async with box.ssh(client_keys=[other]) as connection:
        assert (await connection.run("echo in")).stdout == "in\n"


@pytest.mark.gen_test
async def test_a_broken_line_does_not_disable_the_other_keys(box):
    """What the user writes into authorized_keys beside keys is passed over."""
    await box.run("mkdir -p .ssh && echo 'ssh-ed25519 nonsense' > .ssh/authorized_keys")
    assert await box.run("echo in") == "in\n"


def test_the_host_key_is_made_once(tmp_path):
    """A machine that is given none makes one that lasts, which no other user can read."""
    assert builtin_ssh.host_key(tmp_path) == builtin_ssh.host_key(tmp_path)
    assert (tmp_path / "etc/ssh/ssh_host_ed25519_key").stat().st_mode & 0o077 == 0
