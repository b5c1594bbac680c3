"""From statistics to the numbers that are reported, with any weighting of the images."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gains.arrays import FloatArray
from gains.metrics.names import BY_NAME, METRICS
from gains.metrics.statistics import CategoryStatistics, Weighted, weighted_mean

Values = dict[str, float]
"""One flat mapping from the names of metrics and counts to numbers; NaN where undefined."""


def summarise(statistics: Mapping[str, CategoryStatistics], weights: FloatArray) -> tuple[Values, dict[str, Values]]:
    """Metrics over all categories, and of each.

    Args:
        statistics: by category name.
        weights: ``(I,)`` how often each image counts.
    """
    per_category = {name: _category(Weighted(category, weights)) for name, category in statistics.items()}
    overall = {name: _mean([metrics[name] for metrics in per_category.values()]) for name in BY_NAME}
    occurring = [metrics["aji_paper"] for metrics in per_category.values() if metrics["n_ground_truth"] > 0]
    overall["aji_paper"] = _mean(occurring)
    # The standard AJI is averaged over images and categories alike: a category that is rarer weighs less.
    for name in ("aji", "aji_plus"):
        values = np.concatenate([category.aji[name] for category in statistics.values()] or [np.zeros(0)])
        overall[name] = weighted_mean(values, np.tile(weights, len(statistics)))
    overall["n_images"] = int(weights.sum())
    for name in ("n_ground_truth", "n_predictions"):
        overall[name] = sum(metrics[name] for metrics in per_category.values())
    return overall, per_category


def per_image(image_ids: Sequence[int], statistics: Mapping[str, CategoryStatistics]) -> list[dict[str, Any]]:
    """The metrics that single images have, and counts, of each image and category."""
    once = np.eye(len(image_ids))
    return [
        {
            "image_id": image_id,
            "category": name,
            **{metric.name: metric.value(Weighted(category, once[place])) for metric in METRICS if metric.per_image},
            "n_ground_truth": int(category.truths[place]),
            "n_predictions": int(category.detections[place]),
        }
        for place, image_id in enumerate(image_ids)
        for name, category in statistics.items()
    ]


def _category(weighted: Weighted) -> Values:
    values = {metric.name: metric.value(weighted) for metric in METRICS}
    values["n_images"] = int(weighted.weights.sum())
    values["n_ground_truth"] = int(weighted.statistics.truths @ weighted.weights)
    values["n_predictions"] = int(weighted.statistics.detections @ weighted.weights)
    return values


def _mean(values: Sequence[float]) -> float:
    defined = [value for value in values if not math.isnan(value)]
    return float(np.mean(defined)) if defined else math.nan
