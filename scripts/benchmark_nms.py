"""NMS on masks against NMS on boxes: recall of instances that cross, and what it costs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from benchmark_scenes import full_size, jittered, scene
from benchmark_tools import measure_in_turn, print_rows, write_rows
from torch import Tensor

from gains.contract import Detections
from gains.models.parts.detections import keep_detections, suppress_masks
from gains.models.parts.roi.masks import RoIMasks
from gains.operating_point import OperatingPoint
from gains.suppression import mask_nms

SIDE, CELLS, INSTANCES, COPIES = 200, 56, 100, 5
POINTS = {"box": OperatingPoint(), "mask": OperatingPoint(nms="mask")}


def crossing_pair(angle: float, between: float) -> tuple[Tensor, Tensor]:
    """Boxes ``(2, 4)`` and grids ``(2, M, M)`` of two bars that cross in their middle at an angle, in radians."""
    rows, columns = np.mgrid[:SIDE, :SIDE] - SIDE / 2 + 0.5
    boxes, grids = [], []
    for turned in (angle, angle + between):
        along = columns * np.cos(turned) + rows * np.sin(turned)
        across = rows * np.cos(turned) - columns * np.sin(turned)
        mask = (np.abs(along) < 70) & (np.abs(across) < 9)
        y, x = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        boxes.append([x[0], y[0], x[-1] + 1, y[-1] + 1])
        crop = torch.from_numpy(mask[y[0] : y[-1] + 1, x[0] : x[-1] + 1]).float()
        grids.append(torch.nn.functional.interpolate(crop[None, None], (CELLS, CELLS), mode="area")[0, 0])
    return torch.tensor(boxes).float(), torch.stack(grids)


def found_of_pair(boxes: Tensor, grids: Tensor, point: OperatingPoint) -> int:
    """How many of the two are found when a network proposes each of them several times, every box a little off."""
    proposed = boxes.repeat(COPIES, 1)
    proposed[2:] += torch.randn(len(proposed) - 2, 4)
    scores = torch.linspace(0.95, 0.6, len(proposed))
    rows = keep_detections(point.candidates(), proposed[:, None], scores[:, None], (SIDE, SIDE))
    masks = RoIMasks(grids.repeat(COPIES, 1, 1)[rows["roi"]], rows["boxes"], (SIDE, SIDE))
    candidates = cast(Detections, {**rows, "masks": masks})
    kept = suppress_masks(candidates, point)
    return len({int(row) % 2 for row in cast(dict[str, Any], kept)["roi"]})


def recall_rows() -> list[dict[str, Any]]:
    """Recall of crossing bars by the overlap of their boxes."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    found: dict[str, list[tuple[float, int, int]]] = {"0 to 0.5": [], "0.5 to 1": []}
    for _ in range(300):
        boxes, grids = crossing_pair(rng.uniform(0, np.pi), rng.uniform(0.6, np.pi - 0.6))
        sides = (boxes[:, 2:] - boxes[:, :2]).prod(1)
        shared = (torch.minimum(boxes[0, 2:], boxes[1, 2:]) - torch.maximum(boxes[0, :2], boxes[1, :2])).prod()
        iou = float(shared / (sides.sum() - shared))
        counts = [found_of_pair(boxes, grids, point) for point in POINTS.values()]
        found["0.5 to 1" if iou > 0.5 else "0 to 0.5"].append((iou, counts[0], counts[1]))
    return [
        {
            "box IoU of the pair": name,
            "pairs": len(pairs),
            "recall, nms=box": sum(pair[1] for pair in pairs) / (2 * len(pairs)),
            "recall, nms=mask": sum(pair[2] for pair in pairs) / (2 * len(pairs)),
        }
        for name, pairs in found.items()
    ]


def inference(image: Tensor, boxes: Tensor, point: OperatingPoint) -> Callable[[], Any]:
    """Whole inference, the box stage's choice replaced by given boxes."""
    network: Any = full_size("mask_rcnn", f"augmentation.test_short_side={image.shape[-1]}").to(image.device).eval()
    network.operating_point = point
    detect = network.box.detect
    scores = torch.linspace(0.99, 0.5, len(boxes), device=image.device)
    nothing = OperatingPoint(min_score=1.0, max_detections=point.max_detections)

    def detect_given(features: Any, proposals: Any, sizes: Any, at: OperatingPoint) -> list[Any]:
        detect(features, proposals, sizes, nothing)  # the box stage's cost
        return [keep_detections(at, boxes[:, None], scores[:, None], size) for size in sizes]

    network.box.detect = detect_given

    def call() -> None:
        with torch.inference_mode():
            network([image])[0]["masks"].to_rle()

    return call


def suppression(masks: RoIMasks, count: int) -> Callable[[], Any]:
    """The suppression alone; pasting masks is not part of it, files need it anyway."""
    pasted = masks.paste()
    scores, labels = np.linspace(0.99, 0.5, count), np.ones(count, np.int64)
    return lambda: mask_nms(pasted, scores, labels, 0.5)


def main(output: Path | None = None, device: str = "cpu") -> None:
    """Print the tables and write them."""
    recalls = recall_rows()
    print_rows("Recall of bars that cross, each proposed five times", recalls)
    image, masks = scene(INSTANCES, 512)
    image = image.to(device)
    boxes = jittered(masks.boxes.float(), 2 * INSTANCES).clamp(0, 512).to(device)
    grids = torch.ones(len(boxes), 28, 28, device=device)
    calls = {
        "inference, nms=box": inference(image, boxes, POINTS["box"]),
        "inference, nms=mask": inference(image, boxes, POINTS["mask"]),
        "suppression of 200 masks": suppression(RoIMasks(grids, boxes, (512, 512)), len(boxes)),
    }
    found = measure_in_turn(calls, 5, device)
    base = found["inference, nms=box"].seconds
    rows = [{"what": name, "seconds": it.seconds, "/ nms=box": it.seconds / base} for name, it in found.items()]
    print_rows(f"ResNet-50 FPN, {INSTANCES} instances, 512 x 512, {device}", rows)
    write_rows(output, recalls + rows)
