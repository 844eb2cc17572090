"""The map in `aether/__init__.py` is the code's own shape: imports point down."""

import ast
import re
from pathlib import Path

import aether

PACKAGE = Path(aether.__file__).parent
PURE = {
    "aether.openapi",
    "aether.fly.template",
    "aether.fly.answers",
    "aether.fly.limits",
    "aether.messages",
    "aether.fleet.tombstones",
    "aether.terminals.flow",
    "aether.terminals.output",
    "aether.machines",
    "aether.errors",
}


def modules():
    """Return every module's dotted name and file."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


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


def read_map():
    """Return the map's modules, top to bottom; a module indented below another is inside that package."""
    names, package = [], ""
    for line in aether.__doc__.splitlines():
        match = re.fullmatch(r"( {4}| {6})([a-z_]+) {2,}\S.*", line)
        if not match:
            continue
        indent, name = match.groups()
        if len(indent) == 4:
            package = name
            names.append(f"aether.{name}")
        else:
            names.append(f"aether.{package}.{name}")
    return names


def test_the_map_names_every_module():
    """A newcomer's first screen is complete; the emulator has a map of its own."""
    emulated = {name for name in modules() if name.startswith("aether.emulator.")}
    assert set(read_map()) == set(modules()) - emulated - {"aether"}


def test_imports_point_down():
    """No module imports one that stands above it in the map."""
    order = {module: place for place, module in enumerate(read_map())}
    upwards = {
        f"{name} imports {other}, which stands above it"
        for name in order
        for other in imported(modules()[name]) & set(order)
        if order[other] <= order[name]
    }
    assert not upwards


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


def test_the_map_marks_the_pure_modules():
    """Whoever reads the map sees what can be tested without a server."""
    marked = re.findall(r"^ +([a-z_]+) .*\(pure\)$", aether.__doc__, re.MULTILINE)
    assert sorted(marked) == sorted(name.split(".")[-1] for name in PURE)


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
