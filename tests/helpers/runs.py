"""Finished runs that were never run."""

from pathlib import Path

import numpy as np

from gains.arrays import FloatArray
from gains.comparison.collect import Key, Run
from gains.metrics.average_precision import Ranking
from gains.metrics.statistics import CategoryStatistics
from gains.metrics.stored import StoredStatistics
from gains.metrics.summary import summarise


def category(aji: FloatArray) -> CategoryStatistics:
    """Statistics in which only AJI is of interest: its mean over images is a plain mean."""
    images = len(aji)
    empty = Ranking(np.zeros(0, np.int64), np.zeros((10, 0), bool), np.zeros((10, 0), bool), np.ones(images))
    matches: FloatArray = np.stack(
        [np.arange(images) % 3, np.ones(images), np.ones(images), np.zeros(images), np.zeros(images)], 1
    )
    values = {"aji_paper": aji, "aji": aji, "aji_plus": aji}
    return CategoryStatistics(empty, empty, values, {0.5: matches, 0.75: matches}, np.ones(images), np.ones(images))


def make_run(model: str, aji: FloatArray, seed: int = 1, fold: int = -1, dataset: str = "cells") -> Run:
    """A finished run whose per-image AJI is given."""
    statistics = {"cell": category(np.asarray(aji, dtype=float))}
    stored = StoredStatistics([f"{fold}_{index}" for index in range(len(aji))], statistics, 0.5, 100)
    overall, per_category = summarise(statistics, np.ones(len(aji)))
    results = {"metrics": overall, "per_category": per_category}
    return Run(Key(dataset, model, seed, fold), Path(f"{model}_{seed}_{fold}"), results, stored, [(10, 0.1), (20, 0.3)])
