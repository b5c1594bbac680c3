"""COCO average precision from overlapping pairs, equal to pycocotools' COCOeval.

COCOeval spends its time in a Python loop over every detection, ground truth, threshold and four area ranges. Here a
detection meets only the ground truths that it overlaps, all ten thresholds at once, and only over all areas.
Definition: https://cocodataset.org/#detection-eval.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gains.arrays import BoolArray, FloatArray, IntArray
from gains.metrics.matching.intersections import Pairs
from gains.metrics.matching.rows import Row

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALL_THRESHOLDS = np.linspace(0.0, 1.0, 101)


def match(pairs: Pairs, crowd: BoolArray, detections: int) -> tuple[BoolArray, BoolArray]:
    """Match detections to ground truths, the highest score first, at each of the ten IoU thresholds.

    A detection takes the free ground truth of highest IoU (of equals, the later one); failing that, a crowd region
    that holds enough of it, which any number of detections may do and which makes it count neither way.

    Args:
        pairs: overlapping pairs, IoU with a crowd region in COCO's sense.
        crowd: ``(G,)`` crowd regions.
        detections: how many detections to match, from the highest score down (COCO's ``maxDets``).

    Returns:
        ``(10, D)`` true positives, and ``(10, D)`` detections that a crowd region keeps from being false positives.
    """
    true_positive = np.zeros((len(IOU_THRESHOLDS), detections), dtype=bool)
    ignored = np.zeros_like(true_positive)
    taken = np.zeros((len(IOU_THRESHOLDS), len(crowd)), dtype=bool)
    pairs = pairs.where((pairs.detection < detections) & (pairs.iou >= IOU_THRESHOLDS[0]))
    order = np.lexsort((-pairs.truth, pairs.detection))
    pairs = Pairs(pairs.truth[order], pairs.detection[order], pairs.iou[order])
    close = pairs.iou >= IOU_THRESHOLDS[:, None]
    for group in np.split(np.arange(len(order)), np.nonzero(np.diff(pairs.detection))[0] + 1) if len(order) else []:
        truth, detection = pairs.truth[group], pairs.detection[group[0]]
        free = close[:, group] & ~taken[:, truth] & ~crowd[truth]
        best = np.where(free, pairs.iou[group], 0.0).argmax(axis=1)
        matched = free.any(axis=1)
        taken[matched, truth[best[matched]]] = True
        true_positive[:, detection] = matched
        ignored[:, detection] = (close[:, group] & crowd[truth]).any(axis=1)
    return true_positive, ignored


@dataclass(frozen=True)
class Ranking:
    """All detections of one category in order of score, matched, ready to be counted with any weights of the images.

    Attributes:
        image: ``(D,)`` index of each detection's image.
        true_positive: ``(10, D)``.
        false_positive: ``(10, D)``.
        truths: ``(I,)`` ground truths of each image, without crowd regions.
    """

    image: IntArray
    true_positive: BoolArray
    false_positive: BoolArray
    truths: FloatArray

    @classmethod
    def of(cls, rows: Sequence[Row | None], kind: str, max_detections: int) -> "Ranking":
        """Match and rank the detections of one category; ``kind`` is ``masks`` or ``boxes``, rows one per image."""
        scores, images = [np.zeros(0)], [np.zeros(0, np.int64)]
        none = np.zeros((len(IOU_THRESHOLDS), 0), dtype=bool)
        matched, ignored = [none], [none]
        truths = np.zeros(len(rows))
        for index, row in enumerate(rows):
            if row is None:
                continue
            count = min(max_detections, len(row.scores))
            pairs: Pairs = getattr(row, kind)
            hit, skipped = match(pairs, row.crowd, count)
            scores.append(row.scores[:count])
            images.append(np.full(count, index))
            matched.append(hit)
            ignored.append(skipped)
            truths[index] = np.count_nonzero(~row.crowd)
        order = np.argsort(-np.concatenate(scores), kind="stable")
        true_positive = np.concatenate(matched, axis=1)[:, order]
        false_positive = ~true_positive & ~np.concatenate(ignored, axis=1)[:, order]
        return cls(np.concatenate(images)[order], true_positive, false_positive, truths)

    def average_precision(self, weights: FloatArray) -> FloatArray:
        """Average precision ``(10,)`` at each IoU threshold, NaN without ground truth.

        Args:
            weights: ``(I,)`` how often each image counts: ones, or the multiplicities of a bootstrap sample.
        """
        averages: FloatArray = self.precision(weights).mean(axis=1)
        return averages

    def precision(self, weights: FloatArray) -> FloatArray:
        """The best precision ``(10, 101)`` at each IoU threshold that has a recall of 0, 0.01, ... 1 or more.

        0 where no score reaches that recall, NaN without ground truth.

        Args:
            weights: ``(I,)`` how often each image counts.
        """
        truths = float(self.truths @ weights)
        if truths == 0:
            return np.full((len(IOU_THRESHOLDS), len(RECALL_THRESHOLDS)), np.nan)
        weight = weights[self.image]
        true = np.cumsum(self.true_positive * weight, axis=1)
        found = true + np.cumsum(self.false_positive * weight, axis=1)
        # The tiny term is COCOeval's: it keeps 0/0 at 0 (and moves a precision in the sixteenth digit).
        precision = true / (found + np.spacing(1))
        precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        precision = np.concatenate([precision, np.zeros((len(precision), 1))], axis=1)
        recall = true / truths
        at = np.stack([np.searchsorted(line, RECALL_THRESHOLDS, side="left") for line in recall])
        best: FloatArray = np.take_along_axis(precision, at, axis=1)
        return best
