"""Duplicates told by their masks, not their boxes: crossing objects have one box and different masks.

Greedy, as NMS on boxes is, and on crops: only masks whose boxes meet are compared, on the pixels where they meet.
"""

import numpy as np
import numpy.typing as npt

from gains.arrays import IntArray
from gains.masks import InstanceCrops
from gains.overlaps import overlapping_boxes, window

FloatArray = npt.NDArray[np.floating]

ONE_THING = 0.8
"""Mask IoU above which two detections of different categories are one thing; a nucleus covers less of its cell."""


def mask_nms(
    masks: InstanceCrops, scores: FloatArray, labels: IntArray, iou: float, across_categories: bool = False
) -> IntArray:
    """Drop every detection whose mask overlaps that of a better one that stays.

    Args:
        masks: N masks.
        scores: ``(N,)``; of equals the first comes first.
        labels: ``(N,)``.
        iou: IoU of masks of one category above which the lower-scored is dropped.
        across_categories: also compare masks of different categories, at an IoU of 0.8 or of ``iou`` if that is more.

    Returns:
        Indices ``(M,)`` of those that stay, the best score first.
    """
    order = np.argsort(-scores, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    areas = masks.areas().cpu().numpy()
    first, second = overlapping_boxes(masks.boxes.numpy())
    same = labels[first] == labels[second]
    limit = np.where(same, iou, max(iou, ONE_THING) if across_categories else np.inf)
    # Two masks of these areas cannot overlap by more than the smaller; boxes bound it again.
    smaller, total = np.minimum(areas[first], areas[second]), areas[first] + areas[second]
    possible = np.minimum(smaller, _shared_box(masks.boxes.numpy(), first, second))
    near = possible > limit * (total - possible)
    rivals: list[list[tuple[int, float]]] = [[] for _ in order]
    for i, j, most in zip(first[near].tolist(), second[near].tolist(), limit[near].tolist(), strict=True):
        better, worse = (i, j) if place[i] < place[j] else (j, i)
        rivals[better].append((worse, most))
    dropped = np.zeros(len(order), dtype=bool)
    boxes = masks.boxes.numpy()
    for better in order.tolist():
        if dropped[better]:
            continue
        for worse, most in rivals[better]:
            if not dropped[worse]:
                shared = np.count_nonzero(window(masks, better, boxes[worse]) & window(masks, worse, boxes[better]))
                dropped[worse] = shared > most * (areas[better] + areas[worse] - shared)
    return order[~dropped[order]]


def _shared_box(boxes: IntArray, first: IntArray, second: IntArray) -> IntArray:
    """Pixels ``(P,)`` that the boxes of each pair share."""
    sides = np.minimum(boxes[first, 2:], boxes[second, 2:]) - np.maximum(boxes[first, :2], boxes[second, :2])
    area: IntArray = sides.clip(min=0).prod(axis=1)
    return area
