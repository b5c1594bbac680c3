"""Pairs of overlapping cells near the seams of tiles: how many come back as two, for several detectors.

Run as ``python scripts/benchmark.py stitching``. 300 random pairs of ellipses that share pixels, near the place where
four tiles of 192 pixels with an overlap of 48 meet. The detections of each tile are the truth, cut to the tile, changed
as the column says. A pair is merged if fewer than two instances come back, lost if one of its cells has no instance of
its own with an IoU of at least 0.5, doubled if more than its two cells come back.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_tools import print_rows, write_rows

from gains.prediction.stitching import stitch
from gains.prediction.tiling import TileGrid

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from helpers.tiled_scenes import Detector, compare, random_pair

SIZE, TILE, OVERLAP, PAIRS = (336, 336), 192, 48, 300
HALF_AXES = ((10, 20), (28, 40), (50, 80))
DETECTORS = {
    "perfect": Detector(),
    "under 20 pixels undetected": Detector(least_area=20),
    "under a tenth undetected": Detector(least_share=0.1),
    "outlines move by up to 2": Detector(jitter=2),
    "all of it, masks end up to 4 early": Detector(least_share=0.1, jitter=2, early=4),
}


def row_of(name: str, half_axes: tuple[int, int]) -> dict[str, Any]:
    """Count over the pairs of one size."""
    grid = TileGrid.covering(SIZE, TILE, OVERLAP)
    merged = lost = doubled = 0
    for seed in range(PAIRS):
        rng = np.random.default_rng(seed)
        scene = random_pair(rng, SIZE, half_axes)
        pieces, _ = DETECTORS[name].detect(scene, grid, rng)
        found = stitch(pieces, grid)[0]
        outcome = compare(found, scene)
        merged += len(found) < 2
        lost += outcome.lost > 0
        doubled += outcome.extra > 0
    axes = f"{half_axes[0]}-{half_axes[1]}"
    return {"detections": name, "half-axes": axes, "merged": merged, "lost": lost, "doubled": doubled, "of": PAIRS}


def main(output: Path | None = None, device: str = "cpu") -> None:
    """Print the table and write it."""
    rows = [row_of(name, half_axes) for name in DETECTORS for half_axes in HALF_AXES]
    print_rows(f"Pairs of overlapping cells, tiles of {TILE} that share {OVERLAP}", rows)
    write_rows(output, rows)


if __name__ == "__main__":
    main()
