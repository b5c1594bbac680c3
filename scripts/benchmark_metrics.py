"""Time and memory of all metrics together, against pycocotools' mAP alone and a plain AJI loop over decoded masks.

Run as ``python scripts/benchmark.py metrics``. Inputs are generated: ellipses that touch and overlap, detections that
are shifted copies with a few misses and false positives. Each contestant runs in a process of its own, forked once the
inputs are there, so that its peak memory above them is its own.
"""

import contextlib
import io
import math
import multiprocessing
import platform
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from rich.console import Console
from rich.table import Table

from gains.metrics.evaluator import InstanceSegmentationEvaluator
from gains.plain import write_json
from gains.rle import RLE, encode_crop


@dataclass(frozen=True)
class Setting:
    """One benchmark input: ``images`` of ``side`` x ``side`` pixels with ``instances`` each, radius in pixels."""

    name: str
    images: int
    instances: int
    side: int
    radius: float
    max_detections: int
    plain_rows: int
    """Ground truths per image that the plain loop is run on; its time is scaled to all of them."""


SETTINGS = [
    Setting("134 images x 45, 512 x 512, cap 100", 134, 45, 512, 22, 100, 45),
    Setting("1 image x 2000, 2048 x 2048, cap 100", 1, 2000, 2048, 20, 100, 2),
    Setting("1 image x 2000, 2048 x 2048, cap 2000", 1, 2000, 2048, 20, 2000, 2),
]
WARM_UP = Setting("warm-up", 2, 10, 64, 8, 100, 10)


def ellipse(random: np.random.Generator, centre: np.ndarray, radius: float, side: int) -> RLE:
    """An ellipse of random axes and angle around ``centre`` (x, y), cut off at the image's edge."""
    long, short = radius * random.uniform(0.8, 1.3), radius * random.uniform(0.5, 0.9)
    angle = random.uniform(0, math.pi)
    x0, y0 = np.maximum(np.floor(centre - long), 0).astype(int)
    x1, y1 = np.minimum(np.ceil(centre + long) + 1, side).astype(int)
    y, x = np.mgrid[y0:y1, x0:x1]
    along = (x - centre[0]) * math.cos(angle) + (y - centre[1]) * math.sin(angle)
    across = (y - centre[1]) * math.cos(angle) - (x - centre[0]) * math.sin(angle)
    return encode_crop((along / long) ** 2 + (across / short) ** 2 <= 1, (x0, y0, x1, y1), (side, side))


def generate(setting: Setting, seed: int = 0) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Predictions and targets as the evaluator takes them."""
    predictions, targets = [], []
    for image in range(setting.images):
        centres = np.random.default_rng([seed, image]).uniform(0, setting.side - 1, (setting.instances, 2))
        # The same shapes for both sides, from one stream per instance, then shifted; 5% are placed elsewhere.
        random = np.random.default_rng([seed, image, 1])
        moved = centres + random.normal(0, setting.radius / 10, centres.shape)
        lost = random.random(len(moved)) < 0.05
        moved[lost] = random.uniform(0, setting.side - 1, (int(lost.sum()), 2))
        shapes = [(seed, image, 2, index) for index in range(setting.instances)]
        truth = [
            ellipse(np.random.default_rng(shape), centre, setting.radius, setting.side)
            for shape, centre in zip(shapes, centres, strict=True)
        ]
        found = [
            ellipse(np.random.default_rng(shape), centre, setting.radius, setting.side)
            for shape, centre in zip(shapes, np.clip(moved, 0, setting.side - 1), strict=True)
        ]
        labels = np.ones(setting.instances)
        targets.append({"image_id": image + 1, "labels": labels, "masks": truth})
        predictions.append({"scores": random.uniform(0.5, 1, len(found)), "labels": labels, "masks": found})
    return predictions, targets


def all_metrics(setting: Setting, predictions: list[dict[str, Any]], targets: list[dict[str, Any]]) -> dict[str, Any]:
    """Everything that ``gains score`` prints, without intervals."""
    evaluator = InstanceSegmentationEvaluator({1: "cell"}, setting.max_detections)
    begin = time.perf_counter()
    evaluator.update(predictions, targets)
    metrics = evaluator.compute()["metrics"]
    return {"seconds": time.perf_counter() - begin, "segm_map": metrics["segm_map"], "aji": metrics["aji"]}


def aji_alone(setting: Setting, predictions: list[dict[str, Any]], targets: list[dict[str, Any]]) -> dict[str, Any]:
    """AJI through the same evaluator's parts."""
    from gains.metrics.aji import aji
    from gains.metrics.matching.rows import compare

    begin = time.perf_counter()
    values = [aji(row.above(0.5)) for pair in zip(predictions, targets, strict=True) for row in compare(*pair)]
    return {"seconds": time.perf_counter() - begin, "aji": float(np.mean(values))}


