"""Which instances of an image share pixels, found from their boxes and counted on their crops."""

import numpy as np
import numpy.typing as npt
import shapely

from gains.arrays import IntArray
from gains.masks import InstanceCrops


def overlapping_boxes(boxes: IntArray) -> tuple[IntArray, IntArray]:
    """Pairs i < j of boxes ``(N, 4)`` xyxy that share area, each as ``(P,)`` indices."""
    shapes = shapely.box(boxes[:, 0], boxes[:, 1], boxes[:, 2], boxes[:, 3])
    first, second = shapely.STRtree(shapes).query(shapes) if len(boxes) else np.zeros((2, 0), dtype=np.int64)
    shared = np.minimum(boxes[first, 2:], boxes[second, 2:]) - np.maximum(boxes[first, :2], boxes[second, :2])
    keep = (first < second) & (shared > 0).all(axis=1)
    return first[keep], second[keep]


def window(masks: InstanceCrops, index: int, box: IntArray) -> npt.NDArray[np.uint8]:
    """The part of a mask's crop that lies in a box ``(4,)``, a view; without pixels where they do not meet."""
    x0, y0, x1, y1 = masks.boxes[index].tolist()
    left, top = max(int(box[0]), x0), max(int(box[1]), y0)
    right, bottom = max(min(int(box[2]), x1), left), max(min(int(box[3]), y1), top)
    crop: npt.NDArray[np.uint8] = masks.crop(index).numpy()
    return crop[max(top - y0, 0) : max(bottom - y0, 0), max(left - x0, 0) : max(right - x0, 0)]


def intersection(masks: InstanceCrops, first: int, second: int) -> int:
    """Pixels that two masks share."""
    boxes = masks.boxes.numpy()
    a = window(masks, first, boxes[second])
    b = window(masks, second, boxes[first])
    return int(np.count_nonzero(a & b))


def overlapping_pairs(masks: InstanceCrops) -> tuple[IntArray, IntArray, IntArray]:
    """Pairs i < j of masks that share pixels: ``(P,)`` i, ``(P,)`` j and ``(P,)`` shared pixels."""
    first, second = overlapping_boxes(masks.boxes.numpy())
    shared = np.array([intersection(masks, i, j) for i, j in zip(first, second, strict=True)], dtype=np.int64)
    keep = shared > 0
    return first[keep], second[keep], shared[keep]
