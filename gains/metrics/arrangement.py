"""How instances lie to each other: alone, touching, overlapping or crossing, and which part of each others cover.

The rules, for two instances of one category:

- *crossing*: they share pixels, and without these either falls apart into at least two pieces of 5 % of its area or
  more (pieces are 4-connected);
- *overlapping*: they share pixels, and do not cross;
- *touching*: they share none, but somewhere pixels of both lie at most 2 pixels apart, centre to centre.

An instance belongs to the strongest relation it has to any other, and is *alone* without one. Instances of another
category do not count: a nucleus does not overlap the cell it lies in. With these rules the 240 composed chromosome
images come out as they were arranged, image by image and pair by pair (127 touching, 245 overlapping, 144 crossing).

Sub-regions follow the benchmark "Beyond Visible Boundaries" (Precognition workshop 2026): masks as a whole hide how
well the part that others cover is found.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from pycocotools import mask as coco_mask
from scipy import ndimage

from gains.arrays import BoolArray, FloatArray, IntArray
from gains.masks import InstanceCrops
from gains.metrics.matching.intersections import Pairs, mask_areas
from gains.overlaps import overlapping_boxes, window
from gains.rle import RLE

GROUPS = ("alone", "touching", "overlapping", "crossing")
"""From the weakest relation to the strongest."""
ALONE, TOUCHING, OVERLAPPING, CROSSING = range(4)

GAP = 2
"""Pixels between centres up to which two instances touch."""
MIN_PIECE = 0.05
"""Share of an instance's area from which a piece counts."""
CLOSE_IOU = 0.5
"""Detections with less in common with a ground truth are not its match in any metric that asks for sub-regions."""


@dataclass(frozen=True)
class Arrangement:
    """The ground truths of one image and category.

    Attributes:
        group: ``(G,)`` index into :data:`GROUPS`.
        covered: the part of each mask that any other covers, on the mask's own box.
    """

    group: IntArray
    covered: InstanceCrops


def arrange(masks: InstanceCrops) -> Arrangement:
    """Find how the masks of one category in one image lie; the work follows the area of boxes that come close."""
    boxes = masks.boxes.numpy()
    crops = [masks.crop(index).numpy().astype(bool) for index in range(len(masks))]
    covered = [np.zeros_like(crop) for crop in crops]
    group = np.full(len(masks), ALONE)
    solid = (boxes[:, 2:] > boxes[:, :2]).all(axis=1, keepdims=True)
    near = boxes + np.array([-GAP, -GAP, GAP, GAP]) * solid
    for i, j in zip(*overlapping_boxes(near), strict=True):
        relation = _relation(masks, crops, covered, int(i), int(j))
        group[[i, j]] = np.maximum(group[[i, j]], relation)
    parts = [torch.from_numpy(part.view(np.uint8)) for part in covered]
    return Arrangement(group, InstanceCrops.from_crops(parts, masks.boxes, masks.size))


def _relation(masks: InstanceCrops, crops: list[BoolArray], covered: list[BoolArray], i: int, j: int) -> int:
    """Relation of two masks; what they share is marked in ``covered``."""
    boxes = masks.boxes.numpy()
    shared = (window(masks, i, boxes[j]) & window(masks, j, boxes[i])).astype(bool)
    if not shared.any():
        return TOUCHING if _touch(crops[i], boxes[i], crops[j], boxes[j]) else ALONE
    left, top = np.maximum(boxes[i, :2], boxes[j, :2]).tolist()
    apart = []
    for index in (i, j):
        x, y = left - int(boxes[index, 0]), top - int(boxes[index, 1])
        place = (slice(y, y + shared.shape[0]), slice(x, x + shared.shape[1]))
        covered[index][place] |= shared
        rest = crops[index].copy()
        rest[place] &= ~shared
        pieces = np.bincount(ndimage.label(rest)[0].ravel())[1:]
        apart.append(np.count_nonzero(pieces >= MIN_PIECE * np.count_nonzero(crops[index])) >= 2)
    return CROSSING if all(apart) else OVERLAPPING


def _touch(one: BoolArray, one_box: IntArray, other: BoolArray, other_box: IntArray) -> bool:
    """Whether pixels of two masks without shared ones come within :data:`GAP` of each other."""
    # Only the strip in which the other can be near has to be looked at.
    left, top = np.maximum(one_box[:2] - GAP, other_box[:2] - GAP)
    right, bottom = np.minimum(one_box[2:] + GAP, other_box[2:] + GAP)
    region = (int(left), int(top), int(right), int(bottom))
    reach = ndimage.binary_dilation(_cut(one, one_box, region), _disk(GAP))
    return bool((reach & _cut(other, other_box, region)).any())


def _cut(crop: BoolArray, box: IntArray, region: tuple[int, int, int, int]) -> BoolArray:
    """A mask within a region ``(x0, y0, x1, y1)`` that its own box may not fill."""
    x0, y0, x1, y1 = region
    part = np.zeros((y1 - y0, x1 - x0), dtype=bool)
    left, top = max(x0, int(box[0])), max(y0, int(box[1]))
    right, bottom = max(min(x1, int(box[2])), left), max(min(y1, int(box[3])), top)
    inside = crop[top - int(box[1]) : bottom - int(box[1]), left - int(box[0]) : right - int(box[0])]
    part[top - y0 : bottom - y0, left - x0 : right - x0] = inside
    return part


def _disk(radius: int) -> BoolArray:
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disk: BoolArray = x**2 + y**2 <= radius**2
    return disk


def covered_hits(pairs: Pairs, covered: Sequence[RLE], detections: Sequence[RLE]) -> FloatArray:
    """Pixels of each detection in the covered part of its ground truth, ``(P,)``.

    Args:
        pairs: of ground truths and detections; only those of IoU 0.5 and more are looked at, others get 0.
        covered: covered part of each ground truth.
        detections: masks of the same image.
    """
    hits = np.zeros(len(pairs.iou))
    areas = mask_areas(covered)
    rows = np.flatnonzero((pairs.iou >= CLOSE_IOU) & (areas[pairs.truth] > 0)) if len(areas) else np.zeros(0, int)
    shared = [
        coco_mask.merge([covered[pairs.truth[row]], detections[pairs.detection[row]]], intersect=True) for row in rows
    ]
    hits[rows] = mask_areas(shared)
    return hits
