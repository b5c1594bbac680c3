"""The table of metrics is what the evaluator computes and the pictures show."""

import itertools

import numpy as np

from gains.comparison.tables import COLUMNS
from gains.metrics.evaluator import InstanceSegmentationEvaluator
from gains.metrics.names import BY_NAME, HEADLINES, MAIN, METRICS


def test_names_are_unique_and_groups_stand_together() -> None:
    assert len(BY_NAME) == len(METRICS) == len({metric.title for metric in METRICS})
    groups = [metric.group for metric in METRICS]
    assert len(dict.fromkeys(groups)) == 1 + sum(one != other for one, other in itertools.pairwise(groups))
    assert BY_NAME[MAIN].headline
    assert set(COLUMNS) <= set(BY_NAME)
    assert {metric.name for metric in HEADLINES} <= set(COLUMNS)


def test_thresholds_and_single_images_follow_the_table() -> None:
    evaluator = InstanceSegmentationEvaluator({1: "cell"}, score_threshold=0.25)
    mask = {"size": [4, 4], "counts": "04<"}
    sides = {"labels": np.ones(1), "masks": [mask]}
    evaluator.update([{**sides, "scores": np.array([0.3])}], [{**sides, "image_id": 1}])
    results = evaluator.compute()
    assert results["score_thresholds"] == {metric.name: None if metric.capped else 0.25 for metric in METRICS}
    [row] = evaluator.per_image()
    assert [name for name in BY_NAME if name in row] == [metric.name for metric in METRICS if metric.per_image]
    assert all(row[metric.name] == results["metrics"][metric.name] for metric in METRICS if metric.per_image)
