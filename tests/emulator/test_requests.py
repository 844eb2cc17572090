"""requests: how bodies are decoded, and what is said about wrong ones."""

import pytest

from aether.emulator import requests
from aether.emulator.errors import ApiError


def refusal(function, *args):
    with pytest.raises(ApiError) as caught:
        function(*args)
    return caught.value.status, caught.value.message


@pytest.mark.parametrize("body", [b"", b" \r\n", b"{}"])
def test_empty_body_is_an_empty_object(body):
    """A call that needs no body accepts none."""
    assert requests.decode(body, requests.STOP, "stopRequest") == {}


@pytest.mark.parametrize(
    "body",
    [b"{", b"{} {}", b"{'a': 1}", b'{"a": NaN}', b'{"a": -Infinity}', b'{"a": "\xff"}', b'{"a": "\\ud800"}'],
)
def test_json_is_read_strictly(body):
    """What JSON does not know, Python's additions included, is refused."""
    text = "invalid_argument: the request body is not valid JSON"
    assert refusal(requests.decode, body, requests.STOP, "stopRequest") == (400, text)


def test_null_is_as_good_as_absent():
    """Go leaves out what is null, at any depth."""
    body = b'{"config": {"image": "i", "env": null, "services": [{"protocol": "tcp", "ports": null}]}, "name": null}'
    decoded = requests.decode(body, requests.CREATE, "createMachineRequest")
    assert decoded == {"config": {"image": "i", "services": [{"protocol": "tcp"}]}}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"[]", "json: cannot unmarshal array into Go value of type main.createMachineRequest"),
        (
            b'{"config": {"image": 7}}',
            "json: cannot unmarshal number into Go struct field createMachineRequest.config.image of type string",
        ),
        (
            b'{"config": {"image": "i", "env": {"A": true}}}',
            "json: cannot unmarshal bool into Go struct field createMachineRequest.config.env.A of type string",
        ),
        (b"{}", "invalid_argument: body: 'config' is a required property"),
        (b'{"config": {"image": ""}}', "invalid_argument: config.image: '' should be non-empty"),
    ],
)
def test_wrong_body_is_explained_with_the_path(body, message):
    """A wrong type is told in the words of Go's decoder, anything else with the key's path."""
    assert refusal(requests.decode, body, requests.CREATE, "createMachineRequest") == (400, message)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"config":' * 2000,
        b'{"config":{"image":"i","stop_config":{"timeout":1e9}}}',
        b'{"config":{"image":"i","guest":{"cpus":1.0}}}',
        b'{"config":{"image":"i","init":{"cmd":[1]}}}',
        b'{"config":{"image":"i","init":{"exec":"sleep 1"}}}',
        b'{"config":{"image":"i","files":[{"guest_path":"/a","mode":1099511627776}]}}',
        b'{"config":{"image":"i","files":[{"guest_path":"/a","mode":420.0}]}}',
    ],
)
def test_what_go_would_refuse_is_refused_before_anything_breaks(body):
    """Nesting without end, and numbers that are no integers of Go's."""
    with pytest.raises(ApiError) as caught:
        requests.decode(body, requests.CREATE, "createMachineRequest")
    assert caught.value.status == 400
