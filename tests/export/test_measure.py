"""Measurements against closed forms and scikit-image."""

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy import ndimage
from skimage.measure import moments_central, perimeter, regionprops

from gains.masks import InstanceCrops
from gains.prediction.result import Prediction


def instances_of(masks: npt.NDArray[np.bool_]) -> Prediction:
    count = len(masks)
    labels = np.arange(count) % 2 + 1
    return Prediction(
        InstanceCrops.from_dense(torch.from_numpy(masks)), np.linspace(0.9, 0.5, count), labels, ["cell", "nucleus"]
    )


def random_masks(seed: int = 0) -> npt.NDArray[np.bool_]:
    """Twelve large, torn, holed, overlapping masks."""
    noise = np.random.default_rng(seed).normal(size=(12, 90, 110))
    masks: npt.NDArray[np.bool_] = ndimage.gaussian_filter(noise, (0, 4, 4)) > 0.05
    return masks


def test_against_scikit_image() -> None:
    masks = random_masks()
    image = np.random.default_rng(1).uniform(0, 1000, (90, 110))
    table = instances_of(masks).measure(image)
    for mask, row in zip(masks, table.itertuples(), strict=True):
        properties = regionprops(mask.astype(np.uint8), intensity_image=image)[0]
        assert row.area == properties.area
        assert row.perimeter == pytest.approx(perimeter(mask))
        assert (row.y, row.x) == pytest.approx(properties.centroid)
        assert row.mean_intensity == pytest.approx(properties.intensity_mean)
        top, left, bottom, right = properties.bbox
        assert (row.left, row.top, row.width, row.height) == (left, top, right - left, bottom - top)
        moments = moments_central(mask.astype(np.uint8), order=2) / mask.sum()
        # scikit-image takes pixels as points, we as squares with a second moment of 1/12.
        spread = np.array([[moments[0, 2] + 1 / 12, moments[1, 1]], [moments[1, 1], moments[2, 0] + 1 / 12]])
        small, large = np.linalg.eigvalsh(spread)
        assert row.major_axis == pytest.approx(4 * np.sqrt(large))
        assert row.minor_axis == pytest.approx(4 * np.sqrt(small))
        assert row.eccentricity == pytest.approx(np.sqrt(1 - small / large))


def test_a_rectangle_in_closed_form() -> None:
    masks = np.zeros((1, 30, 40), bool)
    masks[0, 5:11, 10:34] = True  # 24 x 6
    [row] = instances_of(masks).measure(pixel_size_um=0.5).itertuples()
    assert (row.x, row.y, row.area) == (21.5, 7.5, 144)
    # A rectangle of length a has the second moment a^2 / 12 along it.
    assert row.major_axis == pytest.approx(4 * 24 / np.sqrt(12))
    assert row.minor_axis == pytest.approx(4 * 6 / np.sqrt(12))
    assert row.eccentricity == pytest.approx(np.sqrt(1 - (6 / 24) ** 2))
    assert row.perimeter == pytest.approx(2 * (23 + 5))
    assert row.area_um2 == pytest.approx(144 * 0.25)
    assert row.perimeter_um == pytest.approx(28)
    assert row.major_axis_um == pytest.approx(row.major_axis / 2)


def test_one_pixel_is_round_and_has_no_length() -> None:
    masks = np.zeros((1, 3, 3), bool)
    masks[0, 1, 1] = True
    [row] = instances_of(masks).measure().itertuples()
    assert (row.area, row.eccentricity, row.perimeter) == (1, 0, 0)


def test_overlaps_within_a_category_count_each_shared_pixel_once() -> None:
    masks = random_masks(3)
    masks[0], masks[5] = False, False
    masks[0, 2:4, 2:4] = masks[5, 80, 100] = True
    masks[1:5, :6, :6] = masks[6:, :6, :6] = False
    masks[1:5, 80, 100] = masks[6:, 80, 100] = False
    table = instances_of(masks).measure()
    for index, mask in enumerate(masks):
        alike = [j for j in range(len(masks)) if j != index and j % 2 == index % 2]
        others = [j for j in alike if (masks[j] & mask).any()]
        elsewhere = masks[alike].any(axis=0)
        assert table.overlap_area[index] == (mask & elsewhere).sum()
        assert table.overlap_neighbours[index] == len(others)
        assert table.overlap_ids[index] == " ".join(str(j + 1) for j in others)
    assert table.overlap_neighbours[0] == table.overlap_neighbours[5] == 0


def test_colour_and_nan_pixels() -> None:
    masks = np.zeros((1, 4, 4), bool)
    masks[0, :2, :2] = True
    image = np.zeros((4, 4, 3), np.float32)
    image[:2, :2] = [[[1, 2, 3], [3, 2, 1]], [[5, 2, np.nan], [7, 2, 2]]]  # type: ignore[assignment]
    [row] = instances_of(masks).measure(image).itertuples()
    assert (row.mean_red, row.mean_green, row.mean_blue) == (4, 2, 2)


def test_no_instances() -> None:
    table = instances_of(np.zeros((0, 9, 9), bool)).measure(np.zeros((9, 9)), 0.5)
    assert len(table) == 0
    assert {"id", "area", "overlap_area_um2", "mean_intensity"} <= set(table.columns)


def test_image_of_another_size() -> None:
    with pytest.raises(ValueError, match="9, 8"):
        instances_of(np.zeros((0, 9, 9), bool)).measure(np.zeros((9, 8)))
