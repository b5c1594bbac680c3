"""The table of metrics: what each is called, where it is shown, and how it follows from the statistics of a category.

Summary, printed table, reports, curves and comparisons read this table. A new metric is a line here (and its definition
in ``docs/metrics.md``); one that needs more of an image than :class:`CategoryStatistics` keeps adds it there.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from gains.metrics.panoptic import MatchCounts, ratio
from gains.metrics.statistics import Weighted

Group = Literal["AP", "AJI", "matches"]


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        name: in files and logs.
        title: in tables and reports.
        short: where space is scarce.
        group: metrics of one group stand together.
        value: from the weighted statistics of one category; NaN where undefined.
        capped: computed from the ``max_detections`` best of each image and category, whatever their score; all others
            from the detections of at least ``score_threshold``.
        per_image: also of single images; average precision needs a ranking over many.
        headline: among the few to see first, as a card, a curve and in comparisons.
    """

    name: str
    title: str
    short: str
    group: Group
    value: Callable[[Weighted], float]
    capped: bool = False
    per_image: bool = False
    headline: bool = False


def found(counts: MatchCounts) -> float:
    """Detections that count."""
    return counts.true_positive + counts.false_positive


def wanted(counts: MatchCounts) -> float:
    """Ground truths."""
    return counts.true_positive + counts.false_negative


def of_matches(
    numerator: Callable[[MatchCounts], float], denominator: Callable[[MatchCounts], float], iou: float = 0.5
) -> Callable[[Weighted], float]:
    """A ratio of counts at an IoU; NaN where there was nothing to find and nothing found."""

    def value(weighted: Weighted) -> float:
        counts = weighted.matches(iou)
        return ratio(numerator(counts), denominator(counts), found(counts) + wanted(counts) > 0)

    return value


def both(counts: MatchCounts) -> float:
    """Detections and ground truths together."""
    return found(counts) + wanted(counts)


def hits(counts: MatchCounts) -> float:
    """Matched pairs."""
    return counts.true_positive


def twice_hits(counts: MatchCounts) -> float:
    """Twice the matched pairs."""
    return 2 * counts.true_positive


METRICS = (
    Metric("segm_map", "mAP masks", "mAP", "AP", lambda w: float(w.segm.mean()), capped=True, headline=True),
    Metric("segm_map_50", "AP50 masks", "AP50", "AP", lambda w: float(w.segm[0]), capped=True, headline=True),
    Metric("segm_map_75", "AP75 masks", "AP75", "AP", lambda w: float(w.segm[5]), capped=True),
    Metric("bbox_map", "mAP boxes", "box mAP", "AP", lambda w: float(w.bbox.mean()), capped=True),
    Metric("bbox_map_50", "AP50 boxes", "box AP50", "AP", lambda w: float(w.bbox[0]), capped=True),
    Metric("bbox_map_75", "AP75 boxes", "box AP75", "AP", lambda w: float(w.bbox[5]), capped=True),
    Metric("aji_paper", "AJI paper protocol", "AJI paper", "AJI", lambda w: w.mean("aji_paper"), True, True),
    Metric("aji", "AJI standard", "AJI", "AJI", lambda w: w.mean("aji"), per_image=True, headline=True),
    Metric("aji_plus", "AJI+", "AJI+", "AJI", lambda w: w.mean("aji_plus"), per_image=True),
    Metric("pq", "PQ", "PQ", "matches", of_matches(lambda c: 2 * c.iou, both), per_image=True, headline=True),
    Metric("sq", "SQ", "SQ", "matches", of_matches(lambda c: c.iou, hits), per_image=True),
    Metric("rq", "RQ", "RQ", "matches", of_matches(twice_hits, both), per_image=True),
    Metric("f1_50", "F1 at IoU 0.5", "F1", "matches", of_matches(twice_hits, both), per_image=True, headline=True),
    Metric("precision_50", "precision at IoU 0.5", "precision", "matches", of_matches(hits, found), per_image=True),
    Metric("recall_50", "recall at IoU 0.5", "recall", "matches", of_matches(hits, wanted), per_image=True),
    Metric("f1_75", "F1 at IoU 0.75", "F1 at 0.75", "matches", of_matches(twice_hits, both, 0.75), per_image=True),
    Metric("dice", "Dice of matches", "Dice", "matches", of_matches(lambda c: c.dice, hits), per_image=True),
)
BY_NAME = {metric.name: metric for metric in METRICS}
HEADLINES = tuple(metric for metric in METRICS if metric.headline)
MAIN = METRICS[0].name
"""The metric that picks the best checkpoint and that commands return."""
COUNTS = {"n_images": "images", "n_ground_truth": "ground truths", "n_predictions": "predictions"}
