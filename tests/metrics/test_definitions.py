"""AJI and matching against closed forms, and against definitions worked through on dense masks."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from gains.metrics.matching.assignment import optimal
from helpers.metric_scenes import Masks, areas, best_total_iou, evaluator_of, metrics_of, rectangles, scenes


def scene_of(truth: Masks, found: Masks, **more: Any) -> list[dict[str, Any]]:
    ones, scores = [1] * len(found), [0.9 - 0.01 * index for index in range(len(found))]
    image = {"image_id": 1, "truth": truth, "truth_labels": [1] * len(truth)}
    return [image | {"found": found, "labels": ones, "scores": scores} | more]


def test_worked_example_of_the_documentation() -> None:
    # Two cells of 100 pixels: the first found but for 20 pixels, the second by 40; a false positive of 25.
    truth = rectangles([(0, 0, 10, 10), (10, 0, 20, 10)])
    found = rectangles([(0, 0, 8, 10), (10, 0, 14, 10), (0, 15, 5, 20)])
    metrics = metrics_of(scene_of(truth, found))
    assert metrics["aji"] == metrics["aji_plus"] == pytest.approx((80 + 40) / (100 + 100 + 25))
    assert metrics["aji_paper"] == pytest.approx(80 / (100 + 100 + 40 + 25))
    assert metrics["pq"] == pytest.approx(0.8 / (1 + 0.5 * 2 + 0.5 * 1))
    assert metrics["sq"] == pytest.approx(0.8)
    assert metrics["rq"] == metrics["f1_50"] == pytest.approx(2 / 5)
    assert metrics["precision_50"] == pytest.approx(1 / 3)
    assert metrics["recall_50"] == pytest.approx(1 / 2)
    assert metrics["f1_75"] == pytest.approx(2 / 5)
    assert metrics["dice"] == pytest.approx(2 * 80 / 180)


def test_an_iou_of_exactly_one_half_matches_in_the_paper_protocol_but_not_in_f1() -> None:
    scene = scene_of(rectangles([(0, 0, 10, 10)]), rectangles([(0, 0, 10, 5)]))
    metrics = metrics_of(scene)
    assert metrics["aji_paper"] == pytest.approx(0.5)
    assert metrics["f1_50"] == metrics["pq"] == 0.0


def test_ties_go_to_the_higher_score_in_aji_and_to_the_lower_in_the_paper_protocol() -> None:
    # Both detections have IoU 60/80 with the first cell; the second cell can use the lower-scored one alone.
    truth = rectangles([(4, 0, 12, 10), (7, 0, 13, 10)])
    found = rectangles([(4, 0, 10, 10), (6, 0, 12, 10)])
    metrics = metrics_of(scene_of(truth, found))
    assert metrics["aji"] == pytest.approx((60 + 50) / (80 + 70))
    assert metrics["aji_paper"] == pytest.approx(60 / (80 + 60 + 60))


def test_overlap_is_kept() -> None:
    # Two equal masks on top of each other: a flattened label image could hold only one of them.
    both = rectangles([(3, 3, 12, 12), (3, 3, 12, 12), (8, 3, 17, 12)])
    metrics = metrics_of(scene_of(both, both))
    assert [metrics[name] for name in ("segm_map", "aji", "aji_plus", "aji_paper", "pq", "f1_75")] == [1.0] * 6
    assert metrics_of(scene_of(both, both[:1]))["recall_50"] == pytest.approx(1 / 3)


def test_matches_are_as_many_as_possible_and_aji_plus_pairs_of_the_highest_total_iou() -> None:
    # Nested bars of 10, 18, 19, 34, 36 and 66 pixels, ground truths and detections in turn. Pairing neighbours from the
    # shortest up gives three matches of IoU 0.55; leaving out both ends gives two of 0.94, a higher total, and lets the
    # ends make a third pair of 10/66.
    truth = rectangles([(0, 0, length, 1) for length in (10, 19, 36)], side=70)
    found = rectangles([(0, 0, length, 1) for length in (18, 34, 66)], side=70)
    metrics = metrics_of(scene_of(truth, found))
    assert metrics["recall_50"] == metrics["precision_50"] == 1.0
    assert metrics["sq"] == pytest.approx((10 / 18 + 19 / 34 + 36 / 66) / 3)
    assert metrics["f1_75"] == pytest.approx(2 / 3)
    assert metrics["aji_plus"] == pytest.approx((18 + 34 + 10) / (19 + 36 + 66))


def slow_aji(truth: Masks, found: Masks, scores: list[float], lowest: float, tie_to_lower: bool) -> float:
    """AJI straight from its definition; pairs of IoU above 0 and at least ``lowest`` match."""
    found = found[np.argsort(-np.array(scores), kind="stable")] if len(found) else found
    shared, union = areas(truth, found)
    used: set[int] = set()
    total_shared = total_union = 0.0
    for i in range(len(truth)):
        best, best_iou = None, 0.0
        for j in range(len(found)):
            iou = shared[i, j] / max(union[i, j], 1)
            if j in used or iou < lowest or iou == 0:
                continue
            if iou > best_iou or (tie_to_lower and iou == best_iou):
                best, best_iou = j, iou
        if best is None:
            total_union += truth[i].sum()
        else:
            used.add(best)
            total_shared += shared[i, best]
            total_union += union[i, best]
    total_union += sum(float(found[j].sum()) for j in range(len(found)) if j not in used)
    return total_shared / total_union


@settings(max_examples=50, deadline=None)
@given(scenes(images=1, most=6))
def test_aji_of_random_scenes(scene: list[dict[str, Any]]) -> None:
    (image,) = scene
    metrics = metrics_of(scene)
    if len(image["truth"]) + len(image["found"]) == 0:
        assert np.isnan(metrics["aji"])
        return
    truth, found, scores = image["truth"], image["found"], image["scores"]
    assert metrics["aji"] == pytest.approx(slow_aji(truth, found, scores, 0.0, False), abs=1e-12)
    if len(truth):
        assert metrics["aji_paper"] == pytest.approx(slow_aji(truth, found, scores, 0.5, True), abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(scenes(images=1, most=4))
def test_aji_plus_pairs_have_the_highest_total_iou(scene: list[dict[str, Any]]) -> None:
    (image,) = scene
    for rows in evaluator_of(scene).rows_by_category().values():
        for row in rows:
            if row is None:
                continue
            sets = row.best(99)
            chosen = optimal(sets.pairs, most_pairs_first=False)
            assert len(set(sets.pairs.truth[chosen])) == len(set(sets.pairs.detection[chosen])) == len(chosen)
            wanted = best_total_iou(image["truth"], image["found"])
            assert sets.pairs.iou[chosen].sum() == pytest.approx(wanted, abs=1e-12)
            shared, _ = areas(image["truth"], image["found"][np.argsort(-np.array(image["scores"]), kind="stable")])
            assert np.array_equal(sets.intersection, shared[sets.pairs.truth, sets.pairs.detection])
