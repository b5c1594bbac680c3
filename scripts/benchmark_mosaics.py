"""Mosaics of generated images, whose instances are known, for benchmarks of large and of dense images."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask
from scipy.optimize import linear_sum_assignment

from gains.data.source import ImageRecord
from gains.data.synthetic.overlapping_cells import OverlappingCells
from gains.data.synthetic.touching_nuclei import TouchingNuclei
from gains.rle import RLE, decode_crop, encode_crop

SEED = 7001
"""Of the images; the shipped model learned from others."""


@dataclass(frozen=True)
class Mosaic:
    """Images laid side by side.

    Attributes:
        pixels: ``(H, W)`` uint8.
        masks: of all instances, at the size of the mosaic.
        labels: of each, from 1.
    """

    pixels: npt.NDArray[np.uint8]
    masks: list[RLE]
    labels: list[int]


def mosaic_of(records: Sequence[ImageRecord], columns: int, categories: Sequence[str]) -> Mosaic:
    """Lay square images of one size side by side, row after row."""
    side = len(records[0].pixels)
    size = (-(-len(records) // columns) * side, columns * side)
    pixels = np.zeros(size, np.uint8)
    masks, labels = [], []
    for index, record in enumerate(records):
        y, x = side * (index // columns), side * (index % columns)
        pixels[y : y + side, x : x + side] = record.pixels
        for instance in record.instances:
            crop, (x0, y0, x1, y1) = decode_crop(instance.mask)
            masks.append(encode_crop(crop, (x0 + x, y0 + y, x1 + x, y1 + y), size))
            labels.append(list(categories).index(instance.category) + 1)
    return Mosaic(pixels, masks, labels)


def mosaic_of_cells(across: int, cells: tuple[int, int], side: int = 256, seed: int = SEED) -> Mosaic:
    """``across`` x ``across`` generated images of that side, each with ``cells`` (fewest, most) and their nuclei."""
    source = OverlappingCells(across**2, side, seed, cells, max_overlap=0.4)
    return mosaic_of(list(islice(source, across**2)), across, source.categories)


def mosaic_of_nuclei(across: int, nuclei: tuple[int, int], side: int = 160, seed: int = SEED) -> Mosaic:
    """As many generated images of touching nuclei in fluorescence, each with ``nuclei`` (fewest, most)."""
    source = TouchingNuclei(across**2, side, seed, nuclei, stained_share=0)
    return mosaic_of(list(islice(source, across**2)), across, source.categories)


def zoomed(drawn: Mosaic, zoom: float) -> Mosaic:
    """The same objects drawn ``zoom`` times as large."""
    size = (round(drawn.pixels.shape[0] * zoom), round(drawn.pixels.shape[1] * zoom))
    shrinks = zoom < 1
    pixels = cv2.resize(drawn.pixels, size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    masks = []
    for mask in drawn.masks:
        full: Any = coco_mask.decode(mask)
        larger = cv2.resize(full * 255, size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        masks.append(encode_crop(larger >= 128, (0, 0, size[1], size[0]), size))
    return Mosaic(np.asarray(pixels, np.uint8), masks, drawn.labels)


def best_ious(found: Sequence[RLE], labels: Sequence[int], truth: Sequence[RLE], own: Sequence[int]) -> Any:
    """IoU ``(N,)`` of each true instance with the found one that becomes its own, of its category; 0 without one."""
    if not found or not truth:
        return np.zeros(len(truth))
    overlaps: Any = coco_mask.iou(list(truth), list(found), [0] * len(found))
    iou = np.array(overlaps).reshape(len(truth), len(found))
    iou[np.array(own)[:, None] != np.array(labels)] = 0
    rows, columns = linear_sum_assignment(-iou)
    best = np.zeros(len(truth))
    best[rows] = iou[rows, columns]
    return best
