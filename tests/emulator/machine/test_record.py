"""record: identifiers, image names and events as Fly writes them."""

import ipaddress
import re

import pytest

from aether.emulator.machine import record

NOW = 1_800_000_000.5


def test_ulids_sort_by_time():
    """A ULID begins with the time, so that later ones sort later."""
    earlier, later = record.ulid(NOW), record.ulid(NOW + 0.001)
    assert re.fullmatch(r"[0-9A-HJKMNP-TV-Z]{26}", earlier)
    assert earlier[:10] < later[:10]


def test_ulid_of_a_known_time():
    """The first ten characters are the milliseconds in Crockford's base 32 (the example of the ULID specification)."""
    assert record.ulid(1469918176.385)[:10] == "01ARYZ6S41"


def test_ulids_of_one_moment_differ():
    """The rest of a ULID is random."""
    assert len({record.ulid(NOW) for _ in range(100)}) == 100


def test_times_are_whole_seconds_of_utc():
    """A time has no fraction and ends in `Z`."""
    assert record.rfc3339(NOW) == "2027-01-15T08:00:00Z"


def test_private_address_is_of_flys_network():
    """The address of a machine is one of Fly's private network, spelled as an address must be."""
    assert ipaddress.ip_address(record.private_ip()) in ipaddress.ip_network("fdaa::/16")


@pytest.mark.parametrize(
    ("image", "registry", "repository", "tag"),
    [
        ("registry.fly.io/app/base:v1", "registry.fly.io", "app/base", "v1"),
        ("registry.fly.io/app/base", "registry.fly.io", "app/base", "latest"),
        ("localhost/x", "localhost", "x", "latest"),
        ("host:5000/x:2", "host:5000", "x", "2"),
        ("debian", "docker-hub-mirror.fly.io", "library/debian", "latest"),
        ("flyio/hello:old", "docker-hub-mirror.fly.io", "flyio/hello", "old"),
    ],
)
def test_image_names_are_split(image, registry, repository, tag):
    """A first part that is no host name belongs to Docker's hub, as does a name without parts."""
    ref = record.image_ref(image)
    assert (ref["registry"], ref["repository"], ref["tag"]) == (registry, repository, tag)


def test_image_digest_is_kept_or_made_up():
    """A digest that is given is answered; otherwise the same name has always the same."""
    assert record.image_ref("ghcr.io/a/b@sha256:77")["digest"] == "sha256:77"
    made_up = record.image_ref("debian")["digest"]
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", made_up)
    assert (record.image_ref("debian")["digest"] == made_up) and (record.image_ref("ubuntu")["digest"] != made_up)


def test_machine_without_a_name_gets_one():
    """A name that was given stays; another is made from the id."""
    config = {"image": "debian"}
    assert record.new_machine("box", "ams", config, NOW)["name"] == "box"
    machine = record.new_machine(None, "ams", config, NOW)
    assert machine["name"] == f"local-machine-{int(machine['id'][-4:], 16)}"


def test_new_machines_share_nothing():
    """Each machine has identifiers and a history of its own."""
    one, other = (record.new_machine(None, "ams", {"image": "debian"}, NOW) for _ in range(2))
    assert one["id"] != other["id"]
    assert one["instance_id"] != other["instance_id"]
    assert one["events"] is not other["events"]


def test_events_are_stamped_in_milliseconds():
    """The one time that Fly writes as a number is in milliseconds."""
    event = record.event("start", "started", "flyd", NOW)
    assert event.pop("id").startswith(record.ulid(NOW)[:10])
    assert event == {
        "type": "start",
        "status": "started",
        "source": "flyd",
        "timestamp": 1_800_000_000_500,
        "request": None,
    }


@pytest.mark.parametrize(("code", "exit_code", "signal"), [(0, 0, -1), (3, 3, -1), (-9, 137, 9)])
def test_exit_events_tell_codes_from_signals(code, exit_code, signal):
    """A signal is reported as such and as the code a shell would give it."""
    exit_event = record.exit_request(code, True, "why", NOW)["exit_event"]
    assert (exit_event["exit_code"], exit_event["guest_exit_code"]) == (exit_code, exit_code)
    assert (exit_event["signal"], exit_event["guest_signal"]) == (signal, signal)
    assert (exit_event["requested_stop"], exit_event["error"]) == (True, "why")
    assert exit_event["exited_at"] == "2027-01-15T08:00:00.500Z"
