import albumentations as A
import numpy as np
import pytest
import torch

from gains.data.augmentation import Augmentation
from gains.masks import InstanceCrops


def scene(side: int = 64) -> tuple[np.ndarray, InstanceCrops]:
    """A gray image in which each of two overlapping rectangles adds its own brightness."""
    masks = torch.zeros(2, side, side, dtype=torch.bool)
    masks[0, 8:40, 4:36] = True
    masks[1, 20:60, 24:60] = True
    image = (0.3 * masks[0] + 0.4 * masks[1]).float().numpy()
    return np.repeat(image[:, :, None], 3, axis=2), InstanceCrops.from_dense(masks)


def rebuilt(masks: InstanceCrops) -> np.ndarray:
    dense = masks.dense().float()
    return (0.3 * dense[0] + 0.4 * dense[1]).numpy()


def test_flips_move_image_and_overlapping_masks_together() -> None:
    image, masks = scene()
    augment = Augmentation([64], 100, [A.HorizontalFlip(p=1.0), A.VerticalFlip(p=1.0)])
    turned, moved, _ = augment(image, masks, seed=0)
    assert torch.equal(moved.dense(), masks.dense().flip(1, 2))
    np.testing.assert_allclose(turned[:, :, 0], rebuilt(moved), atol=1e-6)


@pytest.mark.parametrize("short", [32, 48, 96, 128])
def test_resizing_keeps_masks_on_the_image(short: int) -> None:
    image, masks = scene()
    resized, moved, _ = Augmentation([short], 1000)(image, masks, seed=0)
    assert resized.shape == (short, short, 3)
    # Only pixels that straddle an outline may differ: no half-pixel shift between image and masks.
    wrong = np.abs(resized[:, :, 0] - rebuilt(moved)) > 0.21
    outline = (2 * (32 + 32) + 2 * (40 + 36)) * short / 64
    assert wrong.sum() <= 0.35 * outline
    area = moved.areas() / masks.areas()
    np.testing.assert_allclose(area, (short / 64) ** 2, rtol=0.06)


def test_the_long_side_has_a_limit() -> None:
    image = np.zeros((50, 200, 3), np.float32)
    masks = InstanceCrops.from_dense(torch.ones(1, 50, 200, dtype=torch.bool))
    resized, moved, _ = Augmentation([100], 300)(image, masks, seed=0)
    assert resized.shape == (75, 300, 3)
    assert moved.size == (75, 300)


def test_short_sides_are_all_drawn_and_the_seed_decides() -> None:
    image, masks = scene()
    augment = Augmentation([32, 48, 64], 1000, [A.HorizontalFlip(p=0.5)])
    sides = [augment(image, masks, seed)[0].shape[0] for seed in range(30)]
    assert set(sides) == {32, 48, 64}
    first, again = augment(image, masks, seed=7), augment(image, masks, seed=7)
    assert np.array_equal(first[0], again[0])
    assert torch.equal(first[1].values, again[1].values)


def test_instances_that_leave_the_image_come_back_empty_and_in_place() -> None:
    image, masks = scene()
    cropped, moved, _ = Augmentation([64], 100, [A.Crop(40, 44, 64, 64)])(image, masks, seed=0)
    assert cropped.shape == (20, 24, 3)
    assert len(moved) == 2
    assert moved.areas().tolist() == [0, 16 * 20]


def shape(height: int, width: int) -> tuple[np.ndarray, InstanceCrops]:
    masks = InstanceCrops.from_dense(torch.ones(1, height, width, dtype=torch.bool))
    return np.full((height, width, 3), 0.5, np.float32), masks


@pytest.mark.parametrize(
    ("size", "short", "limit", "factor"),
    [((50, 80), 50, 1000, 1.0), ((50, 80), 100, 1000, 2.0), ((80, 50), 25, 1000, 0.5), ((50, 200), 100, 300, 1.5)],
)
def test_the_resize_factor_is_told(size: tuple[int, int], short: int, limit: int, factor: float) -> None:
    assert Augmentation([short], limit)(*shape(*size), seed=0).resize == pytest.approx(factor, rel=1e-6)


@pytest.mark.parametrize(
    ("transform", "factor"),
    [
        (A.HorizontalFlip(p=1), 1),
        (A.VerticalFlip(p=1), 1),
        (A.SquareSymmetry(p=1), 1),
        (A.Transpose(p=1), 1),
        (A.RandomCrop(30, 20, p=1), 1),
        (A.GaussNoise(p=1), 1),
        (A.Affine(rotate=(33, 33), p=1), 1),
        (A.Affine(scale=(1.2, 1.2), rotate=(33, 33), p=1), 1.2),
        (A.RandomSizedCrop((20, 20), (60, 60), p=1), 3),
        (A.OpticalDistortion(p=1), 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_flips_and_crops_leave_the_factor_alone_and_zooms_change_it(transform: A.BasicTransform, factor: float) -> None:
    for seed in range(3):
        augmented = Augmentation([120], 1000, [transform])(*shape(60, 60), seed=seed)
        assert augmented.resize == pytest.approx(2 * factor, rel=1e-5)
