"""The maps in `aether/__init__.py` and `aether/emulator/__init__.py` are the code's own shape: imports point down."""

import ast
import functools
import re
from pathlib import Path

import aether
import aether.emulator

PACKAGE = Path(aether.__file__).parent
MAPS = (aether, aether.emulator)
PURE = {
    "aether.openapi",
    "aether.fly.template",
    "aether.fly.answers",
    "aether.fly.limits",
    "aether.messages",
    "aether.schemas",
    "aether.fleet.tombstones",
    "aether.terminals.flow",
    "aether.terminals.output",
    "aether.terminals.frames",
    "aether.terminals.unconfirmed",
    "aether.host_file",
    "aether.terminals.session_info",
    "aether.machines",
    "aether.errors",
    "aether.emulator.http.limits",
    "aether.emulator.machine.leases",
    "aether.emulator.machine.record",
    "aether.emulator.requests",
    "aether.emulator.config",
    "aether.emulator.options",
    "aether.emulator.errors",
}


@functools.cache
def modules():
    """Return every module's dotted name and file."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@functools.cache
def imported(path):
    """Return the modules that a file imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            inner = {f"{node.module}.{alias.name}" for alias in node.names} & set(modules())
            names |= inner or {node.module}
    return names


def read_map(package):
    """Return the modules of a package's map, top to bottom, and whether each is marked as pure.

    A module that is indented below another is inside that package, however deep.
    """
    marks, above = {}, [(0, package.__name__)]
    for indent, name, text in re.findall(r"^( {4,})([a-z_]+) {2,}(\S.*)$", package.__doc__, re.MULTILINE):
        while len(above) > 1 and above[-1][0] >= len(indent):
            above.pop()
        above.append((len(indent), f"{above[-1][1]}.{name}"))
        marks[above[-1][1]] = text.endswith("(pure)")
    return marks


def inside(package):
    """Return the modules that a package's map has to name: one with a map of its own is a single line."""
    others = tuple(f"{other.__name__}." for other in MAPS if other.__name__.startswith(f"{package.__name__}."))
    return {name for name in modules() if name.startswith(f"{package.__name__}.") and not name.startswith(others)}


def test_the_maps_name_every_module():
    """A newcomer's first screen is complete; the emulator has a map of its own."""
    for package in MAPS:
        assert set(read_map(package)) == inside(package)


def test_imports_point_down():
    """No module imports one that stands above it in its map, not behind TYPE_CHECKING either."""
    upwards = set()
    for package in MAPS:
        order = {module: place for place, module in enumerate(read_map(package))}
        for name, place in order.items():
            targets = {nearest(other, order) for other in imported(modules()[name])} - {None}
            upwards |= {f"{name} imports {other}, which is above it" for other in targets if order[other] <= place}
    assert not upwards


def nearest(module, order):
    """Return a module, or the package around it that the map names."""
    while module and module not in order:
        module = module.rpartition(".")[0]
    return module or None


def test_the_emulator_imports_nothing_from_the_rest_of_aether():
    """Client and emulator share the published API, never code, so they cannot share a mistake."""
    emulator = {name: path for name, path in modules().items() if name.startswith("aether.emulator")}
    ours = {module for path in emulator.values() for module in imported(path) if module.split(".")[0] == "aether"}
    assert ours <= set(emulator)


def test_pure_modules_do_no_io_and_read_no_clock():
    """What is pure imports neither Tornado nor asyncssh nor a clock."""
    roots = {(name, module.split(".")[0]) for name in PURE for module in imported(modules()[name])}
    impure = {"tornado", "asyncssh", "asyncio", "time", "socket", "os"}
    assert not {(name, root) for name, root in roots if root in impure}


def test_the_maps_mark_the_pure_modules():
    """A reader of a map sees what can be tested without a server."""
    marks = {name: is_pure for package in MAPS for name, is_pure in read_map(package).items()}
    assert {name for name, is_pure in marks.items() if is_pure} == PURE


def test_only_settings_reads_the_environment():
    """One place for each decision."""
    readers = {name for name, path in modules().items() if re.search(r"os\.(environ|getenv)", path.read_text())}
    assert {name for name in readers if not name.startswith("aether.emulator")} == {"aether.settings"}


def test_a_module_fits_in_one_sitting():
    """House style: at most 250 lines, and a docstring that says what the module is."""
    texts = {name: path.read_text() for name, path in modules().items()}
    assert not [name for name, text in texts.items() if not ast.get_docstring(ast.parse(text))]
    assert not [name for name, text in texts.items() if len(text.splitlines()) > 250]


def test_every_module_has_its_tests():
    """tests/ mirrors the tree."""
    paths = [path.relative_to(PACKAGE) for path in modules().values()]
    named = [path for path in paths if path.name not in ("__init__.py", "__main__.py")]
    assert len(named) > 50
    assert not [p for p in named if not (Path(__file__).parent / p.parent / f"test_{p.name}").exists()]
