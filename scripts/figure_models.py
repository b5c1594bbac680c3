"""Draw docs/images/models.png from the networks as built: the parts of each method, and where it leaves Mask R-CNN.

Run as ``python scripts/figure_models.py``. A part is a module of the network of the published size with one category;
what stands beside it are its millions of parameters.
"""

from pathlib import Path
from typing import NamedTuple, TypeGuard

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from torch import nn

from gains.config import compose
from gains.models.build import build_network

OUTPUT = Path(__file__).parents[1] / "docs" / "images" / "models.png"
METHODS = [
    *("mask_rcnn", "gains", "mask_scoring_rcnn", "pisa"),
    *("cascade_rcnn", "htc", "pointrend", "occlusion_rcnn"),
    *("donet", "condinst", "fastinst"),
]
FLOW = ("transform", "backbone", "pixel_decoder", "rpn", "box", "mask")
"""Parts in the order in which an image passes them; others come after them."""
SMALLEST = 0.05
"""Millions of parameters from which a part of a part is named."""
HEIGHT = 6.95
"""Of the tallest method, in boxes of a line and a half."""
SAME, OTHER, TARGET = "#eef1f5", "#fbdcc0", "#dcecd9"


class Part(NamedTuple):
    """A box: a part of the network, its class, and what it consists of."""

    name: str
    kind: str
    inside: str


def millions(module: nn.Module) -> float:
    """Parameters of a module in millions."""
    return sum(parameter.numel() for parameter in module.parameters()) / 1e6


def parts(method: str) -> list[Part]:
    """The parts of a method's network from the image to the masks."""
    network = build_network(method, "model/size=r50", num_classes=1, target_label=1)
    children = sorted(network.named_children(), key=lambda child: FLOW.index(child[0]) if child[0] in FLOW else 99)
    found = []
    for name, module in children:
        size = millions(module)
        if size < SMALLEST and name != "transform":
            continue
        kind = f"{len(module)} x {type(module[0]).__name__}" if several(module) else type(module).__name__
        inside = [
            (f"{len(child)} " if several(child) else "") + f"{part} {millions(child):.1f}"
            for part, child in module.named_children()
            if millions(child) >= SMALLEST and not several(module)
        ]
        shown = inside if len(inside) > 1 or any(map(several, module.children())) else []
        found.append(Part(name, f"{kind}  {size:.1f} M" if size else kind, wrapped(shown)))
    return found


def several(module: nn.Module) -> TypeGuard[nn.ModuleList]:
    """Whether a module is a list of modules of one kind."""
    return isinstance(module, nn.ModuleList)


def wrapped(words: list[str], width: int = 42) -> str:
    """Words with dots between them, in lines of about so many characters."""
    lines = [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + len(word) > width:
            lines.append("")
        lines[-1] += f" · {word}" if lines[-1] else word
    return "\n".join(lines)


def targets(method: str) -> list[str]:
    """What a method learns beside boxes, classes and masks."""
    return [name.replace("_", " ") for name in compose("train", f"model={method}", "num_classes=1").model.targets]


def draw(axes: Axes, method: str, baseline: list[Part]) -> None:
    """One method, from top to bottom."""
    y = 0.0
    boxes = [(f"{part.name}: {part.kind}", part.inside, SAME if part in baseline else OTHER) for part in parts(method)]
    boxes += [(f"learned too: {name}", "", TARGET) for name in targets(method)]
    for index, (title, inside, colour) in enumerate(boxes):
        height = 0.62 + 0.34 * (inside.count("\n") + 1 if inside else 0)
        axes.add_patch(Rectangle((0, y - height), 1, height, facecolor=colour, edgecolor="#8595a8", linewidth=0.8))
        text = f"{title}\n{inside}" if inside else title
        axes.text(0.5, y - height / 2, text, ha="center", va="center", fontsize=8.5, linespacing=1.35)
        if index + 1 < len(boxes) and boxes[index + 1][2] != TARGET:
            arrow = {"arrowstyle": "-|>", "color": "#43536a"}
            axes.annotate("", (0.5, y - height - 0.34), (0.5, y - height), arrowprops=arrow)
        y -= height + 0.34
    axes.set(xlim=(-0.02, 1.02), ylim=(-HEIGHT, 0.1))
    axes.set_title(method, fontsize=11, weight="bold")
    axes.axis("off")


def main() -> None:
    figure, axes = plt.subplots(3, 4, figsize=(17, 14))
    baseline = parts("mask_rcnn")
    for place, method in zip(axes.flat, METHODS, strict=False):
        draw(place, method, baseline)
    legend = axes.flat[-1]
    labels = {SAME: "as in Mask R-CNN", OTHER: "the method's own", TARGET: "computed from the true masks, in training"}
    for row, (colour, text) in enumerate(labels.items()):
        legend.add_patch(Rectangle((0, -1 - row), 0.12, 0.6, facecolor=colour, edgecolor="#8595a8", linewidth=0.8))
        legend.text(0.17, -0.7 - row, text, va="center", fontsize=10)
    legend.set(xlim=(-0.02, 1.02), ylim=(-HEIGHT, 0.1))
    legend.axis("off")
    figure.tight_layout()
    figure.savefig(OUTPUT, dpi=80)
    print(f"written: {OUTPUT}")


if __name__ == "__main__":
    main()
