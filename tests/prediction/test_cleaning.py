"""Specks, loose parts and holes, against scikit-image and by hand."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.measure import label

from gains.errors import InputError
from gains.masks import InstanceCrops
from gains.prediction.cleaning import Cleaning
from gains.prediction.predictor import Predictor
from gains.prediction.result import Prediction

Masks = npt.NDArray[np.bool_]


def prediction(masks: Masks) -> Prediction:
    count = len(masks)
    crops = InstanceCrops.from_dense(torch.from_numpy(masks))
    return Prediction(crops, np.linspace(0.9, 0.5, count), np.arange(count) % 2 + 1, ["cell", "nucleus"], 3)


def test_nothing_by_default() -> None:
    masks = np.random.default_rng(0).random((3, 9, 9)) < 0.5
    cleaned, remarks = Cleaning()(prediction(masks))
    np.testing.assert_array_equal(cleaned.masks.dense() > 0, masks)
    assert remarks == []


@settings(max_examples=200, deadline=None)
@given(mask=arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))).filter(np.any))
def test_largest_part_and_holes(mask: Masks) -> None:
    cleaned, _ = Cleaning(largest_part=True)(prediction(mask[None]))
    parts = label(mask, connectivity=1)
    sizes = np.bincount(parts.ravel())[1:]
    np.testing.assert_array_equal(cleaned.mask(0), parts == np.argmax(sizes) + 1)
    left, top, right, bottom = cleaned.boxes[0]
    assert cleaned.crop(0).any(axis=0).all() == cleaned.mask(0)[:, left:right].any(axis=0).all()
    assert cleaned.mask(0)[top].any()
    assert cleaned.mask(0)[bottom - 1].any()
    filled, _ = Cleaning(fill_holes=True)(prediction(mask[None]))
    # A hole is background from which no path along pixel edges leads out.
    outside = label(np.pad(~mask, 1, constant_values=True), connectivity=1)
    np.testing.assert_array_equal(filled.mask(0), (outside != outside[0, 0])[1:-1, 1:-1])


def test_small_ones_go_after_the_rest_is_done() -> None:
    masks = np.zeros((4, 12, 12), bool)
    masks[0, :4, :4] = True  # 16
    masks[1, 5:8, 5:8] = True
    masks[1, 6, 6] = False  # 8, and 9 with its hole filled
    masks[2, 0:2, 8:12] = True  # 8
    masks[3, 9:11, :4] = masks[3, 11, 11] = True  # 9, of which 8 in one part
    cleaned, remarks = Cleaning(largest_part=True, fill_holes=True, min_area=9)(prediction(masks))
    assert cleaned.masks.areas().tolist() == [16, 9]
    assert cleaned.scores.tolist() == pytest.approx([0.9, 0.9 - 0.4 / 3])
    assert cleaned.labels.tolist() == [1, 2]
    assert cleaned.capped_tiles == 3
    assert [remark.split("(")[1] for remark in remarks] == ["largest_part, fill_holes)", "min_area)"]


def test_all_may_go() -> None:
    cleaned, _ = Cleaning(min_area=100)(prediction(np.ones((2, 3, 3), bool)))
    assert len(cleaned) == 0
    assert len(cleaned.measure()) == 0


@pytest.mark.parametrize("wrong", [{"min_area": -1}, {"min_area": 2.5}, {"min_area": True}, {"fill_holes": "yes"}])
def test_wrong_settings(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        Cleaning(**wrong)


def test_in_a_predictor_after_stitching(predictor: Callable[..., Predictor]) -> None:
    """A bar that no tile sees whole counts whole."""
    image = np.zeros((64, 200, 3), np.uint8)
    image[10:14, 5:195, 0] = 255
    image[40:43, 60:63, 0] = 255
    whole = predictor(tile=64)
    assert len(whole.predict(image)) == 2
    whole.cleaning = Cleaning(min_area=500)
    found = whole.predict(image)
    assert found.masks.areas().tolist() == [4 * 190]
    [line] = whole.notes.lines()
    assert "fewer than 500 pixels" in line
