"""Draw docs/images/architecture.png from the code: from file to loss, from checkpoint to file, and the layers of rooms.

Run as ``python scripts/figure_architecture.py``. Each step is a function or class that has to exist; what stands in its
box is the first line of its docstring. Heights and arrows of the rooms follow from the imports.
"""

import ast
import re
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

ROOT = Path(__file__).parents[1]
OUTPUT = ROOT / "docs" / "images" / "architecture.png"
FLOWS = {
    "gains train: from a file to the loss": [
        "images.files.read_image",
        "data.prepare.prepare",
        "data.dataset.InstanceDataset",
        "data.augmentation.Augmentation",
        "data.datamodule.InstanceDataModule",
        "training.module.InstanceSegmentation",
        "models.parts.detector.Detector",
        "metrics.evaluator.InstanceSegmentationEvaluator",
    ],
    "gains predict: from a checkpoint to a file": [
        "models.checkpoint.load_network",
        "prediction.predictor.Predictor",
        "prediction.tiling.TileGrid",
        "prediction.stitching.stitch",
        "prediction.result.Prediction",
        "export.export.Export",
        "export.formats.save",
        "reports.prediction.write_prediction_report",
    ],
}


def first_line(symbol: str) -> str:
    """First line of the docstring of ``room.module.name`` below ``gains``."""
    module, name = symbol.rsplit(".", 1)
    tree = ast.parse((ROOT / "gains" / Path(*module.split("."))).with_suffix(".py").read_text())
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            return re.sub(r":\w+:`|`", "", (ast.get_docstring(node) or "").splitlines()[0])
    raise SystemExit(f"gains.{symbol} does not exist any more")


def room_imports() -> dict[str, set[str]]:
    """Which rooms of the package each room imports."""
    rooms: dict[str, set[str]] = {}
    for path in (ROOT / "gains").rglob("*.py"):
        room = path.relative_to(ROOT / "gains").parts[0].removesuffix(".py")
        if room == "__init__":
            continue
        wanted = rooms.setdefault(room, set())
        for node in ast.walk(ast.parse(path.read_text())):
            name = imported(node)
            if name.startswith("gains."):
                wanted.add(name.split(".")[1])
    return {room: wanted & rooms.keys() - {room} for room, wanted in rooms.items()}


def imported(node: ast.AST) -> str:
    """The module that a statement imports, or a call of ``import_module``; empty for anything else."""
    if isinstance(node, ast.ImportFrom):
        return node.module or ""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "import_module":
        name = node.args[0].values[0] if isinstance(node.args[0], ast.JoinedStr) else node.args[0]
        return str(name.value) if isinstance(name, ast.Constant) else ""
    return ""


def heights(rooms: dict[str, set[str]]) -> dict[str, int]:
    """How many layers of rooms lie below each room."""
    found: dict[str, int] = {}
    while len(found) < len(rooms):
        ready = [room for room in rooms if room not in found and rooms[room] <= found.keys()]
        if not ready:
            raise SystemExit(f"these rooms import each other in a circle: {sorted(rooms.keys() - found.keys())}")
        found |= {room: 1 + max((found[below] for below in rooms[room]), default=-1) for room in ready}
    return found


def shorten(text: str, most: int = 78) -> str:
    """At most so many characters."""
    return text if len(text) <= most else text[: most - 1].rsplit(" ", 1)[0] + " …"


def draw_flow(axes: Axes, title: str, symbols: list[str]) -> None:
    """Boxes from top to bottom."""
    style = {"boxstyle": "round,pad=0.5", "facecolor": "#eef3f9", "edgecolor": "#5b7ea4"}
    for index, symbol in enumerate(symbols):
        text = f"{symbol}\n{shorten(first_line(symbol))}"
        axes.text(0.5, -index, text, ha="center", va="center", fontsize=8, bbox=style, linespacing=1.5)
        if index:
            arrow = {"arrowstyle": "-|>", "color": "#1e3a5f"}
            axes.annotate("", (0.5, 0.29 - index), (0.5, 0.71 - index), arrowprops=arrow)
    axes.set(xlim=(0, 1), ylim=(0.5 - len(symbols), 0.6))
    axes.set_title(title, fontsize=11)
    axes.axis("off")


def draw_rooms(axes: Axes, rooms: dict[str, set[str]]) -> None:
    """Rooms by layer; a room imports rooms further down only."""
    layers = heights(rooms)
    top = max(layers.values())
    for layer in range(top + 1):
        names = sorted(room for room in rooms if layers[room] == layer)
        axes.axhspan(layer - 0.42, layer + 0.42, color="#eef3f9" if layer % 2 else "#f7f4ee")
        for place, name in enumerate(names):
            x = (place + 1) / (len(names) + 1)
            y = layer + (0.18 if place % 2 else -0.18) * (len(names) > 4)
            axes.text(x, y, name, ha="center", va="center", fontsize=9, color="#1e3a5f", weight="bold")
    axes.set(xlim=(0, 1), ylim=(-0.5, top + 0.5))
    axes.set_title("Rooms of gains/: each imports rooms below it only", fontsize=11)
    axes.axis("off")


def main() -> None:
    figure, axes = plt.subplots(1, 3, figsize=(18, 8.5), width_ratios=(1.1, 1.1, 1))
    for one, (title, symbols) in zip(axes, FLOWS.items(), strict=False):
        draw_flow(one, title, symbols)
    draw_rooms(axes[2], room_imports())
    figure.tight_layout()
    figure.savefig(OUTPUT, dpi=90)
    print(f"written: {OUTPUT}")


if __name__ == "__main__":
    main()
