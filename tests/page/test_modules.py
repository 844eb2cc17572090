"""The page's modules: their own tests in Node, and the shape of the folder."""

import graphlib
import json
import re
import subprocess
from pathlib import Path

import pytest

from aether.app import STATIC_DIR
from aether.handlers.page import Page

ROOT = Path(__file__).parents[2]
MODULES = {path.name: path.read_text() for path in sorted((ROOT / "static" / "page").glob("*.js"))}
TESTS = sorted(Path(__file__).parent.glob("*.test.mjs"))
CLOCK = {"setTimeout", "clearTimeout", "performance", "Math.random", "Date.now"}
NEEDS_BROWSER = {  # tested in Chromium, by the tests beside this file
    *("dom.js", "header.js", "main.js", "notice.js", "sessions-list.js", "start.js"),
    *("terminal-main.js", "xterm-files.js"),
}
CLOCK_ITSELF = {"clock.js", "start.js", "terminal-main.js", "xterm-files.js"}


def imported(text):
    """Return the names of the modules that a module imports."""
    return set(re.findall(r'\bimport\b[^;]*?"\./([^"]+)"', text))


def graph():
    """Return which modules each module imports."""
    return {name: imported(text) for name, text in MODULES.items()}


def used(names, text):
    """Return those of the names that code, without its comments and texts, speaks to."""
    code = re.sub(r"//.*|\"[^\"\n]*\"|`[^`]*`", "", text)
    return {name for name in names if re.search(rf"(?<![.\w#]){re.escape(name)}\b(?!:)", code)}


@pytest.mark.outside
def test_the_modules_tests_pass_in_node(need):
    """Logic needs no browser: all of them in one process; `node --test tests/page/*.test.mjs` runs each in its own."""
    imports = "".join(
        f"import {json.dumps(path.as_uri())};" for path in TESTS
    )  # `node --test` starts Node for each file
    command = [need("node"), "--test-reporter=spec", "--input-type=module", "--eval", imports]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout
    passed = re.search(r"^ℹ pass (\d+)$", done.stdout, re.MULTILINE)
    assert int(passed[1]) > 100


def test_imports_form_a_line():
    """No module imports itself by way of others, and main.js, which no other imports, reaches every one."""
    found = graph()
    order = list(graphlib.TopologicalSorter(found).static_order())  # raises CycleError
    assert set(order) == set(MODULES)
    assert set(MODULES) - set().union(*found.values()) == {"main.js"}


def test_modules_are_small_and_say_what_they_are():
    """House style: at most 250 lines, and one sentence at the top."""
    assert not [name for name, text in MODULES.items() if len(text.splitlines()) > 250]
    assert not [name for name, text in MODULES.items() if not re.match(r"// [A-Z].*\.\n", text)]


def test_every_module_has_tests():
    """In Node, unless it needs a document."""
    tested = {path.name.replace(".test.mjs", ".js") for path in TESTS}
    assert tested | NEEDS_BROWSER == set(MODULES)
    assert not tested & NEEDS_BROWSER


def test_what_is_tested_in_node_reads_no_clock_and_starts_no_timer_of_its_own():
    """They are given to it."""
    clocks = {name: used(CLOCK, text) for name, text in MODULES.items() if name not in CLOCK_ITSELF}
    assert {name: found for name, found in clocks.items() if found} == {}


@pytest.mark.parametrize(("entry", "other"), [("start.js", "terminal-main.js"), ("terminal-main.js", "start.js")])
def test_each_page_asks_at_once_for_the_modules_it_needs_and_no_others(entry, other):
    """One round trip, not one for each step of the chain of imports."""
    page = Page(STATIC_DIR)
    body = (page.start_body if entry == "start.js" else page.terminal_body).decode()
    preloaded = re.findall(r'<link rel="modulepreload" href="/page/\w+/([^"]+)">', body)
    needed, found = {"main.js", entry}, graph()
    for _ in found:
        needed |= {name for module in needed for name in found[module]} - {other}
    assert preloaded[:2] == ["main.js", entry]
    assert sorted(preloaded) == sorted(needed)


def test_no_module_makes_markup_of_text():
    """Foreign text only ever becomes a text node."""
    dangerous = ["innerHTML", "outerHTML", "insertAdjacentHTML", "setHTMLUnsafe", "createContextualFragment", "srcdoc"]
    dangerous += ["DOMParser", "document.write", "eval(", "new Function"]
    assert not [(name, word) for name, text in MODULES.items() for word in dangerous if word in text]
