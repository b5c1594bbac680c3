import numpy as np
import pytest
import torch

from gains.data.augmentation import Augmentation
from gains.data.cropping import OBJECT_SHARE, SLIVER, RandomCrop, cut
from gains.images.scaling import IMAGENET_MEAN
from gains.masks import InstanceCrops


def scene(size: tuple[int, int], boxes: list[tuple[int, int, int, int]]) -> tuple[np.ndarray, InstanceCrops]:
    """Rectangles, each of the brightness (index + 1) / 100, and their masks."""
    image, masks = np.zeros((*size, 3), np.float32), torch.zeros(len(boxes), *size, dtype=torch.bool)
    for index, (x0, y0, x1, y1) in enumerate(boxes):
        image[y0:y1, x0:x1] = (index + 1) / 100
        masks[index, y0:y1, x0:x1] = True
    return image, InstanceCrops.from_dense(masks)


def test_large_images_keep_their_scale_and_masks_lie_on_them() -> None:
    image, masks = scene((300, 500), [(40 * column, 60 * row, 40 * column + 21, 60 * row + 30)
                                      for row in range(5) for column in range(12)])  # fmt: skip
    augment = Augmentation([128], 1333, crop=128)
    seen = set()
    for seed in range(40):
        piece, found, resize = augment(image, masks, seed)
        assert piece.shape == (128, 128, 3)
        assert resize == pytest.approx(1)
        assert len(found) == len(masks)
        for index in np.flatnonzero(found.areas().numpy()):
            x0, y0, x1, y1 = found.boxes[index].tolist()
            np.testing.assert_allclose(piece[y0:y1, x0:x1], (index + 1) / 100, atol=1e-6)
            assert found.areas()[index] >= SLIVER * 21 * 30
            seen.add(int(index))
    assert seen == set(range(len(masks)))


def test_most_crops_hold_objects_of_a_sparse_image_whole_and_some_lie_anywhere() -> None:
    image, masks = scene((2000, 2000), [(1500, 300, 1530, 330)])
    crop = RandomCrop(200)
    whole = [float(crop(image, masks, seed)[1].areas()[0]) == 900 for seed in range(300)]
    # Binomial: four standard deviations.
    assert abs(np.mean(whole) - OBJECT_SHARE) < 4 * (OBJECT_SHARE * (1 - OBJECT_SHARE) / 300) ** 0.5 + 0.02


@pytest.mark.parametrize("box", [(0, 0, 30, 30), (470, 270, 500, 300), (0, 270, 30, 300), (100, 0, 400, 300)])
def test_crops_stay_in_the_image(box: tuple[int, int, int, int]) -> None:
    _, masks = scene((300, 500), [box])
    for seed in range(50):
        x0, y0, x1, y1 = RandomCrop(120).place(masks, np.random.default_rng(seed))
        assert (x1 - x0, y1 - y0) == (120, 120)
        assert 0 <= x0 < x1 <= 500
        assert 0 <= y0 < y1 <= 300


def test_slivers_are_dropped_but_not_what_fills_the_crop() -> None:
    boxes = [(91, 0, 191, 10), (89, 20, 189, 30), (0, 40, 3000, 50), (0, 60, 3000, 61), (150, 70, 160, 80)]
    _, masks = scene((100, 3000), boxes)
    left = cut(masks, (0, 0, 100, 100)).areas().tolist()
    # 9 % and 11 % of two instances; a long one of which 3 % are left, which are 10 % of the crop; a thin one; none.
    assert left == [0, 110, 1000, 0, 0]


def test_small_images_stay_and_narrow_ones_are_padded_as_in_prediction() -> None:
    image, masks = scene((90, 100), [(10, 10, 30, 30)])
    same, kept = RandomCrop(128)(image, masks, 3)
    assert same is image
    assert kept is masks
    image, masks = scene((40, 300), [(10, 10, 30, 30), (250, 0, 300, 40)])
    padded, kept = RandomCrop(128)(image, masks, 3)
    assert padded.shape == (128, 128, 3)
    assert kept.size == (128, 128)
    np.testing.assert_allclose(padded[40:], np.tile(np.array(IMAGENET_MEAN), (88, 128, 1)), rtol=1e-6)


def test_a_seed_decides_the_crop_and_other_seeds_give_others() -> None:
    image, masks = scene((400, 400), [(50, 50, 90, 90), (300, 200, 340, 260)])
    augment = Augmentation([100], 1333, crop=100)
    first, again = augment(image, masks, 5), augment(image, masks, 5)
    assert np.array_equal(first.image, again.image)
    assert torch.equal(first.masks.boxes, again.masks.boxes)
    assert len({augment(image, masks, seed).image.tobytes() for seed in range(12)}) > 6


def test_an_image_without_instances_is_cropped_anywhere() -> None:
    image = np.random.default_rng(0).random((300, 300, 3), dtype=np.float32)
    nothing = InstanceCrops.from_dense(torch.zeros(0, 300, 300, dtype=torch.bool))
    piece, masks = RandomCrop(64)(image, nothing, 1)
    assert piece.shape == (64, 64, 3)
    assert len(masks) == 0
