"""Intervals: weights stand for repeated images, pairs cancel what images share."""

from typing import Any

import numpy as np
import pytest

from gains.metrics.bootstrap import draw_weights, intervals, paired_differences, resample
from gains.metrics.names import BY_NAME
from gains.metrics.summary import summarise
from gains.metrics.threshold import tune_threshold
from helpers.metric_scenes import evaluator_of, rectangles


def scene_of(seed: int, images: int, shift: int = 1) -> list[dict[str, Any]]:
    scene = []
    for image_id in range(1, images + 1):
        random = np.random.default_rng([seed, image_id])
        boxes = [(x, y, x + 6, y + 6) for x, y in random.integers(0, 12, (4, 2)).tolist()]
        moved = [(x + shift, y, x1 + shift, y1) for x, y, x1, y1 in boxes[: random.integers(1, 5)]]
        both = {"truth": rectangles(boxes), "found": rectangles(moved), "truth_labels": random.integers(1, 3, 4)}
        labels = {"labels": random.integers(1, 3, len(moved)), "scores": random.random(len(moved)).tolist()}
        scene.append({"image_id": image_id} | both | labels)
    return scene


def test_weights_are_repeated_images() -> None:
    scene, weights = scene_of(1, 4), [2, 0, 3, 1]
    repeated = [image for image, weight in zip(scene, weights, strict=True) for image in [image] * weight]
    repeated = [image | {"image_id": number} for number, image in enumerate(repeated)]
    overall, per_category = summarise(evaluator_of(scene, 2).statistics()[1], np.array(weights, float))
    expected = evaluator_of(repeated, 2).compute()
    for got, wanted in [
        (overall, expected["metrics"]),
        *((per_category[n], expected["per_category"][n]) for n in per_category),
    ]:
        names = (*BY_NAME, "n_images", "n_ground_truth", "n_predictions")
        assert [got[name] for name in names] == pytest.approx([wanted[name] for name in names], abs=1e-12, nan_ok=True)


def test_weights_are_draws_with_replacement() -> None:
    weights = draw_weights(50, 2000, seed=0)
    assert weights.shape == (2000, 50)
    assert (weights.sum(axis=1) == 50).all()
    assert weights.mean() == 1.0
    assert weights.var() == pytest.approx(1 - 1 / 50, rel=0.05)
    assert np.array_equal(weights, draw_weights(50, 2000, seed=0))


def test_interval_of_a_mean_over_images_is_the_normal_one() -> None:
    # AJI of one category is a mean over images, whose bootstrap distribution is known.
    evaluator = evaluator_of(
        [image | {"labels": [1] * len(image["found"]), "truth_labels": [1] * 4} for image in scene_of(2, 60)]
    )
    values = np.array([row["aji"] for row in evaluator.per_image()])
    low, high = intervals(resample(evaluator.statistics()[1], draw_weights(60, 1000, 0)))["metrics"]["aji"]
    half = 1.96 * values.std() / np.sqrt(60)
    assert [low, high] == pytest.approx([values.mean() - half, values.mean() + half], abs=0.3 * half)


def test_paired_differences() -> None:
    weights = draw_weights(12, 200, 0)
    one = resample(evaluator_of(scene_of(3, 12), 2).statistics()[1], weights)
    worse = resample(evaluator_of(scene_of(3, 12, shift=2), 2).statistics()[1], weights)
    nothing = intervals(paired_differences(one, one))
    assert all(ends == [0.0, 0.0] for ends in nothing["metrics"].values())
    low, high = intervals(paired_differences(one, worse))["metrics"]["aji"]
    assert 0 < low < high
    # Both share each image's difficulty, so the difference is known better than either.
    own = intervals(one)["metrics"]["aji"]
    assert high - low < own[1] - own[0]


def test_the_threshold_that_drops_the_false_positives_is_found() -> None:
    scene = scene_of(4, 6, shift=0)
    for image in scene:
        image["truth"], image["truth_labels"] = image["found"], image["labels"]
        image["scores"] = [0.7] * len(image["found"])
        image["found"] = np.concatenate([image["found"], rectangles([(18, 18, 20, 20)])])
        image["labels"] = [*image["labels"], 1]
        image["scores"] = [*image["scores"], 0.4]
    for metric in ("aji", "f1_50"):
        best, curve = tune_threshold(evaluator_of(scene, 2), metric)
        assert 0.4 < best <= 0.7
        assert curve[best] == 1.0
        assert curve[0.4] < 1.0
        assert curve[0.75] == 0.0
        for threshold in (0.0, 0.55):
            assert evaluator_of(scene, 2, score_threshold=threshold).compute()["metrics"][metric] == curve[threshold]
