"""Scores by arrangement and by sub-region, against counting on full masks and closed forms."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gains.masks import InstanceCrops
from gains.metrics.arrangement import GROUPS, arrange
from gains.metrics.evaluator import InstanceSegmentationEvaluator

SIDE = 48
Masks = npt.NDArray[np.bool_]


def rectangle(x0: int, y0: int, x1: int, y1: int) -> Masks:
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    mask[y0:y1, x0:x1] = True
    return mask


def evaluated(truths: Masks, found: Masks, scores: list[float], crowd: list[int] | None = None) -> dict[str, Any]:
    evaluator = InstanceSegmentationEvaluator({1: "cell"}, arrangement=True)
    sides = [InstanceCrops.from_dense(torch.from_numpy(side)).to_rle() for side in (truths, found)]
    evaluator.update(
        [{"scores": np.array(scores), "labels": np.ones(len(found)), "masks": sides[1]}],
        [{"image_id": 1, "labels": np.ones(len(truths)), "masks": sides[0], "iscrowd": crowd or [0] * len(truths)}],
    )
    result: dict[str, Any] = evaluator.compute()["arrangement"]["all"]
    return result


def test_two_overlapping_squares_of_which_one_is_found_without_the_shared_part() -> None:
    truths = np.stack([rectangle(0, 0, 20, 20), rectangle(15, 0, 35, 20)])
    found = np.stack([rectangle(0, 0, 15, 20)])
    result = evaluated(truths, found, [0.9])
    assert result["groups"]["overlapping"] == {"recall": 0.5, "mean_iou": 0.75, "n_ground_truth": 2}
    assert result["groups"]["alone"] == {"recall": None, "mean_iou": None, "n_ground_truth": 0}
    # One square is found but for its covered part, the other not at all.
    assert result["covered"] == {"covered_recall": 0.0, "rest_recall": 0.5, "precision": 1.0, "n_ground_truth": 2}
    assert result["by_covered_share"]["light"] == result["covered"]
    assert result["by_covered_share"]["heavy"]["n_ground_truth"] == 0


def test_detections_below_the_threshold_do_not_count() -> None:
    truths = np.stack([rectangle(0, 0, 20, 20)])
    assert evaluated(truths, truths, [0.4])["groups"]["alone"]["recall"] == 0
    assert evaluated(truths, truths, [0.5])["groups"]["alone"]["recall"] == 1


def test_crowd_regions_neither_cover_nor_count() -> None:
    truths = np.stack([rectangle(0, 0, 20, 20), rectangle(10, 0, 40, 40)])
    result = evaluated(truths, truths[:1], [0.9], crowd=[0, 1])
    assert result["groups"]["alone"] == {"recall": 1.0, "mean_iou": 1.0, "n_ground_truth": 1}


def test_categories_do_not_cover_each_other() -> None:
    evaluator = InstanceSegmentationEvaluator({1: "cell", 2: "nucleus"}, arrangement=True)
    masks = InstanceCrops.from_dense(
        torch.from_numpy(np.stack([rectangle(0, 0, 20, 20), rectangle(5, 5, 9, 9)]))
    ).to_rle()
    labels = np.array([1, 2])
    evaluator.update(
        [{"scores": np.ones(2), "labels": labels, "masks": masks}], [{"image_id": 1, "labels": labels, "masks": masks}]
    )
    result = evaluator.compute()["arrangement"]
    assert {name: result[name]["groups"]["alone"]["n_ground_truth"] for name in result} == {
        "all": 2,
        "cell": 1,
        "nucleus": 1,
    }


def test_validation_goes_without() -> None:
    assert "arrangement" not in InstanceSegmentationEvaluator({1: "cell"}).compute()


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**31), count=st.integers(1, 6))
def test_against_counting_on_full_masks(seed: int, count: int) -> None:
    generator = np.random.default_rng(seed)
    corners = generator.integers(0, 30, (count, 2))
    sides = generator.integers(4, 16, (count, 2))
    truths = np.stack([rectangle(x, y, x + w, y + h) for (x, y), (w, h) in zip(corners, sides, strict=True)])
    if len({mask.tobytes() for mask in truths}) < count:
        return  # the partner of one of two equal masks is arbitrary
    found = np.roll(truths, 1, axis=1)[generator.random(count) < 0.8]
    result = evaluated(truths, found, [0.9] * len(found))
    partners = best_partners(truths, found)
    covered_recalls, rest_recalls, precisions = [], [], []
    found_by_group: dict[str, list[float]] = {name: [] for name in GROUPS}
    groups = arrange(InstanceCrops.from_dense(torch.from_numpy(truths))).group
    for index, truth in enumerate(truths):
        covered = truth & np.delete(truths, index, 0).any(0)
        match = found[partners[index]] if partners[index] >= 0 else np.zeros_like(truth)
        found_by_group[GROUPS[groups[index]]].append(float(partners[index] >= 0))
        if not covered.any():
            continue
        covered_recalls.append((match & covered).sum() / covered.sum())
        if (truth & ~covered).any():
            rest_recalls.append((match & truth & ~covered).sum() / (truth & ~covered).sum())
        if match.any():
            precisions.append((match & truth).sum() / match.sum())
    lists = {"covered_recall": covered_recalls, "rest_recall": rest_recalls, "precision": precisions}
    for name, values in lists.items():
        assert result["covered"][name] == (pytest.approx(np.mean(values)) if values else None)
    for name, values in found_by_group.items():
        assert result["groups"][name]["recall"] == (pytest.approx(np.mean(values)) if values else None)


def best_partners(truths: Masks, found: Masks) -> list[int]:
    """The assignment with most pairs above IoU 0.5, then the highest total IoU, found by trying all; -1 for none."""
    iou = np.array([[(t & f).sum() / (t | f).sum() for f in found] for t in truths]).reshape(len(truths), len(found))
    best: tuple[tuple[int, float], list[int]] = ((0, 0.0), [-1] * len(truths))

    def search(index: int, taken: set[int], chosen: list[int], total: float) -> None:
        nonlocal best
        if index == len(truths):
            key = (sum(partner >= 0 for partner in chosen), total)
            if key > best[0]:
                best = (key, chosen)
            return
        search(index + 1, taken, [*chosen, -1], total)
        for partner in range(len(found)):
            if partner not in taken and iou[index, partner] > 0.5:
                search(index + 1, taken | {partner}, [*chosen, partner], total + float(iou[index, partner]))

    search(0, set(), [], 0.0)
    return best[1]
