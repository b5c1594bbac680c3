"""What a data set costs as it grows: preparing, the first and every later start, a worker's memory, the evaluator.

Run as ``python scripts/benchmark.py data``: 100 images with 10,000 annotations, then 10 and 100 times as many. The
images are small and empty; masks are ellipses. Every step runs in a process of its own, forked when the libraries are
loaded. Seconds are those of the processor, so that other load of the machine does not count. Beside the start stands
what parsing ``annotations.json`` whole would take.
"""

import json
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from benchmark_tools import print_rows, write_rows

from gains.data.dataset import InstanceDataset, load_annotations
from gains.data.prepare import prepare
from gains.data.source import ImageRecord, Instance
from gains.metrics.evaluator import InstanceSegmentationEvaluator
from gains.rle import RLE, encode_crop

IMAGES, INSTANCES, SIDE, SCALES = 100, 100, 256, (1, 10, 100)
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


def started(root: Path) -> tuple[float, float]:
    """Costs of loading the annotations."""
    return costs(lambda: load_annotations(root))


def parsed(root: Path) -> tuple[float, float]:
    """Costs of parsing them whole."""
    return costs(lambda: json.loads((root / "annotations.json").read_text()))


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
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        for scale in scales:
            root = Path(name) / str(scale)
            prepare_seconds, prepare_mb = forked(prepared, root, images * scale)
            parse_seconds, parse_mb = forked(parsed, root)
            first_seconds, first_mb = forked(started, root)
            later_seconds, later_mb = forked(started, root)
            eval_seconds, eval_mb, instances = forked(evaluated, root)
            rows.append(
                {"annotations": images * scale * INSTANCES}
                | {"json MB": (root / "annotations.json").stat().st_size / 1e6}
                | {"prepare s": prepare_seconds, "prepare MB": prepare_mb}
                | {"parse whole s": parse_seconds, "parse whole MB": parse_mb}
                | {"first start s": first_seconds, "first start MB": first_mb}
                | {"start s": later_seconds, "start MB": later_mb, "worker MB": forked(worker, root)}
                | {"eval us/instance": 1e6 * eval_seconds / instances, "eval kB/instance": 1e3 * eval_mb / instances}
            )
            print(f"{rows[-1]['annotations']} annotations measured", flush=True)
    print_rows("Data sets of 1, 10 and 100 times the size", [turn(rows, column) for column in list(rows[0])])
    write_rows(output, rows)


def turn(rows: list[dict[str, Any]], column: str) -> dict[str, Any]:
    """A column of the rows as a row of the table."""
    return {"": column} | {f"x{scale}": row[column] for scale, row in zip(SCALES, rows, strict=False)}


if __name__ == "__main__":
    main(None)
