"""An OpenSSH sshd of our own on loopback, as root or as the user who runs this.

sshd runs every command with the user's own shell, which would read the user's files first (and killed in the midst of
them could leave something behind): so HOME is this folder, and bash takes itself for a shell within a shell (SHLVL).
"""

import getpass
import os
import shutil
from pathlib import Path

import asyncssh

from benchlib.processes import Server, ServerFailed, free_port

SHELL_SCRIPT = """#!/bin/bash
export PS1='bench>> ' PS2= HISTFILE= INPUTRC=/dev/null LANG=C.UTF-8
cd /
[ -z "$SSH_ORIGINAL_COMMAND" ] || exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"
exec /bin/bash --noprofile --norc -i
"""
CONFIG = """
ListenAddress 127.0.0.1:{port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/user_key.pub
ForceCommand {folder}/shell
SetEnv HOME={folder} ZDOTDIR={folder} SHLVL=1
StrictModes no
UsePAM {pam}
UseDNS no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
PidFile none
MaxStartups 2000
MaxSessions 2000
PrintMotd no
PrintLastLog no
"""


def write_shell(folder: Path) -> Path:
    """Write the shell that all contenders but aether run; aether's machines get the same by typing."""
    path = folder / "shell"
    path.write_text(SHELL_SCRIPT)
    path.chmod(0o755)
    return path


class Sshd:
    """sshd, its keys, and the command line of a client that trusts it.

    Args:
        folder: a new folder, for this sshd alone.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.user = getpass.getuser()
        self.key = folder / "user_key"
        self._server: Server | None = None

    async def start(self) -> None:
        """Write keys and configuration, start, wait until it answers."""
        program = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
        if program is None:
            raise ServerFailed("sshd is not installed (Debian: apt-get install openssh-server)")
        self.folder.chmod(0o755)
        for name in ("host_key", "user_key"):
            key = asyncssh.generate_private_key("ssh-ed25519")
            key.write_private_key(self.folder / name)
            (self.folder / name).chmod(0o600)
            key.write_public_key(self.folder / f"{name}.pub")
        write_shell(self.folder)
        if os.getuid() == 0:  # sshd's own chroot; on a booted system it is there
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # noqa: ASYNC240
        config = self.folder / "sshd_config"
        config.write_text(CONFIG.format(port=self.port, folder=self.folder, pam="no"))
        self._server = Server([program, "-D", "-e", "-f", str(config)], self.folder)
        await self._server.start()
        await self._server.until_port(self.port)

    async def stop(self) -> None:
        """End it, and the shells it started."""
        if self._server is not None:
            await self._server.stop()

    def client(self) -> list[str]:
        """Return the command line of OpenSSH's client, reading no configuration of the user's."""
        known = self.folder / "known_hosts"
        if not known.exists():
            public = (self.folder / "host_key.pub").read_text()
            known.write_text(f"[127.0.0.1]:{self.port} {public}")
        # OpenSSH 9.5 and later hold keys back on purpose (20 ms); earlier ones do not know the option.
        options = {"IgnoreUnknown": "ObscureKeystrokeTiming", "ObscureKeystrokeTiming": "no"}
        options |= {
            "IdentitiesOnly": "yes",
            "UserKnownHostsFile": str(known),
            "LogLevel": "ERROR",
            "EscapeChar": "none",
        }
        flags = [flag for name, value in options.items() for flag in ("-o", f"{name}={value}")]
        where = ["-i", str(self.key), "-p", str(self.port), f"{self.user}@127.0.0.1"]
        return ["ssh", "-F", "none", "-tt", *flags, *where]
