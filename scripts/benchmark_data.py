"""What a data set costs as it grows: preparing, the first and every later start, a worker's memory, scores, reports.

Run as ``python scripts/benchmark.py data``: 100 images with 10,000 annotations, then 10 and 100 times as many; with
``--scales 1000`` 100,000 images with 10 million, for which 7 GB of disk are needed. The images are small and empty;
masks are ellipses. Every step runs in a process of its own, forked when the libraries are loaded. Seconds are those of
the processor, so that other load of the machine does not count. Beside the start stands what parsing
``annotations.json`` whole would take, and ``gains score`` of the file against itself, up to a million annotations.
"""

import json
import math
import multiprocessing
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from benchmark_tools import print_rows, write_rows

from gains.data.dataset import InstanceDataset, load_annotations
from gains.data.prepare import prepare
from gains.data.source import ImageRecord, Instance
from gains.data.sources.coco import Coco
from gains.metrics.evaluator import InstanceSegmentationEvaluator
from gains.metrics.sources import read_ground_truth, read_predictions
from gains.metrics.sources.scored import filled
from gains.prediction.records import Record, read_records, record_path
from gains.reports.prediction import MAX_PICTURES, summarise, write_prediction_report
from gains.rle import RLE, encode_crop

IMAGES, INSTANCES, SIDE, SCALES = 100, 100, 256, (1, 10, 100)
MOST = 10**9
"""Bytes that are parsed whole, and scored, at most: ten million annotations would take 12 GB, and hours."""
MOST_EVALUATED = 300
"""Images that the evaluator gets at most."""


def ellipses(count: int = 500) -> list[RLE]:
    """Masks to draw from."""
    random = np.random.default_rng(0)
    masks = []
    for _ in range(count):
        height, width = random.integers(9, 40, 2)
        y, x = random.integers(0, SIDE - height), random.integers(0, SIDE - width)
        rows, columns = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
        mask = rows**2 + columns**2 <= 1
        masks.append(encode_crop(mask, (int(x), int(y), int(x + width), int(y + height)), (SIDE, SIDE)))
    return masks


class Generated:
    """A source of empty images with ellipses."""

    categories: ClassVar = ["cell", "nucleus"]

    def __init__(self, images: int) -> None:
        self.images = images

    def __len__(self) -> int:
        return self.images

    def __iter__(self) -> Iterator[ImageRecord]:
        masks, random, pixels = ellipses(), np.random.default_rng(1), np.zeros((SIDE, SIDE), np.uint8)
        for number in range(self.images):
            chosen = random.integers(0, len(masks), INSTANCES).tolist()
            instances = [Instance(self.categories[place % 2], masks[place]) for place in chosen]
            yield ImageRecord(f"{number:06d}", pixels, instances)


def forked(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function returns in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:
        return pool.submit(function, *arguments).result()


def costs(call: Callable[[], Any]) -> tuple[float, float]:
    """Processor seconds of a call, and by how many MB the most memory of this process grew."""
    before, begin = peak_mb(), time.process_time()
    kept = call()
    seconds = time.process_time() - begin
    del kept
    return seconds, peak_mb() - before


def peak_mb() -> float:
    """Largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def prepared(root: Path, images: int) -> tuple[float, float]:
    """Costs of ``prepare``."""
    return costs(lambda: prepare(Generated(images), root, seed=0, ratios=(1, 0, 0)))


def read_as_coco(root: Path) -> tuple[float, float]:
    """Costs of reading the annotations as ``gains prepare dataset=coco`` does: all are checked, then come by image."""

    def read() -> int:
        source = Coco(root / "annotations.json")
        return sum(len(source.instances(image)) for image in source.coco.images)

    return costs(read)


def started(root: Path) -> tuple[float, float]:
    """Costs of loading the annotations."""
    return costs(lambda: load_annotations(root))


def parsed(root: Path) -> tuple[float, float]:
    """Costs of parsing them whole, none where they are too many."""
    if (root / "annotations.json").stat().st_size > MOST:
        return math.nan, math.nan
    return costs(lambda: json.loads((root / "annotations.json").read_text()))


def scored(root: Path) -> tuple[float, float]:
    """Costs of scoring the annotations against themselves as ``gains score`` does, none where they are too many."""
    path = root / "annotations.json"
    if path.stat().st_size > MOST:
        return math.nan, math.nan

    def score() -> None:
        truth = read_ground_truth(path)
        filled(truth, read_predictions(path, truth), INSTANCES, 0.5, arrangement=True).compute()

    return costs(score)


def reported(root: Path, images: int) -> tuple[float, float]:
    """Costs of the report of ``gains predict`` on images with so many instances, but without pictures."""
    draw = np.random.default_rng(0)
    for number in range(images):
        areas, scores = draw.integers(50, 5000, INSTANCES).tolist(), draw.random(INSTANCES).round(4).tolist()
        about = (f"{number:06d}", f"{number:06d}.png", SIDE, SIDE, scores, areas, ["cell"] * INSTANCES)
        record = Record(*about, overlaps=[False] * INSTANCES, capped_tiles=0, hidden=0, plain="", drawn="")
        record_path(root, record.name).parent.mkdir(exist_ok=True)
        record_path(root, record.name).write_text(json.dumps(asdict(record)))

    def report() -> None:
        write_prediction_report(root / "report.html", summarise(read_records(root, MAX_PICTURES)), {}, [])

    return costs(report)


def worker(root: Path) -> float:
    """MB that a forked worker holds for itself after it has seen all ground truth."""
    annotations = load_annotations(root)
    dataset = InstanceDataset(annotations, list(annotations.images))
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        before = private_mb()
        for index in range(len(dataset)):
            dataset.ground_truth(index)
        os.write(writing, str(private_mb() - before).encode())
        os._exit(0)
    os.waitpid(child, 0)
    return float(os.read(reading, 64))


def private_mb() -> float:
    """Memory that this process shares with no other (Linux)."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty")) * 1024 / 1e6


