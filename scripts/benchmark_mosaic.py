"""Cells found by themselves, and the same cells in a mosaic that is predicted in tiles: how many fall below IoU 0.6.

Run as ``python scripts/benchmark.py mosaic``. Each generated image is shown to a network (``checkpoint=cells@1``)
alone; cells found there with an IoU of at least 0.6 are looked for in the mosaic of all images, whose tiles cut them
anywhere.
"Of these shown" are those below 0.6 which a tile that sees all of them does show with such an IoU, so that stitching
took another view of them; what no tile shows is the network's loss. Beside it the images alone, their content moved by
16 pixels: what a network loses by looking elsewhere, without tiles. The last column is the share of the prediction of
the mosaic that stitching takes.

``--data FOLDER`` takes the images of a prepared data set (square ones of one size, as those of ISBI 2014) and
``--checkpoint`` a model that knows its categories; images and mosaic are brought to the model's scale by the median
diameter of the annotated objects.
"""

import math
import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt
from benchmark_mosaics import SEED, Mosaic, best_ious, mosaic_of
from benchmark_tools import print_rows, write_rows
from pycocotools import mask as coco_mask

from gains.arrays import FloatArray
from gains.data.dataset import Annotations, InstanceDataset, load_annotations
from gains.data.source import ImageRecord, Instance
from gains.data.synthetic.overlapping_cells import OverlappingCells
from gains.masks import equivalent_diameter
from gains.prediction.predictor import Predictor, load_model
from gains.prediction.stitching import Found, Pieces, stitched
from gains.prediction.tiling import TileGrid
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


@dataclass(frozen=True)
class Tiled:
    """A mosaic predicted in tiles.

    Attributes:
        iou: ``(N,)`` of each true instance with the found one that becomes its own.
        shown: ``(N,)`` the best IoU that a tile which sees all of it has given it, before stitching.
        share: of the processor's time that stitching takes.
    """

    iou: FloatArray
    shown: FloatArray
    share: float


def tiled(model: Predictor, image: Mosaic) -> Tiled:
    """Predict a mosaic, and look at what stitching was given."""
    seconds = 0.0
    given: list[tuple[Pieces, TileGrid]] = []

    def timed(pieces: Pieces, grid: TileGrid) -> Found:
        nonlocal seconds
        given.append((pieces, grid))
        begin = time.process_time()
        found = stitched(pieces, grid)
        seconds += time.process_time() - begin
        return found

    with mock.patch("gains.prediction.predictor.stitched", timed):
        begin = time.process_time()
        best = found_ious(model, image)
        total = time.process_time() - begin
    [(pieces, grid)] = given
    return Tiled(best, shown_whole(pieces, grid, image), seconds / total)


def shown_whole(pieces: Pieces, grid: TileGrid, image: Mosaic) -> FloatArray:
    """IoU ``(N,)`` of each true instance with the best piece, of its category, of a tile that sees all of it."""
    masks: list[Any] = pieces.masks.to_rle()
    if not masks:
        return np.zeros(len(image.masks))
    overlaps: Any = coco_mask.iou(masks, list(image.masks), [0] * len(image.masks))
    iou = np.array(overlaps).reshape(len(masks), len(image.masks))
    iou[pieces.labels[:, None] != np.array(image.labels)] = 0
    for column, mask in enumerate(image.masks):
        box = np.array(decode_crop(mask)[1], np.int64)
        room = grid.room(np.broadcast_to(box, (len(masks), 4)), pieces.tile)
        iou[room < grid.edge, column] = 0
    best: FloatArray = iou.max(axis=0)
    return best


def prepared_records(annotations: Annotations) -> list[ImageRecord]:
    """As many images of a prepared data set as fill a square mosaic, with their instances."""
    names = sorted(annotations.images)
    names = names[: math.isqrt(len(names)) ** 2]
    data = InstanceDataset(annotations, names)
    records = []
    for index, name in enumerate(names):
        pixels = data.pixels(index)
        masks, labels, _ = data.ground_truth(index)
        instances = [
            Instance(annotations.categories[label - 1], mask) for mask, label in zip(masks, labels, strict=True)
        ]
        records.append(ImageRecord(name, pixels if pixels.ndim == 2 else pixels.mean(-1).astype(np.uint8), instances))
    return records


def rows_of(model: Predictor, records: list[ImageRecord]) -> list[dict[str, Any]]:
    """A row for each category of the model, of a square number of images and their mosaic."""
    images = [mosaic_of([record], 1, model.categories) for record in records]
    alone = np.concatenate([found_ious(model, image) for image in images])
    elsewhere = [moved(image) for image in images]
    shifted = np.concatenate([found_ious(model, image) for image, _ in elsewhere])
    still_whole = np.concatenate([whole for _, whole in elsewhere])
    mosaic = mosaic_of(records, math.isqrt(len(records)), model.categories)
    found = tiled(model, mosaic)
    rows = []
    for label, category in enumerate(model.categories, 1):
        known = (np.array(mosaic.labels) == label) & (alone >= LEAST)
        rows.append(
            {
                "category": category,
                "instances": int((np.array(mosaic.labels) == label).sum()),
                "found alone": int(known.sum()),
                f"below {LEAST} tiled": int((found.iou[known] < LEAST).sum()),
                "of these shown": int(((found.iou < LEAST) & (found.shown >= LEAST))[known].sum()),
                f"below {LEAST} moved": int((shifted[known & still_whole] < LEAST).sum()),
                "of": int((known & still_whole).sum()),
                "stitching / prediction": found.share,
            }
        )
    return rows


def generated(across: int, cells: tuple[int, int], side: int = 256) -> list[ImageRecord]:
    """``across`` x ``across`` images of overlapping cells."""
    return list(islice(OverlappingCells(across**2, side, SEED, cells), across**2))


def main(
    output: Path | None = None, device: str = "cpu", data: Path | None = None, checkpoint: str = "cells@1"
) -> None:
    """Print the table and write it."""
    accelerator = "gpu" if device == "cuda" else device
    if data is None:
        model, records = load_model(checkpoint, accelerator, tile=256), generated(4, (8, 12))
    else:
        annotations = load_annotations(data)
        typical = annotations.index.area[annotations.labels == 1]
        diameter = float(np.median(equivalent_diameter(typical)))
        model = load_model(checkpoint, accelerator, object_diameter=diameter)
        records = prepared_records(annotations)
    rows = rows_of(model, records)
    print_rows(
        f"Mosaic of {len(records)} images of {len(records[0].pixels)} pixels, tiles of {model.tile} that share "
        f"{model.overlap}, checkpoint={checkpoint}",
        rows,
    )
    write_rows(output, rows)


if __name__ == "__main__":
    main()
