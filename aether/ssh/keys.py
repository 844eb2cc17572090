"""The SSH keys machines are created with, and the private key that opens all of them."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import asyncssh


class UserKeyError(Exception):
    """The key that opens the machines cannot be used; the text says why and what to do."""


ALGORITHM = "ssh-ed25519"


@dataclass(frozen=True)
class HostKey:
    """A machine's SSH host key: aether creates the machine, so it makes the key and can pin it."""

    private: str
    public: str


def make_host_key() -> HostKey:
    """Make a host key; both halves in OpenSSH's text form."""
    key = asyncssh.generate_private_key(ALGORITHM)
    return HostKey(private=key.export_private_key().decode(), public=public_text(key))


def public_text(key: asyncssh.SSHKey) -> str:
    """Return the key's public half as one line of an `authorized_keys` file, without a line end."""
    return key.export_public_key().decode().strip()


def secret_of(key: asyncssh.SSHKey) -> bytes:
    """Derive a secret from a private key, 32 bytes: the same on every server that has the key."""
    return hashlib.sha256(b"aether seal\0" + key.export_private_key("pkcs8-der")).digest()


def checked_public_key(text: str) -> str:
    """Return `text` if it is a public key; raise ValueError."""
    try:
        asyncssh.import_public_key(text)
    except asyncssh.KeyImportError as error:
        raise ValueError(str(error)) from error
    return text


def load_user_key(pem: str, path: Path | None) -> asyncssh.SSHKey:
    """Load the key that opens the machines from its text, or else from the file at `path`.

    Raises:
        UserKeyError: no key there, or one that cannot be read; never repeats any of its text.
    """
    where = "AETHER_SSH_PRIVATE_KEY" if pem else f"AETHER_SSH_PRIVATE_KEY_FILE={path}"
    try:
        text = pem or (path.read_text() if path else "")
        return asyncssh.import_private_key(text if text.endswith("\n") else text + "\n")
    except OSError as error:
        raise UserKeyError(f"{where} cannot be read: {error.strerror}") from error
    except (asyncssh.KeyImportError, UnicodeDecodeError) as error:
        raise UserKeyError(
            f"{where} is not a private key without a passphrase; make one with: "
            "ssh-keygen -t ed25519 -N '' -f aether_key"
        ) from error


def load_or_make_user_key(path: Path) -> asyncssh.SSHKey:
    """Load the key at `path`, or make it there, readable by its owner only; raise UserKeyError."""
    if not path.exists():
        try:
            _make_user_key(path)
        except OSError as error:
            raise UserKeyError(
                f"the state folder {path.parent} cannot be written: {error.strerror}; choose another with --state-dir"
            ) from error
    return load_user_key("", path)


def _make_user_key(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = asyncssh.generate_private_key(ALGORITHM, comment="aether")
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(key.export_private_key())
    draft.replace(path)  # whole or not at all, whatever is cut off here
