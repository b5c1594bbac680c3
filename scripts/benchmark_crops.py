"""Large images of small objects: trained and evaluated shrunk to one side, and cropped to it, with the same steps.

Run as ``python scripts/benchmark.py crops``. Nine mosaics of generated nuclei, each 512 pixels wide, are trained on
by ``gains train`` twice for each seed, once as they are shrunk to 128 pixels, once with ``dataset.crop=true`` at the
same side: as many steps, as many pixels in each, anchors by the data. Evaluated are three other mosaics, against what
is on disk.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from benchmark_mosaics import SEED, mosaic_of
from benchmark_tools import print_rows, write_rows

from gains.data.dataset import load_annotations
from gains.data.prepare import prepare
from gains.data.sizes import Scaling, object_sizes
from gains.data.source import ImageRecord, Instance
from gains.data.synthetic.touching_nuclei import TouchingNuclei

TILES, SIDE, SHORT, IMAGES, STEPS = 4, 128, 128, 12, 200
METRICS = {"mAP": "segm_map", "AP50": "segm_map_50", "AJI": "aji", "F1": "f1_50"}


class Mosaics:
    """Generated nuclei, mosaic by mosaic, as a :class:`gains.data.source.Source`.

    Args:
        count: of mosaics.
        across: images side by side in each.
        side: of these, in pixels.
    """

    categories: ClassVar = ["nucleus"]

    def __init__(self, count: int, across: int, side: int) -> None:
        self.count, self.across, self.side = count, across, side

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[ImageRecord]:
        number = self.across**2
        drawn = iter(TouchingNuclei(self.count * number, self.side, SEED, (3, 8), stained_share=0))
        for index in range(self.count):
            mosaic = mosaic_of(list(islice(drawn, number)), self.across, self.categories)
            instances = [Instance("nucleus", mask) for mask in mosaic.masks]
            yield ImageRecord(f"mosaic_{index:02d}", mosaic.pixels, instances)


def trained(data: Path, folder: Path, crop: bool, short: int, seed: int, steps: int) -> dict[str, float]:
    """Metrics of the test images after one run of ``gains train``."""
    settings = [
        "dataset=coco",
        f"dataset.root={data}",
        f"dataset.short_side={short}",
        f"dataset.crop={str(crop).lower()}",
        "dataset.max_detections=500",
        "model=mask_rcnn",
        "model.anchor_sizes=auto",
        "logger=csv",
        "batch_size=2",
        "validate_on=train",
        f"seed={seed}",
        f"trainer.max_steps={steps}",
        f"trainer.val_check_interval={steps}",
        "trainer.limit_val_batches=1",
        f"hydra.run.dir={folder}",
    ]
    subprocess.run([sys.executable, "-m", "gains.cli", "train", *settings], check=True, stdout=sys.stderr)
    found: dict[str, float] = json.loads((folder / "results.json").read_text())["metrics"]
    return found


def rows_of(
    seeds: Sequence[int],
    folder: Path,
    images: int = IMAGES,
    across: int = TILES,
    short: int = SHORT,
    steps: int = STEPS,
) -> list[dict[str, Any]]:
    """A row for shrinking and one for cropping: network pixels across a typical object, means over the seeds."""
    data = folder / "data"
    prepare(Mosaics(images, across, SIDE), data, seed=1, ratios=[3, 0, 1])
    annotations = load_annotations(data)
    rows = []
    for crop in (False, True):
        sizes = object_sizes(annotations, Scaling(short, 1333, short, crop))
        runs = [trained(data, folder / f"{crop}_{seed}", crop, short, seed, steps) for seed in seeds]
        row: dict[str, Any] = {
            "images": f"cropped to {short}" if crop else f"shrunk to {short}",
            "network pixels": float(np.median(sizes.network["nucleus"])),
        }
        for name, metric in METRICS.items():
            row[name] = statistics.fmean(run[metric] for run in runs)
        row["mAP of each seed"] = " ".join(f"{run['segm_map']:.3f}" for run in runs)
        rows.append(row)
    return rows


def main(output: Path | None = None, device: str = "cpu", seeds: Sequence[int] = (1, 2, 3)) -> None:
    """Train, print the table and write it; ``device`` does not count, figures are those of a CPU."""
    with tempfile.TemporaryDirectory() as folder:
        rows = rows_of(seeds, Path(folder))
    print_rows(f"{IMAGES} mosaics of {TILES * SIDE} pixels, {STEPS} steps of 2, seeds {list(seeds)}", rows)
    write_rows(output, rows)


if __name__ == "__main__":
    main()
