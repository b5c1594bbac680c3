"""Counts behind PQ, F1, precision, recall and Dice, of one image and category."""

from dataclasses import dataclass

import numpy as np

from gains.metrics.matching.assignment import optimal
from gains.metrics.matching.rows import InstanceSets


@dataclass(frozen=True)
class MatchCounts:
    """Result of pairing ground truths and detections one to one.

    Attributes:
        true_positive: matched pairs.
        false_positive: detections left over.
        false_negative: ground truths left over.
        iou: sum of the pairs' intersection over union.
        dice: sum of the pairs' Dice coefficients, ``2 IoU / (1 + IoU)``.
    """

    true_positive: float
    false_positive: float
    false_negative: float
    iou: float
    dice: float


def count_matches(sets: InstanceSets, iou_threshold: float) -> MatchCounts:
    """Pair instances whose IoU is *above* the threshold: as many as possible, then with the highest total IoU.

    Without overlaps inside a set at most one pairing exists above 0.5 (Kirillov et al., "Panoptic segmentation", CVPR
    2019, section 4.1). Overlapping instances can leave a choice, which this rule settles independently of their order.
    """
    pairs = sets.pairs.where(sets.pairs.iou > iou_threshold)
    chosen = pairs.where(optimal(pairs, most_pairs_first=True))
    counted = ~sets.excused
    counted[chosen.detection] = False
    return MatchCounts(
        true_positive=float(len(chosen.iou)),
        false_positive=float(np.count_nonzero(counted)),
        false_negative=float(len(sets.truth_areas) - len(chosen.iou)),
        iou=float(chosen.iou.sum()),
        dice=float((2 * chosen.iou / (1 + chosen.iou)).sum()),
    )


def ratio(numerator: float, denominator: float, occurs: bool) -> float:
    """A ratio that is 0 where its denominator is, and NaN where there was nothing to find and nothing found."""
    if not occurs:
        return float("nan")
    return numerator / denominator if denominator > 0 else 0.0