def evaluated(root: Path) -> tuple[float, float, int]:
    """Costs of evaluating predictions that are the ground truth, and how many instances those were."""
    annotations = load_annotations(root)
    dataset = InstanceDataset(annotations, list(annotations.images)[:MOST_EVALUATED])
    evaluator = InstanceSegmentationEvaluator(dict(enumerate(annotations.categories, 1)))

    def evaluate() -> None:
        for index in range(len(dataset)):
            masks, labels, _ = dataset.ground_truth(index)
            found = {"scores": np.linspace(1, 0.5, len(masks)).tolist(), "labels": labels, "masks": masks}
            evaluator.update([found], [{"image_id": index + 1, "labels": labels, "masks": masks}])
        evaluator.compute()

    return *costs(evaluate), INSTANCES * len(dataset)


def main(output: Path | None, device: str = "cpu", images: int = IMAGES, scales: tuple[int, ...] = SCALES) -> None:
    """Run the benchmark, print a table, and write the rows as json if asked to."""
    rows = measured(images, scales)
    print_sizes(rows, scales)
    write_rows(output, rows)


def print_sizes(rows: list[dict[str, Any]], scales: tuple[int, ...]) -> None:
    """Print a column for each size."""
    turned = [turn(rows, scales, column) for column in rows[0]]
    print_rows(f"Data sets of {', '.join(map(str, scales))} times the size", turned)


def measured(images: int, scales: tuple[int, ...]) -> list[dict[str, Any]]:
    """A row of figures for each size, which is so many times the number of images."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        for scale in scales:
            root = Path(name) / str(scale)
            row: dict[str, Any] = {"annotations": images * scale * INSTANCES}
            row |= told("prepare", *forked(prepared, root, images * scale))
            row["json MB"] = (root / "annotations.json").stat().st_size / 1e6
            row |= told("first start", *forked(started, root)) | told("start", *forked(started, root))
            row["worker MB"] = forked(worker, root)
            print(f"a worker: {row['worker MB']:.1f} MB", flush=True)
            eval_seconds, eval_mb, instances = forked(evaluated, root)
            row |= {"eval us/instance": 1e6 * eval_seconds / instances, "eval kB/instance": 1e3 * eval_mb / instances}
            row |= told("parse whole", *forked(parsed, root)) | told("read as COCO", *forked(read_as_coco, root))
            row |= told("score", *forked(scored, root)) | told("report", *forked(reported, root, images * scale))
            rows.append(row)
            print(f"{row['annotations']} annotations measured", flush=True)
            shutil.rmtree(root)
    return rows


def told(step: str, seconds: float, mb: float) -> dict[str, float]:
    """Figures of a step, printed when they are known: large data sets take minutes."""
    print(f"{step}: {seconds:.2f} s, {mb:.0f} MB", flush=True)
    return {f"{step} s": seconds, f"{step} MB": mb}


def turn(rows: list[dict[str, Any]], scales: tuple[int, ...], column: str) -> dict[str, Any]:
    """A column of the rows as a row of the table."""
    return {"": column} | {f"x{scale}": row[column] for scale, row in zip(scales, rows, strict=True)}


if __name__ == "__main__":
    main(None)
