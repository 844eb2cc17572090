"""Every setting in one table: name, type, default, help; the only reader of the environment.

The table makes the environment names, the flags, `--help` and the README's table. A flag wins over the
environment. Secrets have no flag: command lines are readable by every user of a computer.
"""

import argparse
import ipaddress
import os
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import platformdirs

from aether.emulator.runtimes.base import AUTO, WITH_SSH
from aether.errors import InvalidMessage
from aether.machines import SSH_PORTS, MachineSize
from aether.messages import check_size
from aether.setting_parsers import number, one_of, origins, path, ports

FLY_BASE_URL = "https://api.machines.dev"


class SettingsError(Exception):
    """The settings do not make sense together; the text has one line for each problem."""


def _setting(env: str, default: Any, help: str, parse: Callable[[str], Any] = str, **extra: Any) -> Any:
    return field(default=default, metadata={"env": env, "help": help, "parse": parse, **extra})


@dataclass(frozen=True)
class Settings:
    """What the operator decided. Times are seconds."""

    fly_api_token: str = _setting("FLY_API_TOKEN", "", "Fly.io API token; unset: local machines", secret=True)
    fly_app_name: str = _setting("FLY_APP_NAME", "", "Fly app that holds the machines")
    fly_region: str = _setting("FLY_REGION", "", "region of new machines, such as `sjc`; unset: Fly chooses")
    fly_flaps_base_url: str = _setting("FLY_FLAPS_BASE_URL", FLY_BASE_URL, "where the Machines API is")
    address: str = _setting("AETHER_ADDRESS", "127.0.0.1", "loopback address to listen on")
    port: int = _setting("AETHER_PORT", 8080, "port to listen on; 0: any free one", number(int, 0, 65535))
    allowed_origins: tuple[str, ...] = _setting(
        "AETHER_ALLOWED_ORIGINS", (), "origins of a reverse proxy in front, comma separated", origins
    )
    deployment: str = _setting("AETHER_DEPLOYMENT", "default", "machines of other deployments are left alone")
    image: str = _setting("AETHER_IMAGE", "", "image of new machines; unset: registry.fly.io/APP/base:latest")
    cpu_kind: str = _setting("AETHER_CPU_KIND", "shared", "`shared` or `performance`", one_of("shared", "performance"))
    cpus: int = _setting("AETHER_CPUS", 1, "cpus of a new machine", number(int, 1, 16))
    memory_mb: int = _setting("AETHER_MEMORY_MB", 512, "MiB of a new machine", number(int, 256, 131072))
    rootfs_gb: int = _setting("AETHER_ROOTFS_GB", 8, "GB of a machine's kept files", number(int, 1, 8))
    max_machines: int = _setting("AETHER_MAX_MACHINES", 50, "how many machines may exist", number(int, 1, 100000))
    max_sessions: int = _setting("AETHER_MAX_SESSIONS", 1000, "how many terminals may be open", number(int, 1, 100000))
    sessions: str = _setting(
        "AETHER_SESSIONS",
        "kept",
        "`kept`: shells outlive their connections; `plain`: they end with them",
        one_of("kept", "plain"),
    )
    detach_grace_s: float = _setting(
        "AETHER_DETACH_GRACE_S",
        60.0,
        "how long a program waits for its client to come back when 1 MiB of its output is unread; then output is lost",
        number(float, 0, 86400),
    )
    max_detached: int = _setting(
        "AETHER_MAX_DETACHED",
        16,
        "how many shells of a machine may be without a client; more: the longest unused one is ended",
        number(int, 1, 1000),
    )
    ssh_private_key: str = _setting("AETHER_SSH_PRIVATE_KEY", "", "PEM text of the key of all machines", secret=True)
    ssh_private_key_file: Path | None = _setting(
        "AETHER_SSH_PRIVATE_KEY_FILE", None, "file with that key; unset with local machines: made once", path
    )
    ssh_user: str = _setting("AETHER_SSH_USER", "coder", "user to log in as")
    ssh_network: str = _setting(
        "AETHER_SSH_NETWORK",
        "public",
        "`public`: a port of its own for each machine; `private`: Fly's 6PN",
        one_of("public", "private"),
    )
    ssh_host: str = _setting("AETHER_SSH_HOST", "", "public address of the machines; unset: APP.fly.dev")
    ssh_ports: range = _setting("AETHER_SSH_PORTS", SSH_PORTS, "new machines get one of these external ports", ports)
    idle_timeout_s: float = _setting(
        "AETHER_IDLE_TIMEOUT_S", 600.0, "a machine unused for so long is stopped", number(float, 1, 1e9)
    )
    idle_check_s: float = _setting(
        "AETHER_IDLE_CHECK_S", 60.0, "how often to look for idle machines", number(float, 0.05, 1e6)
    )
    state_dir: Path = _setting(
        "AETHER_STATE_DIR",
        platformdirs.user_state_path("aether", appauthor=False),
        "folder of the local machines and of the SSH key",
        path,
    )
    emulator_runtime: str = _setting(
        "AETHER_EMULATOR_RUNTIME",
        AUTO,
        f"what local machines run in: {', '.join(f'`{info.name}` ({info.description})' for info in WITH_SSH)}",
        one_of(*(info.name for info in WITH_SSH)),
    )
    compression: str = _setting(
        "AETHER_COMPRESSION", "off", "`on`: compress terminal messages, for thin lines", one_of("off", "on")
    )
    log_format: str = _setting("AETHER_LOG_FORMAT", "text", "`text` or `json`", one_of("text", "json"))

    @property
    def is_local(self) -> bool:
        """Whether machines are emulated on this computer, for want of a Fly account."""
        return not self.fly_api_token


