"""Confidence intervals by resampling images.

Images, not instances, are drawn: the cells of one picture share its staining, focus and difficulty. Nothing is
compared or matched again; a drawn sample is a vector of how often each image counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gains.arrays import FloatArray
from gains.metrics.names import BY_NAME
from gains.metrics.statistics import CategoryStatistics
from gains.metrics.summary import summarise

LEVEL = 0.95
Interval = list[float]
"""Lower and upper end; NaN where there are fewer than two images."""


@dataclass(frozen=True)
class Resampled:
    """Metrics of every bootstrap sample: name -> ``(S,)``.

    Attributes:
        metrics: over all categories.
        per_category: the same by category.
    """

    metrics: dict[str, FloatArray]
    per_category: dict[str, dict[str, FloatArray]]


def draw_weights(images: int, samples: int, seed: int) -> npt.NDArray[np.int64]:
    """How often each image occurs in each sample, ``(S, I)``: I draws with replacement."""
    generator = np.random.default_rng(seed)
    return generator.multinomial(images, np.full(images, 1 / images), size=samples)


def resample(statistics: Mapping[str, CategoryStatistics], weights: npt.NDArray[np.int64]) -> Resampled:
    """Metrics of each sample, from ``weights (S, I)`` in the order of the statistics' images."""
    drawn = [summarise(statistics, line.astype(np.float64)) for line in weights]
    metrics = {name: np.array([overall[name] for overall, _ in drawn]) for name in BY_NAME}
    per_category = {
        category: {name: np.array([single[category][name] for _, single in drawn]) for name in BY_NAME}
        for category in statistics
    }
    return Resampled(metrics, per_category)


def intervals(resampled: Resampled) -> dict[str, Any]:
    """95% percentile intervals: ``metrics`` and ``per_category`` as in the results."""
    per_category = {category: _intervals(values) for category, values in resampled.per_category.items()}
    return {"metrics": _intervals(resampled.metrics), "per_category": per_category}


def paired_differences(one: Resampled, other: Resampled) -> Resampled:
    """``one - other`` in each sample; both must come from the same weights, so that each image meets itself."""
    return Resampled(
        {name: values - other.metrics[name] for name, values in one.metrics.items()},
        {
            category: {name: values - other.per_category[category][name] for name, values in metrics.items()}
            for category, metrics in one.per_category.items()
        },
    )


def differences(one: dict[str, Any], other: dict[str, Any], mine: Resampled, its: Resampled) -> dict[str, Any]:
    """Differences ``one - other`` of each metric, with 95% intervals from the same resampled images for both.

    Returns:
        ``differences``: metric -> ``difference``, ``low``, ``high``; ``per_category_differences``: name -> the same.
    """
    ends = intervals(paired_differences(mine, its))

    def table(these: dict[str, float], those: dict[str, float], limits: dict[str, Any]) -> dict[str, Any]:
        return {
            name: {"difference": these[name] - those[name], "low": limits[name][0], "high": limits[name][1]}
            for name in BY_NAME
        }

    per_category = {
        name: table(metrics, other["per_category"][name], ends["per_category"][name])
        for name, metrics in one["per_category"].items()
    }
    return {
        "differences": table(one["metrics"], other["metrics"], ends["metrics"]),
        "per_category_differences": per_category,
    }


def _intervals(values: Mapping[str, FloatArray]) -> dict[str, Interval]:
    return {name: percentiles(samples) for name, samples in values.items()}


def percentiles(samples: FloatArray) -> Interval:
    """Ends of the 95% percentile interval; samples that are undefined (NaN) are left out."""
    defined = samples[~np.isnan(samples)]
    if len(defined) == 0:
        return [float("nan"), float("nan")]
    tail = 50 * (1 - LEVEL)
    low, high = np.percentile(defined, [tail, 100 - tail])
    return [float(low), float(high)]
