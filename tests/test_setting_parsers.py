"""setting_parsers: a setting's text becomes a value, or an explanation; see test_settings for the settings' own."""

from pathlib import Path

import pytest

from aether.setting_parsers import number, one_of, origins, path, ports


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (origins, "https://a.example/, http://b:8080,", ("https://a.example", "http://b:8080")),
        (one_of("kept", "plain"), "plain", "plain"),
        (number(int, 0, 10), "10", 10),
        (number(float, 0, 86400), "0.5", 0.5),
        (ports, "300-301", range(300, 302)),
        (path, "/key", Path("/key")),
    ],
)
def test_a_text_becomes_a_value(parse, text, value):
    """The value has the setting's type."""
    assert parse(text) == value


@pytest.mark.parametrize(
    ("parse", "text", "hint"),
    [
        (origins, "a.example", "such as https://"),
        (one_of("kept", "plain"), "Kept", "choose one of kept, plain"),
        (number(int, 0, 10), "11", "from 0 to 10"),
        (number(int, 0, 10), "x", "a number from 0 to 10"),
        (ports, "2-1", "such as 20000-29999"),
        (path, "~nosuchuser/x", "home"),
    ],
)
def test_a_text_that_makes_no_sense_is_explained(parse, text, hint):
    """The message says what would be right."""
    with pytest.raises(ValueError, match=hint):
        parse(text)
