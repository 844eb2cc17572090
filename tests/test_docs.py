"""README says what the code does: routes, settings, messages, errors."""

import re
from pathlib import Path

import pytest

import aether as package
from aether import errors, machines, schemas
from aether.settings import SETTINGS, default_text

README = (Path(__file__).parent.parent / "README.md").read_text()
CHANGELOG = (Path(__file__).parent.parent / "CHANGELOG.md").read_text()


def rows(heading):
    """Return the cells of the table under a heading."""
    section = README.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_every_setting_is_in_the_table_with_its_default_and_help():
    """The README's table is the code's, row by row."""
    documented = {row[0].strip("`"): (row[1].strip("`"), row[2]) for row in rows("Settings")}
    assert documented == {s.metadata["env"]: (default_text(s), s.metadata["help"]) for s in SETTINGS}


def test_every_route_is_in_the_table(aether):
    """And no route is that does not exist."""
    documented = {path.split("?")[0] for row in rows("REST") for path in re.findall(r"`(?:[A-Z]+ )?(/\S*?)`", row[0])}
    patterns = {pattern.replace("/sessions/([^/]+)", "/sessions/:session") for pattern, *_ in aether.routes()}
    served = {pattern.replace("([^/]+)", ":id").replace("(.+)", "…") for pattern in patterns}
    assert documented == served


@pytest.mark.parametrize("kind", sorted({*schemas.TERMINAL_SCHEMAS, *schemas.SERVER_SCHEMAS}))
def test_every_terminal_message_is_in_the_readme_with_its_fields(kind):
    """Clients are written from it."""
    section = README.partition("\n## Terminal messages\n")[2].partition("\n## ")[0]
    fields = {**schemas.TERMINAL_SCHEMAS, **schemas.SERVER_SCHEMAS}[kind]["properties"]
    examples = "".join(re.findall(rf'{{"type":"{kind}".*?}}', section))
    assert [field for field in fields if f'"{field}":' not in examples and f'"{field}"' not in section] == []
    assert examples


def test_every_error_is_in_the_readme_with_its_codes():
    """Code, HTTP status and close code."""
    documented = {row[0].strip("`"): row[1:3] for row in rows("Errors")}
    expected = {}
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, errors.AetherError):
            expected[kind.code] = [str(kind.http_status), str(kind.ws_close)]
    assert set(documented) == set(expected)
    for code, (http, close) in documented.items():
        assert http in (expected[code][0], "–")
        assert close in (expected[code][1], "–")


def test_the_two_commands_are_there_and_exist():
    """What a new user types."""
    for command in ("./scripts/serve", "./scripts/test"):
        assert command in README
        assert (Path(__file__).parent.parent / command).stat().st_mode & 0o111


def test_every_link_to_a_file_leads_somewhere():
    """Pictures included."""
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (Path(__file__).parent.parent / target).exists(), target


def test_the_version_is_in_the_changelog():
    """Users read it before they upgrade."""
    assert f"## {package.__version__}" in CHANGELOG


@pytest.mark.parametrize("code", [machines.HOST_UNREACHABLE, machines.PORT_SHARED])
def test_every_code_that_only_a_machine_s_error_has_is_in_the_readme(code):
    """Clients show them."""
    assert f"`{code}`" in README
