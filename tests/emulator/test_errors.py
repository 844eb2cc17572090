"""errors: what an error answers."""

import pytest

from aether.emulator.errors import ApiError, EmulatorError, RuntimeUnavailable, TooManyRequests


def test_the_message_is_the_body_unless_fly_has_another_one():
    """`error` is the usual key; a few answers have others."""
    assert ApiError(404, "not_found: x").body == {"error": "not_found: x"}
    assert ApiError(409, "x", {"message": "x"}).body == {"message": "x"}


def test_a_client_over_the_limit_is_told_when_to_try_again():
    """429, and the seconds."""
    error = TooManyRequests(3)
    assert (error.status, error.body, error.retry_after_s) == (429, {"error": "rate limit exceeded"}, 3)


def test_a_runtime_that_does_not_work_keeps_the_emulator_from_starting():
    """The caller of `start` has one error to catch."""
    with pytest.raises(EmulatorError, match="does not work"):
        raise RuntimeUnavailable("podman does not work here")
