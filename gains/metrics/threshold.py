"""Choosing the score from which a detection counts."""

import numpy as np

from gains.metrics.evaluator import InstanceSegmentationEvaluator
from gains.metrics.summary import summarise

CANDIDATES = [round(0.05 * step, 2) for step in range(20)]
"""Thresholds tried: 0 to 0.95 in steps of 0.05."""


def tune_threshold(evaluator: InstanceSegmentationEvaluator, metric: str) -> tuple[float, dict[float, float]]:
    """The threshold that maximises a metric on the evaluator's images, which should not be those reported on.

    Args:
        evaluator: filled with validation images.
        metric: ``aji`` or ``f1_50``, or another that depends on the threshold.

    Returns:
        The best candidate, in the middle of a run of equals, and the metric at each candidate.
    """
    rows = evaluator.rows_by_category()
    image_ids, statistics = evaluator.statistics()
    curve = {}
    for candidate in CANDIDATES:
        changed = {name: category.at(candidate, rows[name]) for name, category in statistics.items()}
        value = summarise(changed, np.ones(len(image_ids)))[0][metric]
        # Without ground truth, dropping every detection leaves nothing to measure: no better than the worst.
        curve[candidate] = value if value == value else 0.0
    best = [candidate for candidate, value in curve.items() if value == max(curve.values())]
    return best[len(best) // 2], curve
