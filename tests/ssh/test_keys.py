"""ssh.keys: keys are made once, kept private, and refused with a reason."""

import stat

import asyncssh
import pytest

from aether.ssh.keys import UserKeyError, load_or_make_user_key, load_user_key, make_host_key, public_text


def test_the_user_key_is_made_once_and_readable_by_its_owner_only(tmp_path):
    """0600, and the same key ever after."""
    path = tmp_path / "new" / "ssh_key"
    first = load_or_make_user_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert public_text(load_or_make_user_key(path)) == public_text(first)
    assert [entry.name for entry in path.parent.iterdir()] == ["ssh_key"]


def test_a_key_is_taken_from_text_or_from_a_file(tmp_path):
    """Text as in an environment variable may lack its last line end."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    pem = key.export_private_key().decode()
    (tmp_path / "key").write_text(pem)
    assert public_text(load_user_key(pem.strip(), None)) == public_text(key)
    assert public_text(load_user_key("", tmp_path / "key")) == public_text(key)


@pytest.mark.parametrize("pem", ["secret nonsense", "-----BEGIN OPENSSH PRIVATE KEY-----\nsecret\n"])
def test_a_text_that_is_no_key_is_refused_without_repeating_it(pem):
    """The message says how to make a key, and leaks none."""
    with pytest.raises(UserKeyError, match="ssh-keygen") as caught:
        load_user_key(pem, None)
    assert "secret" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    """The message names the setting and the reason."""
    with pytest.raises(UserKeyError, match=r"AETHER_SSH_PRIVATE_KEY_FILE=.*No such file"):
        load_user_key("", tmp_path / "missing")


def test_every_machine_gets_a_host_key_of_its_own():
    """Host keys baked into an image would be everybody's."""
    one, two = make_host_key(), make_host_key()
    assert one.public != two.public
    assert public_text(asyncssh.import_private_key(one.private)) == one.public
