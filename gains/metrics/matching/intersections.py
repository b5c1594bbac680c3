"""Which ground truths and detections overlap, and by how much: computed once, used by every metric.

pycocotools compares two run-length encodings in C and only where their bounding boxes meet. Of its matrix only the
non-zero entries are kept, so that an image with 2,000 nuclei costs a few thousand numbers, not four million.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pycocotools import mask as coco_mask

from gains.arrays import BoolArray, FloatArray, IntArray
from gains.rle import RLE

_BLOCK_ENTRIES = 250_000
"""Entries of the IoU matrix held at one time (2 MB)."""


@dataclass(frozen=True)
class Pairs:
    """The overlapping pairs of one image and category, in order of detection, then ground truth.

    Attributes:
        truth: ``(P,)`` index of the ground truth.
        detection: ``(P,)`` index of the detection.
        iou: ``(P,)`` intersection over union; for a crowd ground truth intersection over the detection's area (COCO).
    """

    truth: IntArray
    detection: IntArray
    iou: FloatArray

    def where(self, keep: BoolArray | IntArray) -> "Pairs":
        """The pairs for which ``keep (P,)`` is true, or those of the given indices."""
        return Pairs(self.truth[keep], self.detection[keep], self.iou[keep])


def mask_pairs(truths: Sequence[RLE], detections: Sequence[RLE], crowd: BoolArray) -> Pairs:
    """Pairs of masks that share a pixel.

    Args:
        truths: G encodings, all of one image size.
        detections: D encodings of the same size.
        crowd: ``(G,)`` which ground truths are crowd regions.
    """
    return _pairs(truths, detections, crowd)


def box_pairs(truths: FloatArray, detections: FloatArray, crowd: BoolArray) -> Pairs:
    """Pairs of boxes that overlap; boxes ``(G, 4)`` and ``(D, 4)`` are COCO's ``x, y, width, height``."""
    return _pairs(truths, detections, crowd)


def mask_boxes(masks: Sequence[RLE]) -> FloatArray:
    """Tight boxes ``(N, 4)`` of masks as ``x, y, width, height``."""
    if len(masks) == 0:
        return np.zeros((0, 4))
    return np.asarray(coco_mask.toBbox(list(masks)), dtype=np.float64)


def mask_areas(masks: Sequence[RLE]) -> FloatArray:
    """Areas ``(N,)`` of masks in pixels."""
    # With numpy 2 pycocotools' area fails on more than 255 masks in one call.
    blocks = [list(masks[begin : begin + 255]) for begin in range(0, len(masks), 255)]
    return np.concatenate([np.zeros(0), *(coco_mask.area(block) for block in blocks)])


def _pairs(truths: Sequence[RLE] | FloatArray, detections: Sequence[RLE] | FloatArray, crowd: BoolArray) -> Pairs:
    found: list[Pairs] = []
    block = max(1, _BLOCK_ENTRIES // max(1, len(truths)))
    for begin in range(0, len(detections) if len(truths) else 0, block):
        iou = coco_mask.iou(detections[begin : begin + block], truths, crowd.astype(np.uint8))
        detection, truth = np.nonzero(iou)
        found.append(Pairs(truth, detection + begin, iou[detection, truth]))
    if not found:
        return Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    return Pairs(
        np.concatenate([part.truth for part in found]),
        np.concatenate([part.detection for part in found]),
        np.concatenate([part.iou for part in found]),
    )
