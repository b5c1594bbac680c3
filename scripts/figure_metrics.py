"""Draw docs/images/metrics.png: the worked example of docs/metrics.md, and what low-scored detections do to AJI.

Run as ``python scripts/figure_metrics.py``; prints the numbers that the page quotes. All data is generated.
"""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import numpy as np
from benchmark_metrics import Setting, ellipse, generate
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from gains.metrics.evaluator import InstanceSegmentationEvaluator
from gains.rle import encode_crop

OUTPUT = Path(__file__).parents[1] / "docs" / "images" / "metrics.png"
TRUTHS = [(0, 0, 10, 10), (10, 0, 20, 10)]
DETECTIONS = [(0, 0, 8, 10), (10, 0, 14, 10), (0, 15, 5, 20)]
SCENE = Setting("figure", 30, 8, 256, 40, 100, 8)
EXTRAS = [0, 2, 4, 8, 16, 32, 64]


def rectangle_masks(boxes: list[tuple[int, int, int, int]]) -> list[dict[str, Any]]:
    """RLE of boxes x0, y0, x1, y1 on a 20 x 20 image."""
    return [encode_crop(np.ones((y1 - y0, x1 - x0)), (x0, y0, x1, y1), (20, 20)) for x0, y0, x1, y1 in boxes]


def worked_example() -> dict[str, float]:
    """Metrics of two cells, one well found, one by less than half, and a false positive."""
    evaluator = InstanceSegmentationEvaluator({1: "cell"})
    prediction = {"scores": [0.9, 0.8, 0.7], "labels": [1, 1, 1], "masks": rectangle_masks(DETECTIONS)}
    evaluator.update([prediction], [{"image_id": 1, "labels": [1, 1], "masks": rectangle_masks(TRUTHS)}])
    metrics: dict[str, float] = evaluator.compute()["metrics"]
    return metrics


def with_unsure_detections(extra: int) -> dict[str, float]:
    """Metrics of the generated cells when each image gets ``extra`` more detections scored 0.05 to 0.3."""
    evaluator = InstanceSegmentationEvaluator({1: "cell"})
    for prediction, target in zip(*generate(SCENE, seed=5), strict=True):
        random = np.random.default_rng([extra, target["image_id"]])
        more = [ellipse(random, random.uniform(0, 255, 2), SCENE.radius, SCENE.side) for _ in range(extra)]
        prediction = {
            "scores": np.concatenate([prediction["scores"], random.uniform(0.05, 0.3, extra)]),
            "labels": np.ones(len(prediction["labels"]) + extra),
            "masks": prediction["masks"] + more,
        }
        evaluator.update([prediction], [target])
    metrics: dict[str, float] = evaluator.compute()["metrics"]
    return metrics


def draw_example(axes: Axes, metrics: dict[str, float]) -> None:
    """Ground truths filled, detections outlined."""
    for x0, y0, x1, y1 in TRUTHS:
        axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, facecolor="#bcd2e8", edgecolor="#5b7ea4"))
    for index, (x0, y0, x1, y1) in enumerate(DETECTIONS):
        patch = Rectangle((x0 + 0.2, y0 + 0.2), x1 - x0 - 0.4, y1 - y0 - 0.4, fill=False, edgecolor="#c2410c", lw=2)
        axes.add_patch(patch)
        axes.text((x0 + x1) / 2, (y0 + y1) / 2, "ABC"[index], ha="center", va="center", color="#c2410c", weight="bold")
    for x, name in ((9, "1"), (17, "2")):
        axes.text(x, 5, name, ha="center", va="center", color="#1e3a5f", weight="bold")
    text = "\n".join(
        f"{name:9} {metrics[key]:.3f}"
        for name, key in (("AJI", "aji"), ("AJI paper", "aji_paper"), ("PQ", "pq"), ("F1", "f1_50"), ("Dice", "dice"))
    )
    axes.text(8, 19.6, text, family="monospace", va="bottom", fontsize=9)
    axes.set(xlim=(-0.5, 20.5), ylim=(20.5, -0.5), aspect="equal", xticks=[], yticks=[])
    axes.set_title("Two cells (filled), three detections (outlined)", fontsize=10)


def draw_curve(axes: Axes, curve: list[dict[str, float]]) -> None:
    """The three numbers against the number of unsure detections."""
    styles = {"segm_map": ("mAP", "#1e3a5f", "o"), "aji": ("AJI standard, score >= 0.5", "#15803d", "s")}
    styles["aji_paper"] = ("AJI paper protocol, any score", "#c2410c", "^")
    for name, (label, colour, marker) in styles.items():
        axes.plot(
            range(len(EXTRAS)),
            [metrics[name] for metrics in curve],
            marker + "-",
            color=colour,
            label=label,
            markersize=4,
        )
    axes.set(xlabel="additional detections scored below 0.3, per image of 8 cells", ylim=(0, 1))
    axes.set_xticks(range(len(EXTRAS)), [str(extra) for extra in EXTRAS])
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="lower left")
    axes.set_title("The same detector, with and without its unsure detections", fontsize=10)


def main() -> None:
    example, curve = worked_example(), [with_unsure_detections(extra) for extra in EXTRAS]
    print("worked example", {name: round(value, 4) for name, value in example.items()})
    for extra, metrics in zip(EXTRAS, curve, strict=True):
        print(f"{extra:3} unsure:", {name: round(metrics[name], 4) for name in ("segm_map", "aji", "aji_paper")})
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), width_ratios=(1, 1.4))
    draw_example(left, example)
    draw_curve(right, curve)
    figure.tight_layout()
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(OUTPUT, dpi=110)
    print(f"written: {OUTPUT}")


if __name__ == "__main__":
    main()
