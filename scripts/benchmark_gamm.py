"""Gradient anomaly maps: ours on crops against the slow reference of the tests, window by window and full-size."""

import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmark_scenes import scene
from benchmark_tools import Measurement, PeakMemory, in_new_process, measure, print_rows, write_rows

from gains.gradient_anomaly import gradient_anomaly_crops, gradient_anomaly_maps
from gains.masks import InstanceCrops

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from helpers.slow_gradient_anomaly import slow_gradient_anomaly_maps

CELLS = {"window": 5, "gain": 0.5, "overlap_gain": 0.1, "variant": "isbi"}  # the authors' settings for ISBI2014
NUCLEI = {"window": 8, "gain": 0.8, "overlap_gain": 0.1, "variant": "nuclei"}  # and for Kaggle2018
# Instances, image side and radius in pixels. The radii are those of the real files: cells of ISBI2014 cover 14,300
# pixels (median), nuclei of Kaggle2018 255, and 600 in the images with the most; None fills the image with discs.
CASES: list[tuple[int, int, float | None, dict[str, Any]]] = [
    (400, 1024, None, NUCLEI),
    (400, 1024, 13.8, NUCLEI),
    (6, 512, 67.5, CELLS),
    (100, 256, 9.0, NUCLEI),
]
BASELINE = "slow reference"
FULL_SIZE_LIMIT = 256 * 256 * 100  # pixels times instances; above, full-size arrays hold several GB


def measure_slow(masks: InstanceCrops, options: dict[str, Any], ours: InstanceCrops) -> Measurement:
    """The baseline, run once; it must agree with ours."""
    images, everyone = masks.dense().cpu().numpy(), np.ones(len(masks), bool)
    with PeakMemory() as memory:
        begin = time.perf_counter()
        maps = slow_gradient_anomaly_maps(images, everyone, **options)
        seconds = time.perf_counter() - begin
    np.testing.assert_allclose(ours.dense().cpu().numpy(), maps, rtol=0, atol=1e-5)
    return Measurement(seconds, memory.extra_mb)


def rows_of(
    instances: int, side: int, radius: float | None, options: dict[str, Any], device: str
) -> list[dict[str, Any]]:
    """One image: both statistics on crops, the call with full-size masks, and the baseline."""
    masks = InstanceCrops.from_dense(scene(instances, side, radius)[1].dense()).to(device)  # on tight boxes
    covered = float(masks.areas().sum()) / side**2
    results: dict[str, Measurement] = {}
    for statistic in ("reference", "circular"):
        call = partial(gradient_anomaly_crops, masks, statistic=statistic, **options)
        results[f"crops, {statistic}"] = measure(call, 31, device)
    slow = None
    if instances * side * side <= FULL_SIZE_LIMIT:
        full_size = partial(gradient_anomaly_maps, masks.dense(), **options)
        results["full-size, reference"] = measure(full_size, 31, device)
        slow = results[BASELINE] = measure_slow(masks, options, gradient_anomaly_crops(masks, **options))
    return [
        {
            "instances": instances,
            "image": f"{side}x{side}",
            "covered": f"{covered:.0%}",
            "variant": options["variant"],
            "what": what,
            "ms": result.seconds * 1e3,
            f"{BASELINE} / this": slow.seconds / result.seconds if slow else "-",
            "extra MB": result.extra_mb,
        }
        for what, result in results.items()
    ]


def main(output: Path | None = None, device: str = "cpu") -> None:
    """Print the table and write it."""
    rows = [row for case in CASES for row in in_new_process(rows_of, *case, device)]
    print_rows(f"Gradient anomaly maps, {device}, {torch.get_num_threads()} threads", rows)
    write_rows(output, rows)