SETTINGS = fields(Settings)


def load(argv: Sequence[str], environ: Mapping[str, str] = os.environ) -> Settings:
    """Read settings from flags and environment.

    Raises:
        SettingsError: naming every setting that is wrong or missing, and what to do.
    """
    values: dict[str, Any] = {}
    problems: list[str] = []
    flags = vars(_parser().parse_args(argv))
    for setting in SETTINGS:
        env = setting.metadata["env"]
        flag = flags.get(setting.name)
        text = flag or environ.get(env) or None
        if text is None:
            continue
        try:
            values[setting.name] = setting.metadata["parse"](text)
        except ValueError as error:
            shown = "" if setting.metadata.get("secret") else f"={text!r}"
            problems.append(f"{env}{shown}: {error}")
    settings = Settings(**values)
    problems += [problem for problem in _contradictions(settings, values) if not problems]
    if problems:
        raise SettingsError("\n".join(problems))
    return settings


def _contradictions(settings: Settings, given: Mapping[str, Any]) -> list[str]:
    """Say what is missing or cannot go together."""
    problems = []
    if not _is_loopback(settings.address):
        problems.append(
            f"AETHER_ADDRESS={settings.address!r}: aether has no log-in yet, so it listens on loopback only; "
            "put a reverse proxy with a log-in in front and name it in AETHER_ALLOWED_ORIGINS"
        )
    try:
        check_size(MachineSize(settings.cpu_kind, settings.cpus, settings.memory_mb))
    except InvalidMessage as error:
        problems.append(f"AETHER_CPU_KIND, AETHER_CPUS, AETHER_MEMORY_MB: {error}")
    if settings.ssh_private_key and settings.ssh_private_key_file:
        problems.append("AETHER_SSH_PRIVATE_KEY and AETHER_SSH_PRIVATE_KEY_FILE are both set; keep one")
    if settings.is_local and (settings.ssh_network, settings.ssh_user) != ("public", "coder"):
        problems.append("local machines have user coder and a public port; unset AETHER_SSH_USER, AETHER_SSH_NETWORK")
    fly = [name for name in ("fly_api_token", "fly_app_name", "fly_flaps_base_url") if given.get(name)]
    if fly:
        problems += _fly_contradictions(settings, ", ".join(name.upper() for name in fly))
    return problems


def _fly_contradictions(settings: Settings, seen: str) -> list[str]:
    problems = [
        f"{seen} set but {env} is not; set it, or unset the others for local machines"
        for env, value in (
            ("FLY_API_TOKEN", settings.fly_api_token),
            ("FLY_APP_NAME", settings.fly_app_name),
        )
        if not value
    ]
    if not (settings.ssh_private_key or settings.ssh_private_key_file):
        problems.append(
            "Fly is configured but there is no SSH key: set AETHER_SSH_PRIVATE_KEY_FILE "
            "(make one with: ssh-keygen -t ed25519 -N '' -f aether_key)"
        )
    if urllib.parse.urlsplit(settings.fly_flaps_base_url).scheme not in ("http", "https"):
        problems.append(f"FLY_FLAPS_BASE_URL={settings.fly_flaps_base_url!r} must begin with http:// or https://")
    return problems


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def flag_of(name: str) -> str:
    """Return the flag of the setting called `name`: `idle_timeout_s` → `--idle-timeout-s`."""
    return "--" + name.replace("_", "-")


def default_text(setting: Any) -> str:
    """Say a setting's default as a person would write it."""
    if setting.name == "state_dir":
        return "the user's state folder"
    if isinstance(setting.default, float):
        return f"{setting.default:g}"
    if isinstance(setting.default, range):
        return f"{setting.default.start}-{setting.default.stop - 1}"
    return "" if setting.default in (None, ()) else str(setting.default)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="server.py",
        description="aether: on-demand machines with a terminal in the browser.",
        epilog="Every flag is also an environment variable, named in brackets; the flag wins.",
        allow_abbrev=False,
    )
    for setting in SETTINGS:
        if setting.metadata.get("secret"):
            continue
        default = default_text(setting)
        text = f"{setting.metadata['help']} [{setting.metadata['env']}]" + (f" ({default})" if default else "")
        parser.add_argument(flag_of(setting.name), metavar="VALUE", help=text.replace("%", "%%"))
    return parser
