"""Parsers of settings' texts; each raises ValueError with what would be right."""

import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any


def origins(text: str) -> tuple[str, ...]:
    """Parse origins, comma separated, such as `https://aether.example.com`; raise ValueError."""
    origins = tuple(part.strip().rstrip("/") for part in text.split(",") if part.strip())
    for origin in origins:
        parts = urllib.parse.urlsplit(origin)
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.path:
            raise ValueError(f"{origin!r} is not an origin such as https://aether.example.com")
    return origins


def one_of(*choices: str) -> Callable[[str], str]:
    """Return a parser that takes one of these words."""

    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"choose one of {', '.join(choices)}")
        return text

    return parse


def number(kind: type[int] | type[float], low: float, high: float) -> Callable[[str], Any]:
    """Return a parser of numbers from `low` to `high`."""

    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            raise ValueError(f"must be a number from {low:g} to {high:g}") from None
        if not low <= value <= high:
            raise ValueError(f"must be from {low:g} to {high:g}")
        return value

    return parse


def ports(text: str) -> range:
    """Parse a first and a last port, such as `20000-29999`, into a range; raise ValueError."""
    first, _, last = text.partition("-")
    ports = range(int(first), int(last) + 1) if first.isdecimal() and last.isdecimal() else range(0)
    if not ports or ports.start < 1 or ports[-1] >= 1 << 16:
        raise ValueError("must be two ports from 1 to 65535 such as 20000-29999, the lower one first")
    return ports


def path(text: str) -> Path:
    """Parse a path, which may begin with `~`, into an absolute one; raise ValueError."""
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError as error:
        raise ValueError(str(error)) from error
