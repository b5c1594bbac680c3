"""Imports go down only, those inside functions counted: whoever reads a room needs only the rooms below it."""

import ast
from pathlib import Path

import gains

ROOT = Path(gains.__file__).parent
LAYERS = (
    ("errors", "arrays"),
    ("files", "config", "renamed", "ending"),
    ("settings", "locks"),
    ("typed", "completion", "values"),
    ("spelling",),
    ("plain", "rle", "download"),
    ("masks", "operating_point"),
    ("contract", "overlaps", "instances", "images"),
    ("suppression", "formats", "gradient_anomaly"),
    ("metrics",),
    ("data", "models", "comparison"),
    ("drawing",),
    ("export",),
    ("prediction",),
    ("napari",),
    ("training",),
    ("reports",),
    ("tasks",),
    ("cli",),
)
"""Rooms from the lowest layer up; within a layer nobody imports another room."""


def modules() -> dict[str, Path]:
    found = {}
    for path in ROOT.rglob("*.py"):
        parts = ("gains", *path.relative_to(ROOT).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path, known: dict[str, Path]) -> set[str]:
    """Modules of the package that a file imports anywhere, under TYPE_CHECKING and inside functions too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name for name in names if name in known and name != "gains"}


def room(module: str) -> str:
    return module.split(".")[1]


def test_every_room_has_its_layer() -> None:
    assert {room(module) for module in modules() if module != "gains"} == {name for layer in LAYERS for name in layer}


def test_imports_go_down() -> None:
    height = {name: index for index, layer in enumerate(LAYERS) for name in layer}
    known = modules()
    upwards = {
        (room(module), room(target))
        for module, path in known.items()
        if module != "gains"
        for target in imports(path, known)
        if room(target) != room(module) and height[room(target)] >= height[room(module)]
    }
    assert upwards == set()


def test_no_circle_of_files() -> None:
    known = modules()
    edges = {module: imports(path, known) - {module} for module, path in known.items() if module != "gains"}
    while True:
        free = {module for module, targets in edges.items() if not targets & set(edges)}
        if not free:
            break
        edges = {module: targets for module, targets in edges.items() if module not in free}
    assert edges == {}


def test_tasks_are_short() -> None:
    """A task composes, builds, runs and returns; what it does lies in the rooms below."""
    lengths = {path.name: len(path.read_text().splitlines()) for path in (ROOT / "tasks").glob("*.py")}
    assert {name: length for name, length in lengths.items() if length >= 130} == {}


def test_files_and_functions_are_of_a_readable_length() -> None:
    """No file over 350 lines, no function over 60: a longer one does several things."""
    checkout = ROOT.parent
    files = [path for room in ("gains", "tests", "scripts") for path in (checkout / room).rglob("*.py")]
    assert [path for path in files if len(path.read_text().splitlines()) > 350] == []
    functions = [
        (path.name, node.name)
        for path in files
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and 1 + (node.end_lineno or 0) - node.lineno > 60
    ]
    assert functions == []
