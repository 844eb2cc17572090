"""config: the rules of a machine's config, its defaults, and what is read from it."""

import json

import pytest

from aether.emulator import requests
from aether.emulator.config import check_config, file_content, grace_s, ssh_port
from aether.emulator.errors import ApiError


def refusal(function, *args):
    with pytest.raises(ApiError) as caught:
        function(*args)
    return caught.value.status, caught.value.message


def create(**config):
    body = json.dumps({"config": {"image": "i", **config}}).encode()
    request = requests.decode(body, requests.CREATE, "createMachineRequest")
    return check_config(request["config"])


def test_defaults_are_filled_in():
    """The config that is kept has Fly's defaults, what was asked for, and unknown keys."""
    assert create(new={"of": "fly"}, guest={"memory_mb": 512}) == {
        "image": "i",
        "new": {"of": "fly"},
        "env": {},
        "init": {},
        "guest": {"cpu_kind": "shared", "cpus": 1, "memory_mb": 512},
    }


@pytest.mark.parametrize(
    ("kind", "cpus", "memory_mb"),
    [
        ("shared", 1, 256),
        ("shared", 1, 2048),
        ("shared", 8, 2048),
        ("performance", 1, 2048),
        ("performance", 2, 5120),
        ("performance", 16, 131072),
    ],
)
def test_sizes_that_fly_sells(kind, cpus, memory_mb):
    """Each CPU brings a least and a most of memory."""
    guest = {"cpu_kind": kind, "cpus": cpus, "memory_mb": memory_mb}
    assert create(guest=guest)["guest"] == guest


@pytest.mark.parametrize(
    ("kind", "cpus", "memory_mb", "word"),
    [
        ("shared", 1, 2304, "outside 256 to 2048"),
        ("shared", 2, 256, "outside 512 to 4096"),
        ("shared", 1, 257, "not a multiple of 256"),
        ("shared", 1, 0, "outside"),
        ("shared", 3, 768, "number of CPUs: 3"),
        ("shared", 0, 256, "number of CPUs: 0"),
        ("performance", 1, 1024, "outside 2048 to 8192"),
        ("performance", 1, 2304, "not a multiple of 1024"),
        ("gpu", 1, 256, "cpu_kind 'gpu'"),
    ],
)
def test_sizes_that_fly_does_not_sell(kind, cpus, memory_mb, word):
    """Another size is 422 and the message says what is wrong with it."""
    status, message = refusal(lambda: create(guest={"cpu_kind": kind, "cpus": cpus, "memory_mb": memory_mb}))
    assert status == 422
    assert word in message


@pytest.mark.parametrize(
    ("timeout", "seconds"),
    [(None, 5), (0, 0), ("0", 0), (1_500_000_000, 1.5), ("1m30s", 90), ("250ms", 0.25), (".5s", 0.5), ("5m", 300)],
)
def test_durations_of_go(timeout, seconds):
    """A duration is text as Go writes it, or nanoseconds; none is five seconds."""
    assert grace_s(timeout) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("timeout", "status"),
    [
        ("", 400),
        ("5", 400),
        ("5 s", 400),
        ("5days", 400),
        ("-5s", 400),
        ("5m1s", 422),
        (-1, 422),
        ("9" * 400 + "h", 422),
    ],
)
def test_durations_that_are_none(timeout, status):
    """Text that is no duration is 400, one out of range 422."""
    assert refusal(grace_s, timeout)[0] == status


@pytest.mark.parametrize(
    "path", ["", "etc/a", "/", "//etc/a", "/etc/", "/etc/../root/a", "/./a", "/etc//a", "/etc/a\0b"]
)
def test_paths_that_are_not_plain(path):
    """A file's path is absolute, without detours, and no directory."""
    assert refusal(lambda: create(files=[{"guest_path": path}]))[0] == 400


@pytest.mark.parametrize(
    ("config", "status"),
    [
        ({"files": [{"guest_path": "/a", "raw_value": "%"}]}, 400),
        ({"files": [{"guest_path": "/a", "secret_name": "S"}]}, 501),
        ({"files": [{"guest_path": "/a", "image_config": "i"}]}, 501),
        ({"stop_config": {"timeout": "soon"}}, 400),
    ],
)
def test_what_a_boot_will_need_is_checked_before(config, status):
    """A create is refused for what would fail only later; the same config without the fault is kept as it is."""
    assert refusal(lambda: create(**config))[0] == status
    files, stop_config = [{"guest_path": "/a/b", "raw_value": "AA=="}], {"timeout": "9s"}
    kept = create(files=files, stop_config=stop_config)
    assert (kept["files"], kept["stop_config"]) == (files, stop_config)


def test_file_content_is_base64():
    """`raw_value` is strict base64 and may be left out."""
    assert file_content({"guest_path": "/a", "raw_value": "AP8="}) == b"\x00\xff"
    assert file_content({"guest_path": "/a"}) == b""
    for raw_value in ("AP8", "AP8=\n", "é"):
        assert refusal(file_content, {"guest_path": "/a", "raw_value": raw_value})[0] == 400


@pytest.mark.parametrize(
    "services",
    [
        [{"protocol": "udp", "ports": [{"port": 22}]}],
        [{"protocol": "tcp", "ports": []}],
        [{"protocol": "tcp", "ports": [{"start_port": 1}]}],
        [{"protocol": "tcp", "ports": [{"port": 22}, {"port": 23}]}],
        [{"protocol": "tcp", "ports": [{"port": 22, "handlers": ["tls"]}]}],
        [{"protocol": "tcp", "ports": [{"port": 22}]}] * 2,
    ],
)
def test_services_we_cannot_offer(services):
    """A service that is not one plain TCP port is 501, never half a service."""
    assert refusal(lambda: create(services=services))[0] == 501


def test_ssh_port_is_the_external_one():
    """The port of a machine is that of its one service; it may have none."""
    services = [{"protocol": "tcp", "internal_port": 2222, "ports": [{"port": 20022, "handlers": []}]}]
    assert ssh_port(create(services=services)) == 20022
    assert ssh_port(create()) is None


@pytest.mark.parametrize("key", ["mounts", "schedule", "containers", "auto_destroy", "standbys", "statics"])
def test_what_we_cannot_honour_is_501(key):
    """A key that asks for what the emulator lacks is refused by name; an empty one asks for nothing."""
    values = {"mounts": ["v"], "auto_destroy": True}
    text = f"unimplemented: the emulator does not support config.{key}"
    assert refusal(lambda: create(**{key: values.get(key, "x")})) == (501, text)
    assert create(**{key: type(values.get(key, ""))()})


def test_a_path_that_no_file_system_can_hold_is_refused():
    """Half of a surrogate pair is no file name."""
    with pytest.raises(ApiError, match="guest_path"):
        check_config({"image": "i", "files": [{"guest_path": "/\ud800"}]})
