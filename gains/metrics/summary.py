"""From rows to the numbers that are reported, with any weighting of the images."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any

import numpy as np

from gains.metrics.aji import aji, aji_paper, aji_plus
from gains.metrics.average_precision import Ranking
from gains.metrics.matching.intersections import FloatArray
from gains.metrics.matching.rows import Row
from gains.metrics.panoptic import MatchCounts, count_matches, ratio
from gains.metrics.subregions import LieStatistics

Metrics = dict[str, float]
"""One flat mapping from the names in ``METRICS`` and ``COUNTS`` to numbers; NaN where undefined."""

AP_METRICS = ("segm_map", "segm_map_50", "segm_map_75", "bbox_map", "bbox_map_50", "bbox_map_75")
AJI_METRICS = ("aji_paper", "aji", "aji_plus")
MATCH_METRICS = ("pq", "sq", "rq", "f1_50", "precision_50", "recall_50", "f1_75", "dice")
METRICS = AP_METRICS + AJI_METRICS + MATCH_METRICS
CAPPED = (*AP_METRICS, "aji_paper")
"""Computed from the ``max_detections`` best of each image and category, whatever their score."""
THRESHOLDED = tuple(name for name in METRICS if name not in CAPPED)
"""Computed from all detections of at least ``score_threshold``."""
COUNTS = ("n_images", "n_ground_truth", "n_predictions")


@dataclass(frozen=True)
class CategoryStatistics:
    """What one category contributes in each image: sums that add over images, and values to average.

    Attributes:
        segm: ranked detections by mask.
        bbox: ranked detections by box.
        aji: name -> ``(I,)`` index of each image, NaN where it has neither ground truth nor detection.
        matches: IoU threshold -> ``(I, 5)`` columns as the fields of :class:`MatchCounts`.
        truths: ``(I,)`` ground truths, crowd regions left out.
        detections: ``(I,)`` all detections.
        lie: by how instances lie, where that was asked for.
    """

    segm: Ranking
    bbox: Ranking
    aji: dict[str, FloatArray]
    matches: dict[float, FloatArray]
    truths: FloatArray
    detections: FloatArray
    lie: LieStatistics | None = None

    @classmethod
    def of(cls, rows: Sequence[Row | None], max_detections: int, score_threshold: float) -> "CategoryStatistics":
        """Reduce the rows of one category, one per image and None where it does not occur."""
        paper = np.full(len(rows), np.nan)
        for index, row in enumerate(rows):
            if row is not None:
                paper[index] = aji_paper(row.best(min(max_detections, len(row.scores))))
        segm, bbox = Ranking.of(rows, "masks", max_detections), Ranking.of(rows, "boxes", max_detections)
        detections = np.array([0.0 if row is None else len(row.scores) for row in rows])
        return cls(segm, bbox, {"aji_paper": paper}, {}, segm.truths, detections).at(score_threshold, rows)

    def at(self, score_threshold: float, rows: Sequence[Row | None]) -> "CategoryStatistics":
        """The same with another score threshold, without ranking again."""
        standard, plus = np.full((2, len(rows)), np.nan)
        matches = {threshold: np.zeros((len(rows), 5)) for threshold in (0.5, 0.75)}
        for index, row in enumerate(rows):
            if row is None:
                continue
            sets = row.above(score_threshold)
            standard[index], plus[index] = aji(sets), aji_plus(sets)
            for threshold, counts in matches.items():
                counts[index] = astuple(count_matches(sets, threshold))
        lie = LieStatistics.of(rows, score_threshold)
        return replace(self, aji={**self.aji, "aji": standard, "aji_plus": plus}, matches=matches, lie=lie)


def summarise(statistics: Mapping[str, CategoryStatistics], weights: FloatArray) -> tuple[Metrics, dict[str, Metrics]]:
    """Metrics over all categories, and of each.

    Args:
        statistics: by category name.
        weights: ``(I,)`` how often each image counts.
    """
    per_category = {name: _category(category, weights) for name, category in statistics.items()}
    overall = {name: _mean([metrics[name] for metrics in per_category.values()]) for name in METRICS}
    occurring = [metrics["aji_paper"] for metrics in per_category.values() if metrics["n_ground_truth"] > 0]
    overall["aji_paper"] = _mean(occurring)
    # The standard AJI is averaged over images and categories alike: a category that is rarer weighs less.
    for name in ("aji", "aji_plus"):
        values = np.concatenate([category.aji[name] for category in statistics.values()] or [np.zeros(0)])
        overall[name] = _weighted_mean(values, np.tile(weights, len(statistics)))
    overall["n_images"] = int(weights.sum())
    for name in ("n_ground_truth", "n_predictions"):
        overall[name] = sum(metrics[name] for metrics in per_category.values())
    return overall, per_category


def per_image(image_ids: Sequence[int], statistics: Mapping[str, CategoryStatistics]) -> list[dict[str, Any]]:
    """AJI, PQ, F1, Dice and counts of each image and category; average precision needs a ranking over many images."""
    return [
        {
            "image_id": image_id,
            "category": name,
            **{index: float(values[place]) for index, values in category.aji.items()},
            **_match_metrics({threshold: counts[place] for threshold, counts in category.matches.items()}),
            "n_ground_truth": int(category.truths[place]),
            "n_predictions": int(category.detections[place]),
        }
        for place, image_id in enumerate(image_ids)
        for name, category in statistics.items()
    ]


def _category(category: CategoryStatistics, weights: FloatArray) -> Metrics:
    metrics: Metrics = {}
    for kind, ranking in (("segm", category.segm), ("bbox", category.bbox)):
        precision = ranking.average_precision(weights)
        metrics[f"{kind}_map"] = float(precision.mean())
        metrics[f"{kind}_map_50"], metrics[f"{kind}_map_75"] = float(precision[0]), float(precision[5])
    metrics |= {name: _weighted_mean(values, weights) for name, values in category.aji.items()}
    metrics |= _match_metrics({threshold: weights @ counts for threshold, counts in category.matches.items()})
    metrics["n_images"] = int(weights.sum())
    metrics["n_ground_truth"] = int(category.truths @ weights)
    metrics["n_predictions"] = int(category.detections @ weights)
    return metrics


def _match_metrics(counts: Mapping[float, FloatArray]) -> Metrics:
    at_50, at_75 = MatchCounts(*counts[0.5].tolist()), MatchCounts(*counts[0.75].tolist())
    hits = at_50.true_positive
    found, wanted = hits + at_50.false_positive, hits + at_50.false_negative
    occurs = found + wanted > 0
    f1_50 = ratio(2 * hits, found + wanted, occurs)
    return {
        "pq": ratio(2 * at_50.iou, found + wanted, occurs),
        "sq": ratio(at_50.iou, hits, occurs),
        "rq": f1_50,
        "f1_50": f1_50,
        "precision_50": ratio(hits, found, occurs),
        "recall_50": ratio(hits, wanted, occurs),
        "f1_75": ratio(2 * at_75.true_positive, found + wanted, occurs),
        "dice": ratio(at_50.dice, hits, occurs),
    }


def _mean(values: Sequence[float]) -> float:
    defined = [value for value in values if not math.isnan(value)]
    return float(np.mean(defined)) if defined else math.nan


def _weighted_mean(values: FloatArray, weights: FloatArray) -> float:
    defined = ~np.isnan(values)
    total = weights[defined].sum()
    return float(values[defined] @ weights[defined] / total) if total > 0 else math.nan