def pycocotools_map(
    setting: Setting, predictions: list[dict[str, Any]], targets: list[dict[str, Any]]
) -> dict[str, Any]:
    """COCOeval of masks; building its index and reading the results is not timed."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth, results = coco_objects(setting, predictions, targets)
        begin = time.perf_counter()
        evaluation = COCOeval(truth, results, "segm")
        evaluation.params.maxDets = [1, 10, setting.max_detections]
        evaluation.evaluate()
        evaluation.accumulate()
        seconds = time.perf_counter() - begin
    return {"seconds": seconds, "segm_map": float(evaluation.eval["precision"][:, :, 0, 0, -1].mean())}


def coco_objects(
    setting: Setting, predictions: list[dict[str, Any]], targets: list[dict[str, Any]]
) -> tuple[COCO, COCO]:
    """The same data as pycocotools' objects."""
    side = setting.side
    annotations, results = [], []  # type: ignore[var-annotated]
    for prediction, target in zip(predictions, targets, strict=True):
        common = {"image_id": target["image_id"], "category_id": 1}
        for mask in target["masks"]:
            area, box = float(coco_mask.area(mask)), coco_mask.toBbox(mask).tolist()
            annotation = {"id": len(annotations) + 1, "segmentation": mask, "area": area, "bbox": box, "iscrowd": 0}
            annotations.append(common | annotation)
        for mask, score in zip(prediction["masks"], prediction["scores"], strict=True):
            results.append(common | {"segmentation": dict(mask), "score": float(score)})
    truth = COCO()
    truth.dataset = {
        "images": [{"id": target["image_id"], "height": side, "width": side} for target in targets],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "cell"}],
    }
    truth.createIndex()
    return truth, truth.loadRes(results)


def plain_aji(setting: Setting, predictions: list[dict[str, Any]], targets: list[dict[str, Any]]) -> dict[str, Any]:
    """AJI as usually written: masks decoded to full size, every ground truth against every detection.

    Decoding is timed too, but each mask is decoded once. Detections pass in blocks so that memory suffices. Where
    ``plain_rows`` limits the ground truths ``seconds`` is scaled up from the pairs done, and ``aji`` is None.
    """
    rows = setting.plain_rows
    seconds, values = 0.0, []
    for prediction, target in zip(predictions, targets, strict=True):
        begin = time.perf_counter()
        truths = [coco_mask.decode(mask).astype(bool) for mask in target["masks"][:rows]]
        shared, union = (np.zeros((rows, len(prediction["masks"]))) for _ in range(2))
        areas = np.zeros(len(prediction["masks"]))
        block = 250
        for first in range(0, len(areas), block):
            found = [coco_mask.decode(mask).astype(bool) for mask in prediction["masks"][first : first + block]]
            for j, detection in enumerate(found, start=first):
                areas[j] = detection.sum()
                for i, truth in enumerate(truths):
                    shared[i, j] = np.logical_and(truth, detection).sum()
                    union[i, j] = np.logical_or(truth, detection).sum()
        total_shared = total_union = 0.0
        used = np.zeros(len(areas), dtype=bool)
        for i, truth in enumerate(truths):
            jaccard = np.where(used, 0, shared[i] / np.maximum(union[i], 1))
            best = int(jaccard.argmax())
            if jaccard[best] > 0:
                used[best] = True
                total_shared += shared[i, best]
                total_union += union[i, best]
            else:
                total_union += truth.sum()
        values.append(total_shared / (total_union + areas[~used].sum()))
        seconds += (time.perf_counter() - begin) * setting.instances / rows
    return {"seconds": seconds, "aji": float(np.mean(values)) if rows == setting.instances else None}


