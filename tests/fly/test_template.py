"""fly.template: what a machine is created with."""

import base64
import json

import pytest

from aether.fly.template import MachineTemplate, SshNetwork, fly_name
from aether.host_file import PtyHostFile
from aether.machines import Machine, MachineSize


@pytest.fixture
def machine():
    return Machine("0123456789", "box", "sjc", "img", MachineSize("shared", 1, 512), 0, 0, 0, 20007, "ssh-ed25519 HOST")


def template(kind="public", **more):
    return MachineTemplate("here", "img", 8, "coder", "ssh-ed25519 USER", SshNetwork(kind, "app.fly.dev"), **more)


def test_files_survive_a_stop_and_a_stop_is_a_stop(machine):
    """Fly wipes a plain root file system on every stop."""
    config = template().config(machine, "HOSTKEY")
    assert config["rootfs"] == {"persist": "always", "size_gb": 8}
    assert config["restart"] == {"policy": "no"}
    assert config["stop_config"]["signal"] == "SIGTERM"


def test_a_public_machine_has_a_port_of_its_own_that_never_wakes_it(machine):
    """A shared port would be load-balanced; autostart would bill for every port scan."""
    service = template().config(machine, "HOSTKEY")["services"][0]
    assert (service["internal_port"], service["ports"]) == (2222, [{"port": 20007}])
    assert (service["autostart"], service["autostop"]) == (False, "off")
    assert template().network.address(machine) == ("app.fly.dev", 20007)


def test_a_private_machine_has_no_services_and_is_reached_on_6pn(machine):
    """On Fly's private network nothing is public."""
    machine.private_ip = "fdaa::1"
    assert template("private").config(machine, "HOSTKEY")["services"] == []
    assert template("private").network.address(machine) == ("fdaa::1", 2222)


def test_the_keys_travel_as_files(machine):
    """The machine gets its own host key and our public key, base64 as Fly wants it."""
    files = {item["guest_path"]: item for item in template().config(machine, "HOSTKEY")["files"]}
    assert base64.b64decode(files["/etc/ssh/ssh_host_ed25519_key"]["raw_value"]) == b"HOSTKEY"
    assert files["/etc/ssh/ssh_host_ed25519_key"]["mode"] == 0o600
    assert base64.b64decode(files["/etc/ssh/authorized_keys.d/coder"]["raw_value"]) == b"ssh-ed25519 USER"


def test_the_pty_host_travels_as_a_file_that_is_named_by_its_content(machine):
    """So that several versions fit on a machine, and its name says which one is there."""
    source = "print('grüße')\n"
    *others, file = template(pty_host=PtyHostFile(source.encode())).config(machine, "HOSTKEY")["files"]
    assert file["guest_path"] == "/usr/local/lib/aether/pty-host-a7409532.py"
    assert (base64.b64decode(file["raw_value"]).decode(), file["mode"]) == (source, 0o644)
    assert template().config(machine, "HOSTKEY")["files"] == others


def test_metadata_tells_another_server_all_it_needs(machine):
    """Values are strings, keys never begin with `fly`, and the private key is not among them."""
    metadata = template().metadata(machine)
    assert metadata["aether_id"] == "0123456789"
    assert not any(key.startswith("fly") for key in metadata)
    assert all(isinstance(value, str) for value in metadata.values())
    assert "HOSTKEY" not in json.dumps(metadata)


def test_the_name_at_fly_is_readable_unique_and_always_the_same(machine):
    """A deterministic name is the practical idempotency key."""
    assert fly_name(machine) == "box-01234567"
    machine.name = "aether-01234567"
    assert fly_name(machine) == "aether-01234567"
