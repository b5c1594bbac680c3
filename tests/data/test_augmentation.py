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
    turned, moved = augment(image, masks, seed=0)
    assert torch.equal(moved.dense(), masks.dense().flip(1, 2))
    np.testing.assert_allclose(turned[:, :, 0], rebuilt(moved), atol=1e-6)


@pytest.mark.parametrize("short", [32, 48, 96, 128])
def test_resizing_keeps_masks_on_the_image(short: int) -> None:
    image, masks = scene()
    resized, moved = Augmentation([short], 1000)(image, masks, seed=0)
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
    resized, moved = Augmentation([100], 300)(image, masks, seed=0)
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
    cropped, moved = Augmentation([64], 100, [A.Crop(40, 44, 64, 64)])(image, masks, seed=0)
    assert cropped.shape == (20, 24, 3)
    assert len(moved) == 2
    assert moved.areas().tolist() == [0, 16 * 20]
