"""settings: environment and flags, and what is refused."""

from pathlib import Path

import pytest

from aether.settings import SETTINGS, SettingsError, flag_of, load

FLY = {"FLY_API_TOKEN": "T", "FLY_APP_NAME": "app", "AETHER_SSH_PRIVATE_KEY_FILE": "/key"}


def refusal(argv, environ):
    with pytest.raises(SettingsError) as caught:
        load(argv, environ)
    return str(caught.value)


def test_without_anything_machines_are_local_and_the_server_is_on_loopback():
    """Anyone gets a terminal in one command."""
    settings = load([], {})
    assert (settings.is_local, settings.address, settings.port) == (True, "127.0.0.1", 8080)
    assert (settings.idle_timeout_s, settings.idle_check_s) == (600, 60)


def test_a_flag_wins_over_the_environment():
    """What is typed last counts."""
    assert load(["--port", "1"], {"AETHER_PORT": "2"}).port == 1
    assert load([], {"AETHER_PORT": "2"}).port == 2


def test_an_empty_value_is_as_good_as_none():
    """`--state-dir ""` is not the current folder."""
    assert load(["--state-dir", ""], {"AETHER_PORT": ""}) == load([], {})


def test_every_setting_but_the_secrets_has_a_flag():
    """Command lines are readable by all users of a computer, so secrets come by the environment only."""
    for setting in SETTINGS:
        with pytest.raises(SystemExit):
            load([flag_of(setting.name)] if not setting.metadata.get("secret") else [flag_of(setting.name), "x"], {})


def test_help_names_every_setting(capsys):
    """--help shows flags with their environment names."""
    with pytest.raises(SystemExit):
        load(["--help"], {})
    shown = "".join(capsys.readouterr().out.split())
    assert all(f"[{s.metadata['env']}]" in shown for s in SETTINGS if not s.metadata.get("secret"))


def test_a_whole_fly_configuration_is_taken():
    """Token, app and key are enough."""
    settings = load([], FLY)
    assert not settings.is_local
    assert settings.ssh_private_key_file == Path("/key")


@pytest.mark.parametrize(
    ("missing", "named"),
    [
        ("FLY_API_TOKEN", "FLY_API_TOKEN is not"),
        ("FLY_APP_NAME", "FLY_APP_NAME is not"),
        ("AETHER_SSH_PRIVATE_KEY_FILE", "ssh-keygen"),
    ],
)
def test_a_half_configured_fly_is_refused_with_what_is_missing(missing, named):
    """A typing error must not lead to local machines."""
    assert named in refusal([], {key: value for key, value in FLY.items() if key != missing})


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"AETHER_PORT": "http"}, "AETHER_PORT"),
        ({"AETHER_PORT": "70000"}, "from 0 to 65535"),
        ({"AETHER_SESSIONS": "yes"}, "kept, plain"),
        ({"AETHER_DETACH_GRACE_S": "86401"}, "from 0 to 86400"),
        ({"AETHER_MAX_DETACHED": "0"}, "from 1 to 1000"),
        ({"AETHER_CPU_KIND": "quantum"}, "shared, performance"),
        (
            {"AETHER_EMULATOR_RUNTIME": "lxc"},
            "choose one of auto, bwrap, plain, sshd, podman, docker",
        ),
        ({"AETHER_IDLE_TIMEOUT_S": "0"}, "AETHER_IDLE_TIMEOUT_S"),
        ({"AETHER_IDLE_TIMEOUT_S": "nan"}, "AETHER_IDLE_TIMEOUT_S"),
        ({"AETHER_ALLOWED_ORIGINS": "aether.example.com"}, "https://aether.example.com"),
        ({"AETHER_ADDRESS": "0.0.0.0"}, "reverse proxy"),
        ({"AETHER_MEMORY_MB": "300"}, "AETHER_MEMORY_MB"),
        ({"AETHER_CPUS": "2.5"}, "AETHER_CPUS"),
        ({"AETHER_CPUS": "3"}, "AETHER_CPUS"),
        ({"AETHER_STATE_DIR": "~nosuchuser/x"}, "AETHER_STATE_DIR"),
        ({"AETHER_SSH_PRIVATE_KEY": "a", "AETHER_SSH_PRIVATE_KEY_FILE": "b"}, "keep one"),
        ({"AETHER_SSH_NETWORK": "private"}, "AETHER_SSH_NETWORK"),
        *(({"AETHER_SSH_PORTS": text}, "20000-29999") for text in ("22", "a-b", "-", "0-9", "30-20", "65000-65536")),
        ({**FLY, "FLY_FLAPS_BASE_URL": "api.machines.dev"}, "http://"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(environ, named):
    """The message says which setting, and what would be right."""
    assert named in refusal([], environ)


def test_ports_are_a_first_and_a_last_one():
    """Both are used, even if they are one."""
    assert load(["--ssh-ports", "300-301"], {}).ssh_ports == range(300, 302)
    assert load([], {"AETHER_SSH_PORTS": "65535-65535"}).ssh_ports == range(65535, 65536)


def test_all_wrong_settings_are_named_at_once():
    """They need not be corrected one start at a time."""
    text = refusal([], {"AETHER_PORT": "x", "AETHER_CPUS": "x"})
    assert "AETHER_PORT" in text
    assert "AETHER_CPUS" in text


def test_a_refused_secret_is_not_repeated():
    """Secrets never reach a log."""
    assert "hunter2" not in refusal([], {"FLY_API_TOKEN": "hunter2"})
