"""Cells found by themselves, and the same cells in a mosaic that is predicted in tiles: how many fall below IoU 0.6.

Run as ``python scripts/benchmark.py mosaic``. Each generated image is shown to a network (``checkpoint=cells``) alone;
cells found there with an IoU of at least 0.6 are looked for in the mosaic of all images, whose tiles cut them anywhere.
Beside it the images alone, their content moved by 16 pixels: what a network loses by looking elsewhere, without tiles.
The last column is the share of the prediction of the mosaic that stitching takes.
"""

import time
from itertools import islice
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt
from benchmark_mosaics import SEED, Mosaic, best_ious, mosaic_of
from benchmark_tools import print_rows, write_rows

from gains.arrays import FloatArray
from gains.data.synthetic.overlapping_cells import OverlappingCells
from gains.prediction.jobs import together
from gains.prediction.predictor import Predictor, load_model
from gains.rle import decode_crop, encode_crop

LEAST = 0.6
SHIFT = 16


def moved(image: Mosaic) -> tuple[Mosaic, npt.NDArray[np.bool_]]:
    """The content of an image 16 pixels further right and down, and which instances are still whole there."""
    size = image.pixels.shape[:2]
    pixels = np.pad(image.pixels, ((SHIFT, 0), (SHIFT, 0)), mode="edge")[: size[0], : size[1]]
    masks, whole = [], []
    for mask in image.masks:
        crop, (x0, y0, x1, y1) = decode_crop(mask)
        whole.append(x1 + SHIFT <= size[1] and y1 + SHIFT <= size[0])
        box = (x0 + SHIFT, y0 + SHIFT, x1 + SHIFT, y1 + SHIFT) if whole[-1] else (x0, y0, x1, y1)
        masks.append(encode_crop(crop, box, (size[0], size[1])))
    return Mosaic(pixels, masks, image.labels), np.array(whole, bool)


def found_ious(model: Predictor, image: Mosaic) -> FloatArray:
    """IoU of each true instance with the found one that becomes its own."""
    found = model.predict(image.pixels)
    masks: list[Any] = found.masks.to_rle()
    best: FloatArray = best_ious(masks, found.labels.tolist(), image.masks, image.labels)
    return best


def stitched_ious(model: Predictor, image: Mosaic) -> tuple[FloatArray, float]:
    """The same of a tiled image, and the share of the processor's time that stitching takes."""
    seconds = 0.0

    def timed(*given: Any) -> Any:
        nonlocal seconds
        begin = time.process_time()
        found = together(*given)
        seconds += time.process_time() - begin
        return found

    with mock.patch("gains.prediction.predictor.together", timed):
        begin = time.process_time()
        best = found_ious(model, image)
        return best, seconds / (time.process_time() - begin)


def rows_of(across: int, cells: tuple[int, int], side: int = 256) -> list[dict[str, Any]]:
    """A row for each category."""
    source = OverlappingCells(across**2, side, SEED, cells)
    records = list(islice(source, across**2))
    model = load_model("cells", "cpu", tile=side)
    images = [mosaic_of([record], 1, source.categories) for record in records]
    alone = np.concatenate([found_ious(model, image) for image in images])
    elsewhere = [moved(image) for image in images]
    shifted = np.concatenate([found_ious(model, image) for image, _ in elsewhere])
    still_whole = np.concatenate([whole for _, whole in elsewhere])
    mosaic = mosaic_of(records, across, source.categories)
    tiled, share = stitched_ious(model, mosaic)
    rows = []
    for label, category in enumerate(source.categories, 1):
        known = (np.array(mosaic.labels) == label) & (alone >= LEAST)
        rows.append(
            {
                "category": category,
                "instances": int((np.array(mosaic.labels) == label).sum()),
                "found alone": int(known.sum()),
                f"below {LEAST} tiled": int((tiled[known] < LEAST).sum()),
                f"below {LEAST} moved": int((shifted[known & still_whole] < LEAST).sum()),
                "of": int((known & still_whole).sum()),
                "stitching / prediction": share,
            }
        )
    return rows


def main(output: Path | None = None, device: str = "cpu") -> None:
    """Print the table and write it."""
    rows = rows_of(4, (8, 12))
    print_rows("Mosaic of 16 images of 256 pixels, tiles of 256 that share 64", rows)
    write_rows(output, rows)


if __name__ == "__main__":
    main()
