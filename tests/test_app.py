"""app: the program as a whole, from the settings to the stop."""

import asyncssh
import pytest

from aether.app import PTY_HOST, Aether
from aether.emulator.errors import EmulatorError
from aether.errors import ProviderError
from aether.host_file import PtyHostFile
from aether.schemas import MAX_INPUT_CHARS
from aether.settings import load
from aether.ssh.keys import UserKeyError
from tests.processes import alive, below


def test_the_user_s_key_is_made_in_the_state_folder(aether, settings):
    """Once, for its owner only."""
    assert (settings.state_dir / "ssh_key").stat().st_mode & 0o077 == 0


@pytest.mark.gen_test
async def test_a_state_folder_belongs_to_one_server_at_a_time(aether, settings, clock):
    """A second server would run the same machines twice."""
    with pytest.raises(EmulatorError):
        await Aether(settings, clock).start()


def test_silent_connections_are_kept_alive_and_messages_bounded(aether):
    """Proxies cut what is silent for a minute (nginx's proxy_read_timeout); no client sends more than a paste."""
    assert 0 < aether.application.settings["websocket_ping_interval"] < 60
    assert aether.application.settings["websocket_max_message_size"] >= 6 * MAX_INPUT_CHARS


@pytest.mark.gen_test
async def test_a_new_machine_has_the_pty_host(aether, machine, until_state, settings):
    """As it is in this checkout, and in the images."""
    box = await machine()
    await until_state(box["id"], "running")
    [found] = settings.state_dir.rglob("pty-host-*.py")
    assert str(found).endswith(PtyHostFile(PTY_HOST.read_bytes()).path)
    assert found.read_text() == PTY_HOST.read_text()


@pytest.mark.gen_test
async def test_stopping_stops_the_local_machines(aether, machine, until_state):
    """What starts also stops."""
    box = await machine()
    await until_state(box["id"], "running")
    inside = below()
    assert inside
    await aether.stop()
    await aether.stop()
    assert not alive(inside)


@pytest.mark.outside
@pytest.mark.gen_test
@pytest.mark.logs_warnings
async def test_a_fly_that_refuses_the_token_refuses_the_start(tmp_path, io_loop):
    """The error names the setting, and nothing is left open."""
    from aether.emulator.server import Emulator

    emulator = Emulator(state_dir=tmp_path / "fly", token="right")
    await emulator.start()
    key = tmp_path / "key"
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(key)
    fly = {"FLY_API_TOKEN": "wrong", "FLY_APP_NAME": "app", "FLY_FLAPS_BASE_URL": emulator.url}
    with pytest.raises(ProviderError, match="FLY_API_TOKEN"):
        await Aether(load([], {**fly, "AETHER_SSH_PRIVATE_KEY_FILE": str(key)})).start()
    await emulator.stop()


@pytest.mark.gen_test
async def test_a_key_that_cannot_be_used_refuses_the_start(tmp_path, io_loop):
    """Before anything is started."""
    with pytest.raises(UserKeyError):
        await Aether(load([], {"AETHER_SSH_PRIVATE_KEY": "nonsense", "AETHER_STATE_DIR": str(tmp_path)})).start()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.outside
@pytest.mark.gen_test
async def test_whoever_starts_the_server_is_told_that_machines_are_containers(tmp_path, io_loop, monkeypatch):
    """Once the engine answers; this one has none."""
    (tmp_path / "podman").write_text("#!/bin/sh\n[ $1 != info ] || echo '[cpu memory]'\n")  # a mock: most lack podman
    (tmp_path / "podman").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    aether = Aether(load(["--emulator-runtime", "podman"], {"AETHER_STATE_DIR": str(tmp_path / "state")}))
    await aether.start()
    assert aether.where().endswith("so machines are containers on this computer")
    assert aether.health()["contained"] is True
    assert aether.health()["machines"] == "containers on this computer"  # from which the page knows
    await aether.stop()
