"""Dense images: what a fixed cap on proposals loses, and what it costs to let it follow the data.

Run as ``python scripts/benchmark.py dense``. Mosaics of generated cells, each shown to the network whole, at the size
of objects that it learned from, once with 300 proposals as ``model/size=small`` had them whatever ``max_detections``
said, and once with as many as the instances that may be kept ask for. The same weights (``checkpoint=cells@1``),
the same ``max_detections``, above the number of instances.
"""

import time
from pathlib import Path
from typing import Any

import torch
from benchmark_mosaics import Mosaic, best_ious, mosaic_of_cells
from benchmark_tools import print_rows, write_rows
from torch import Tensor

from gains.metrics.evaluator import InstanceSegmentationEvaluator
from gains.models.parts.transform import ImageTransform
from gains.prediction.predictor import Predictor, load_model

FIXED = 300
"""Proposals, as they were whatever the data held."""

MOST = 350
"""Instances that may be kept: somewhat more than the fuller mosaic holds, as a run sets it from its data."""

MOSAICS = ((4, (6, 8)), (4, (9, 12)))
"""Images side by side, and cells of each, fewest and most."""


def network_of(checkpoint: str, side: int, device: str, most: int, fixed: int | None = None) -> Predictor:
    """A model that shows a square image of a side to its network whole and as large as it is.

    With ``fixed`` it makes that many proposals, whatever it may keep.
    """
    accelerator = "gpu" if device == "cuda" else device
    model = load_model(checkpoint, accelerator, tile=side, max_detections=most)
    transform: Any = model.network.transform
    assert isinstance(transform, ImageTransform)
    transform.short_side = transform.long_side = side
    if fixed is not None:
        rpn: Any = model.network.rpn
        rpn._enough = lambda _: fixed
    return model


def found_in(model: Predictor, image: Tensor) -> dict[str, Any]:
    """All that the network keeps, masks as RLE."""
    [found] = model._detect([image])
    return {name: found[name].cpu() for name in ("boxes", "labels", "scores")} | {"masks": found["masks"].to_rle()}


def row_of(name: str, model: Predictor, drawn: Mosaic, repeats: int) -> dict[str, Any]:
    """Recall, mAP and seconds of one model on one mosaic."""
    # On a CPU the seconds of the processor, so that other load does not count.
    clock = time.perf_counter if model.device.type == "cuda" else time.process_time
    image = torch.from_numpy(drawn.pixels).float().div(255).expand(3, -1, -1)
    seconds = []
    for _ in range(repeats):
        begin = clock()
        found = found_in(model, image)
        seconds.append(clock() - begin)
    best = best_ious(found["masks"], found["labels"].tolist(), drawn.masks, drawn.labels)
    evaluator = InstanceSegmentationEvaluator(dict(enumerate(model.categories, 1)), max_detections=MOST)
    evaluator.update([found], [{"image_id": 0, "labels": torch.tensor(drawn.labels), "masks": drawn.masks}])
    return {
        "proposals": name,
        "instances": len(drawn.masks),
        "recall at IoU 0.5": float((best >= 0.5).mean()),
        "mAP": float(evaluator.compute()["metrics"]["segm_map"]),
        "seconds": min(seconds),
    }


def rows_of(
    across: int,
    cells: tuple[int, int],
    fixed: int = FIXED,
    most: int = MOST,
    repeats: int = 3,
    device: str = "cpu",
    checkpoint: str = "cells@1",
) -> list[dict[str, Any]]:
    """The row of the fixed cap, and that of the one that follows the data, on one mosaic."""
    drawn = mosaic_of_cells(across, cells)
    side = len(drawn.pixels)
    rows = [row_of(f"{fixed}, fixed", network_of(checkpoint, side, device, most, fixed), drawn, repeats)]
    model = network_of(checkpoint, side, device, most)
    follows = row_of("", model, drawn, repeats)
    rpn: Any = model.network.rpn
    rows.append(follows | {"proposals": f"{rpn.post_nms_top_n()}, by max_detections={most}"})
    for row in rows:
        row["time / fixed"] = row["seconds"] / rows[0]["seconds"]
    return rows


def main(output: Path | None = None, device: str = "cpu") -> None:
    """Print the table and write it."""
    rows = [row for across, cells in MOSAICS for row in rows_of(across, cells, device=device)]
    print_rows(f"Mosaics of generated cells, max_detections={MOST}, {device}", rows)
    write_rows(output, rows)


if __name__ == "__main__":
    main()
