"""options: what is settable, and what no emulator can be."""

import inspect
import re
from dataclasses import fields

import pytest

from aether.emulator.options import Options


def test_defaults_are_fast_and_unlimited():
    """An embedded emulator neither waits nor refuses."""
    options = Options()
    assert {getattr(options, field.name) for field in fields(options) if field.name.endswith("_s")} == {0.0}
    assert options.rate_limit is False


def test_every_option_is_documented():
    """The docstring names each option and no other."""
    named = re.findall(r"^    ([a-z_]+): ", inspect.getdoc(Options), re.MULTILINE)
    assert named == [field.name for field in fields(Options)]


@pytest.mark.parametrize(
    "wrong",
    [{"boot_delay_s": -1}, {"pull_delay_s": float("nan")}, {"stop_on_stopped": 404}, {"lease_body": "round"}],
)
def test_nonsense_is_refused(wrong):
    """A value no emulator can honour is an error that names the option."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Options(**wrong)