Contestant = Callable[[Setting, list[dict[str, Any]], list[dict[str, Any]]], dict[str, Any]]


def measure(contestant: Contestant, setting: Setting, data: tuple[Any, Any], repeats: int) -> dict[str, Any]:
    """Best time of ``repeats`` runs and the peak memory above the inputs in MB, in a forked process."""

    def work(connection: Any) -> None:
        # A small run first, so that code read from disk does not count. ru_maxrss is in KB on Linux, and a forked
        # child starts at its parent's current size.
        contestant(WARM_UP, *generate(WARM_UP))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        runs = [contestant(setting, *data) for _ in range(repeats)]
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        best = min(runs, key=lambda run: float(run["seconds"]))
        connection.send(best | {"peak_mb": (after - before) / 1024})

    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(sender,))
    process.start()
    sender.close()
    result: dict[str, Any] = receiver.recv()
    process.join()
    return result


def main(output: Path | None = None, device: str = "cpu") -> None:
    """Run every setting, print a table, and write the figures to ``output`` (JSON) if given; always on the CPU."""
    console = Console(width=120)
    report = {"machine": {"processor": platform.processor() or platform.machine(), "python": platform.python_version()}}
    report["settings"] = {}
    for setting in SETTINGS:
        data = generate(setting)
        heavy = setting.instances > 100 and setting.max_detections > 100
        figures = {
            "pycocotools mAP": measure(pycocotools_map, setting, data, 1 if heavy else 3),
            "all metrics": measure(all_metrics, setting, data, 3),
            "AJI alone": measure(aji_alone, setting, data, 3),
            "plain AJI loop": measure(plain_aji, setting, data, 1),
        }
        check(figures)
        report["settings"][setting.name] = figures  # type: ignore[assignment]
        console.print(table_of(setting, figures))
    if output is not None:
        write_json(output, report)
        console.print(f"written: {output}")


def check(figures: dict[str, dict[str, Any]]) -> None:
    """All contestants must agree on the number, or their times mean nothing."""
    assert abs(figures["pycocotools mAP"]["segm_map"] - figures["all metrics"]["segm_map"]) < 1e-9
    assert abs(figures["AJI alone"]["aji"] - figures["all metrics"]["aji"]) < 1e-9
    plain = figures["plain AJI loop"]["aji"]
    assert plain is None or abs(plain - figures["AJI alone"]["aji"]) < 1e-9


def table_of(setting: Setting, figures: dict[str, dict[str, Any]]) -> Table:
    """The figures with ratios to pycocotools (for all metrics) and to the plain loop (for AJI)."""
    table = Table(title=setting.name, title_justify="left")
    for column in ("", "seconds", "peak MB above inputs", "ratio"):
        table.add_column(column, justify="left" if column in ("", "ratio") else "right")
    whole, alone = figures["all metrics"], figures["AJI alone"]
    ratios = {
        "all metrics": f"{whole['seconds'] / figures['pycocotools mAP']['seconds']:.2f} of pycocotools' mAP",
        "AJI alone": f"{figures['plain AJI loop']['seconds'] / alone['seconds']:.0f} x faster than the plain loop",
        "plain AJI loop": f"scaled from {setting.plain_rows} of {setting.instances} ground truths",
    }
    for name, result in figures.items():
        table.add_row(name, f"{result['seconds']:.3f}", f"{result['peak_mb']:.1f}", ratios.get(name, ""))
    return table


if __name__ == "__main__":
    main()
