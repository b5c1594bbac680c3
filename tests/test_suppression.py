from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gains.masks import InstanceCrops
from gains.suppression import mask_nms

Dense = npt.NDArray[np.bool_]


def bar(start: tuple[int, int], end: tuple[int, int], width: int = 9) -> Dense:
    return cv2.line(np.zeros((120, 120), np.uint8), start, end, 1, width).astype(bool)


def disk(x: int, y: int, radius: int) -> Any:
    rows, columns = np.mgrid[:120, :120]
    return (columns - x) ** 2 + (rows - y) ** 2 <= radius**2


def crops(masks: list[Dense]) -> InstanceCrops:
    return InstanceCrops.from_dense(torch.from_numpy(np.stack(masks)))


def kept(masks: list[Dense], scores: list[float], labels: list[int] | None = None, **rules: Any) -> Any:
    given_labels = np.array(labels if labels is not None else [1] * len(masks))
    return mask_nms(crops(masks), np.array(scores), given_labels, **{"iou": 0.5} | rules).tolist()


RISING, FALLING = bar((10, 100), (100, 10)), bar((10, 10), (100, 100))


def test_crossing_bars_in_one_box_both_stay_and_a_copy_of_either_goes() -> None:
    copies = [np.roll(RISING, 2, 1), np.roll(FALLING, 2, 0)]
    assert kept([RISING, FALLING, *copies], [0.8, 0.9, 0.7, 0.95]) == [3, 0]


def test_what_was_dropped_drops_nobody() -> None:
    chain = [disk(40, 60, 20), disk(46, 60, 20), disk(52, 60, 20)]  # neighbours overlap by 0.68, the ends by 0.45
    assert kept(chain, [0.9, 0.8, 0.7]) == [0, 2]
    assert kept(chain, [0.8, 0.9, 0.7]) == [1]


def test_categories_are_apart_unless_asked_for() -> None:
    cell, nucleus = disk(60, 60, 40), disk(60, 60, 34)  # a large nucleus: 0.72 of its cell
    again = disk(61, 60, 40)
    masks, scores, labels = [cell, nucleus, again], [0.9, 0.8, 0.7], [1, 2, 2]
    assert kept(masks, scores, labels) == [0, 1]  # the two of category 2 overlap by 0.72
    assert kept([cell, again, nucleus], scores, labels) == [0, 1]
    assert kept([cell, again, nucleus], scores, labels, across_categories=True) == [0, 2]


def test_nothing_and_empty_masks() -> None:
    none = InstanceCrops.from_crops([], torch.zeros(0, 4), (120, 120))
    assert mask_nms(none, np.zeros(0), np.zeros(0, np.int64), 0.5).tolist() == []
    assert kept([np.zeros((120, 120), bool), RISING, np.zeros((120, 120), bool)], [0.2, 0.5, 0.9]) == [2, 1, 0]


def brute_force(masks: list[Dense], scores: list[float], labels: list[int], iou: float, across: bool) -> list[int]:
    stay: list[int] = []
    for index in sorted(range(len(masks)), key=lambda index: -scores[index]):
        for better in stay:
            limit = iou if labels[index] == labels[better] else max(iou, 0.8) if across else 2.0
            if (masks[index] & masks[better]).sum() > limit * (masks[index] | masks[better]).sum():
                break
        else:
            stay.append(index)
    return stay


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([0.1, 0.3, 0.5, 0.8]), st.booleans())
def test_it_is_greedy_suppression_on_full_masks(seed: int, iou: float, across: bool) -> None:
    rng = np.random.default_rng(seed)
    masks = []
    for _ in range(rng.integers(1, 25)):
        x, y = rng.integers(30, 60, 2)
        radius = int(rng.integers(3, 30))
        masks.append(disk(x, y, radius) if rng.random() < 0.5 else bar((x, y), tuple(rng.integers(0, 120, 2).tolist())))
    scores = rng.integers(0, 8, len(masks)) / 8  # equal scores occur
    labels = rng.integers(1, 3, len(masks))
    found = mask_nms(crops(masks), scores, labels, iou, across).tolist()
    assert found == brute_force(masks, scores.tolist(), labels.tolist(), iou, across)


@pytest.mark.parametrize("score", [0.4, 0.6])
def test_of_a_pair_the_better_stays(score: float) -> None:
    assert kept([disk(50, 50, 20), disk(52, 50, 20)], [0.5, score]) == [int(score > 0.5)]
