"""What must hold for any scene."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gains.metrics.names import BY_NAME
from helpers.metric_scenes import SIDE, metrics_of, perfect, rectangles, scenes

SETTINGS = settings(max_examples=25, deadline=None)


def same(one: dict[str, float], other: dict[str, float], names: Iterable[str] = tuple(BY_NAME)) -> None:
    assert [one[name] for name in names] == pytest.approx([other[name] for name in names], abs=1e-12, nan_ok=True)


@SETTINGS
@given(scenes(categories=2))
def test_perfect_predictions_score_1(scene: list[dict[str, Any]]) -> None:
    assume(any(len(image["truth"]) for image in scene))
    assert [metrics_of(perfect(scene), 2)[name] for name in BY_NAME] == pytest.approx([1.0] * len(BY_NAME))


@SETTINGS
@given(scenes(categories=2))
def test_every_metric_is_a_fraction_or_undefined(scene: list[dict[str, Any]]) -> None:
    metrics = metrics_of(scene, 2)
    assert all(math.isnan(metrics[name]) or 0 <= metrics[name] <= 1 + 1e-12 for name in BY_NAME)
    if any(len(image["truth"]) for image in scene):
        assert not any(math.isnan(metrics[name]) for name in BY_NAME)


@SETTINGS
@given(scenes(), st.randoms(use_true_random=False))
def test_order_of_images_and_detections_changes_nothing(scene: list[dict[str, Any]], random: Any) -> None:
    # Equal scores would leave the order of detections to decide.
    for number, image in enumerate(scene):
        image["scores"] = [0.9 - 0.05 * index - 0.01 * number for index in range(len(image["found"]))]
    shuffled = []
    for image in random.sample(scene, len(scene)):
        order = random.sample(range(len(image["found"])), len(image["found"]))
        shuffled.append(image | {"found": image["found"][order], "scores": [image["scores"][index] for index in order]})
    same(metrics_of(scene), metrics_of(shuffled))


@SETTINGS
@given(scenes(), st.randoms(use_true_random=False))
def test_order_of_ground_truths_changes_nothing_but_the_greedy_ajis(scene: list[dict[str, Any]], random: Any) -> None:
    # aji and aji_paper go through the ground truths in annotation order by definition. Between pairings of the same
    # total IoU, order may decide what mAP, AJI+ and Dice see.
    names = ("pq", "sq", "rq", "f1_50", "precision_50", "recall_50", "f1_75")
    shuffled = [
        image | {"truth": image["truth"][random.sample(range(n), n)]} for image in scene for n in [len(image["truth"])]
    ]
    same(metrics_of(scene), metrics_of(shuffled), names)


@SETTINGS
@given(scenes(), st.floats(0.05, 1.0))
def test_a_false_positive_never_raises_a_score(scene: list[dict[str, Any]], score: float) -> None:
    corner = rectangles([(SIDE - 2, SIDE - 2, SIDE, SIDE)])
    assume(not any((image["truth"] & corner).any() for image in scene))
    worse = [
        image
        | {
            "found": np.concatenate([image["found"], corner]),
            "labels": [*image["labels"], 1],
            "scores": [*image["scores"], score],
        }
        for image in scene
    ]
    before, after = metrics_of(scene), metrics_of(worse)
    for name in BY_NAME:
        assert math.isnan(before[name]) or after[name] <= before[name] + 1e-12, name


@SETTINGS
@given(scenes(categories=2))
def test_raising_the_threshold_is_dropping_the_detections(scene: list[dict[str, Any]]) -> None:
    kept = []
    for image in scene:
        index = [place for place, score in enumerate(image["scores"]) if score >= 0.5]
        kept.append(
            image
            | {
                "found": image["found"][index],
                "labels": [image["labels"][place] for place in index],
                "scores": [image["scores"][place] for place in index],
            }
        )
    names = ("aji", "aji_plus", "pq", "sq", "rq", "f1_50", "precision_50", "recall_50", "f1_75", "dice")
    same(metrics_of(scene, 2, score_threshold=0.5), metrics_of(kept, 2), names)


@SETTINGS
@given(scenes())
def test_f1_is_rq_and_the_harmonic_mean(scene: list[dict[str, Any]]) -> None:
    metrics = metrics_of(scene)
    assert metrics["rq"] == pytest.approx(metrics["f1_50"], nan_ok=True)
    assert metrics["pq"] == pytest.approx(metrics["sq"] * metrics["rq"], nan_ok=True)
    total = metrics["precision_50"] + metrics["recall_50"]
    harmonic = 2 * metrics["precision_50"] * metrics["recall_50"] / total if total else total
    assert metrics["f1_50"] == pytest.approx(harmonic, nan_ok=True)
