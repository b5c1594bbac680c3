"""Differences between methods with intervals, from runs that share their test images.

A method is a set of *units*: runs with several seeds, and, in cross-validation, several folds with images of their own.
What is compared are means over units. Two things vary, the images that happened to be tested and the seeds that
happened to be drawn, so the bootstrap draws both: images with replacement within every fold, the same ones for all
seeds and methods, and seeds with replacement. Differences are taken within a sample, so that each image and seed meets
itself (paired). Intervals are 95 % percentiles.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from gains.arrays import FloatArray
from gains.comparison.collect import Key, Run
from gains.errors import InputError
from gains.metrics.bootstrap import draw_weights, percentiles, resample

Unit = tuple[int, int]
"""Seed and fold."""

Resampled = dict[tuple[Key, tuple[Unit, ...]], dict[str, FloatArray]]
"""Metrics of every sample, of runs that were drawn together with certain units."""


@dataclass(frozen=True)
class Draws:
    """One set of bootstrap samples, shared by all methods on a data set.

    Attributes:
        images: fold -> ``(S, I)`` how often each image of that fold counts in each sample.
        seeds: seed -> ``(S,)`` how often it counts.
    """

    images: dict[int, FloatArray]
    seeds: dict[int, FloatArray]

    @classmethod
    def of(cls, units: Sequence[Unit], images: Mapping[int, int], samples: int, seed: int) -> "Draws":
        """Draw for the given units; ``images`` is the number of images of each fold."""
        generator = np.random.default_rng(seed)
        folds, seeds = sorted({fold for _, fold in units}), sorted({one for one, _ in units})
        weights = {
            fold: draw_weights(images[fold], samples, int(generator.integers(2**31))).astype(float) for fold in folds
        }
        times = generator.multinomial(len(seeds), np.full(len(seeds), 1 / len(seeds)), size=samples).astype(float)
        return cls(weights, dict(zip(seeds, times.T, strict=True)))


@dataclass(frozen=True)
class Difference:
    """How much better one method is than the baseline in one metric.

    Attributes:
        value: mean over units of the method, less that of the baseline.
        low: lower end of the 95 % interval.
        high: upper end.
        per_seed: the difference of each seed, in order.
        images: number of test images over all folds.
    """

    value: float
    low: float
    high: float
    per_seed: dict[int, float]
    images: int

    @property
    def shown(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low > 0 or self.high < 0

    def sentence(self, model: str, baseline: str, metric: str) -> str:
        """What a reader may conclude."""
        seeds = f"{len(self.per_seed)} seed{'s' if len(self.per_seed) != 1 else ''}, {self.images} images"
        interval = f"{self.value:+z.3f} [{self.low:+z.3f}, {self.high:+z.3f}] {metric}; {seeds}"
        if not self.shown:
            return f"no difference shown between {model} and {baseline} ({interval})"
        return f"{model} is {'ahead of' if self.value > 0 else 'behind'} {baseline} ({interval})"


def units_of(runs: Sequence[Run], dataset: str, model: str) -> dict[Unit, Run]:
    """The runs of one method on one data set by seed and fold."""
    return {(run.key.seed, run.key.fold): run for run in runs if run.key.dataset == dataset and run.key.model == model}


def compare(
    method: Mapping[Unit, Run],
    baseline: Mapping[Unit, Run],
    metrics: Sequence[str],
    samples: int,
    seed: int,
    known: Resampled | None = None,
) -> dict[str, Difference]:
    """Paired differences ``method - baseline`` over the units that both have.

    Args:
        method: runs by unit.
        baseline: likewise, on the same data set.
        metrics: names of :data:`gains.metrics.names.METRICS`.
        samples: bootstrap samples.
        seed: of the drawing.
        known: keeps what was drawn, for further comparisons with the same metrics, samples and seed: the baseline is
            then resampled once for all methods.

    Returns:
        Differences by metric; none without a common unit.

    Raises:
        InputError: if runs of one unit tested different images.
    """
    units = sorted(set(method) & set(baseline))
    if not units:
        return {}
    sizes = {
        fold: _same_images([runs[unit] for runs in (method, baseline) for unit in units if unit[1] == fold])
        for fold in {fold for _, fold in units}
    }
    draws = Draws.of(units, sizes, samples, seed)
    known = {} if known is None else known
    for run in (runs[unit] for runs in (method, baseline) for unit in units):
        place = (run.key, tuple(units))
        if place not in known:
            known[place] = _resampled(run, draws.images[run.key.fold], metrics)
    mine, its = ({unit: known[runs[unit].key, tuple(units)] for unit in units} for runs in (method, baseline))
    differences = {}
    for name in metrics:
        plain = {unit: method[unit].metrics[name] - baseline[unit].metrics[name] for unit in units}
        drawn = {unit: mine[unit][name] - its[unit][name] for unit in units}
        low, high = percentiles(_mean_over_units(drawn, draws))
        per_seed = {
            one: float(np.mean([value for unit, value in plain.items() if unit[0] == one])) for one in draws.seeds
        }
        differences[name] = Difference(float(np.mean(list(plain.values()))), low, high, per_seed, sum(sizes.values()))
    return differences


def mean_ranks(values: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Mean rank of each method over the data sets; the best is 1, equals share theirs.

    A method without a figure on one of them has no mean rank, and does not move the others down where it has one: all
    ranks are among the same methods.

    Args:
        values: data set -> method -> metric, higher is better.

    Returns:
        Method -> mean rank, of the methods of any data set; NaN for one that is missing somewhere.
    """
    methods = {method for of_dataset in values.values() for method in of_dataset}
    whole = [method for method in methods if all(np.isfinite(each.get(method, np.nan)) for each in values.values())]
    ranks = [dict(zip(whole, rankdata([-each[method] for method in whole]), strict=True)) for each in values.values()]
    return {method: float(np.mean([of[method] for of in ranks])) if method in whole else np.nan for method in methods}


def _same_images(runs: Sequence[Run]) -> int:
    """Number of test images of runs that must have tested the same ones."""
    first = runs[0]
    for run in runs[1:]:
        if run.stored.images != first.stored.images:
            raise InputError(
                f"{first.folder} and {run.folder} tested different images: only runs on one split can be compared"
            )
    return len(first.stored.images)


def _resampled(run: Run, weights: FloatArray, metrics: Sequence[str]) -> dict[str, FloatArray]:
    drawn = resample(run.stored.statistics, weights.astype(np.int64)).metrics
    return {name: drawn[name] for name in metrics}


def _mean_over_units(values: Mapping[Unit, FloatArray], draws: Draws) -> FloatArray:
    """Mean over units in each sample, seeds counting as often as they were drawn."""
    weighted = np.array([draws.seeds[unit[0]] * value for unit, value in values.items()])
    total = np.array([draws.seeds[unit[0]] for unit in values])
    count = np.where(np.isnan(weighted), 0, total).sum(axis=0)
    mean: FloatArray = np.divide(
        np.nansum(weighted, axis=0), count, out=np.full(weighted.shape[1], np.nan), where=count > 0
    )
    return mean


def spread(runs: Mapping[Unit, Run], metric: str) -> tuple[float, float]:
    """Mean of a metric over seeds (folds averaged first), and its standard deviation; NaN with one seed."""
    seeds = sorted({seed for seed, _ in runs})
    means = [np.mean([run.metrics[metric] for unit, run in runs.items() if unit[0] == seed]) for seed in seeds]
    return float(np.mean(means)), float(np.std(means, ddof=1)) if len(means) > 1 else float("nan")
