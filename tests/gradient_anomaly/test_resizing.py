"""Maps of a resized image are those of the image on disk, resized: the published programs work in that order."""

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from gains.data.augmentation import Augmentation
from gains.gradient_anomaly import VARIANTS, GradientAnomaly, gradient_anomaly_maps
from gains.masks import InstanceCrops

SIDE = 96
ELLIPSES = ((30, 28, 17, 13), (40, 46, 11, 20), (62, 40, 15, 12), (66, 70, 16, 9), (24, 74, 12, 10))


def cells() -> Tensor:
    """Five ellipses ``(5, 96, 96)``; some overlap, some touch."""
    y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    return torch.stack([((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 <= 1 for cy, cx, ry, rx in ELLIPSES])


def derive(variant: str, masks: InstanceCrops, resize: float = 1.0, window: int = 6) -> Tensor:
    settings = GradientAnomaly(window, gain=0.5, overlap_gain=0.3, variant=variant)
    return settings(masks, torch.ones(len(masks), dtype=torch.int64), resize).dense()


def resized_maps(maps: Tensor, side: int) -> npt.NDArray[np.float32]:
    method = cv2.INTER_LINEAR if side > SIDE else cv2.INTER_AREA
    return np.stack([cv2.resize(plane, (side, side), interpolation=method) for plane in maps.numpy()])


def correlation(a: npt.NDArray[np.float32], b: Tensor) -> float:
    return float(np.corrcoef(a.ravel(), b.numpy().ravel())[0, 1])


@pytest.mark.parametrize("side", [48, 64, 144, 240])
@pytest.mark.parametrize("variant", VARIANTS)
def test_maps_after_resizing_are_resized_maps(variant: str, side: int) -> None:
    source = InstanceCrops.from_dense(cells())
    expected = resized_maps(derive(variant, source), side)
    _, masks, resize = Augmentation([side], 1000)(np.zeros((SIDE, SIDE, 3), np.float32), source, seed=0)
    following, fixed = (correlation(expected, derive(variant, masks, factor)) for factor in (resize, 1.0))
    assert following > 0.87
    # The share of the difference that is left.
    assert 1 - following < 0.5 * (1 - fixed)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_window_is_multiplied_rounded_and_at_least_two(variant: str) -> None:
    masks = InstanceCrops.from_dense(cells())
    for window, resize, scaled in ((5, 1.0, 5), (5, 2.0, 10), (5, 1.3, 6), (8, 0.55, 4), (5, 0.1, 2), (3, 0.01, 2)):
        expected = gradient_anomaly_maps(cells(), window=scaled, gain=0.5, overlap_gain=0.3, variant=variant)
        assert torch.equal(derive(variant, masks, resize, window), expected)


def test_a_window_that_has_outgrown_the_image_leaves_ones() -> None:
    assert torch.equal(derive("isbi", InstanceCrops.from_dense(cells()), 20.0), torch.ones(5, SIDE, SIDE))
