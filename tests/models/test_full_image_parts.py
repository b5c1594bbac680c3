"""Parts of the methods without RoIs: grids of true masks, aligned upsampling, masks over the whole image, dice."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch.nn import functional as F

from gains.masks import InstanceCrops
from gains.models.parts.aligned_upsampling import aligned_upsample
from gains.models.parts.dice import linear_dice, pairwise_linear_dice, squared_dice
from gains.models.parts.full_image_masks import MapReader
from gains.models.parts.mask_grids import centroids, subsample, touched


def blobs(count: int = 6, height: int = 45, width: int = 53) -> torch.Tensor:
    """Ragged masks of every size, some at the border, one of a single pixel, one empty."""
    generator = torch.Generator().manual_seed(11)
    noise = F.avg_pool2d(torch.randn(count, height + 8, width + 8, generator=generator), 9, stride=1)
    masks = noise > 0.1
    for index, mask in enumerate(masks):
        mask[:, : 7 * index] = False
    masks[-2] = False
    masks[-2, 6, 10] = True
    masks[-1] = False
    return masks


@pytest.mark.parametrize(("stride", "offset"), [(4, 2), (8, 0), (16, 5)])
def test_subsample_takes_every_stride_th_pixel_of_the_padded_masks(stride: int, offset: int) -> None:
    dense = blobs()
    padded = F.pad(dense, (0, 64 - 53, 0, 64 - 45))
    grid = (64 // stride, 64 // stride)
    found = subsample(InstanceCrops.from_dense(dense), grid, stride, offset)
    assert torch.equal(found.bool(), padded[:, offset::stride, offset::stride])
    assert subsample(InstanceCrops.from_dense(dense[:0]), grid, stride, offset).shape == (0, *grid)


def test_touched_cells_are_those_with_a_positive_average() -> None:
    dense = blobs()
    padded = F.pad(dense, (0, 64 - 53, 0, 64 - 45))
    expected = F.adaptive_avg_pool2d(padded.float(), (4, 4)) > 0
    assert torch.equal(touched(InstanceCrops.from_dense(dense), (4, 4), 16), expected)


def test_centroids_are_centres_of_mass() -> None:
    dense = blobs()
    found = centroids(InstanceCrops.from_dense(dense))
    for mask, centre in zip(dense[:-1].numpy(), found[:-1], strict=True):
        row, column = ndimage.center_of_mass(mask)
        np.testing.assert_allclose(centre, [column + 0.5, row + 0.5], rtol=1e-5)
    assert found[-1].tolist() == [0, 0]
    assert centroids(InstanceCrops.from_dense(dense[:0])).shape == (0, 2)


@pytest.mark.parametrize("factor", [2, 4])
def test_aligned_upsampling_keeps_values_in_place_and_is_linear_between(factor: int) -> None:
    maps = torch.randn(2, 3, 5, 7, dtype=torch.float64)
    fine = aligned_upsample(maps, factor)
    assert fine.shape == (2, 3, 5 * factor, 7 * factor)
    torch.testing.assert_close(fine[..., factor // 2 :: factor, factor // 2 :: factor], maps)
    ramp = torch.arange(7.0).expand(1, 1, 5, 7)
    row = aligned_upsample(ramp, factor)[0, 0, 0]
    expected = ((torch.arange(7 * factor) - factor // 2) / factor).clamp(0, 6)
    torch.testing.assert_close(row, expected)


@pytest.mark.parametrize("original", [(50, 60), (37, 81), (100, 44)])
@pytest.mark.parametrize(("aligned", "logits"), [(True, False), (False, True)])
def test_masks_are_those_of_the_dense_way(original: tuple[int, int], aligned: bool, logits: bool) -> None:
    stride, size, n = 4, (50, 60), 5
    maps = 3 * torch.randn(n, 16, 16, generator=torch.Generator().manual_seed(2)) - 2
    maps[0] = -10
    maps[1, :8] = -10
    maps = maps if logits else maps.sigmoid()
    if aligned:
        full = aligned_upsample(maps[None], stride)
    else:
        full = F.interpolate(maps[None], scale_factor=stride, mode="bilinear", align_corners=False)
    full = full[..., : size[0], : size[1]]
    full = F.interpolate(full, size=original, mode="bilinear", align_corners=False)[0]
    expected = full > (0 if logits else 0.5)

    masks, quality = MapReader(stride, logits=logits, aligned=aligned).masks(maps, size, original)

    assert len(masks) == n
    crops = masks.paste()
    differing = crops.dense().bool() != expected
    assert differing.sum() <= 1  # rounding may decide a pixel on the threshold
    probabilities = full.sigmoid() if logits else full
    for index in range(1, n):
        assert quality[index].item() == pytest.approx(probabilities[index][expected[index]].mean().item(), abs=1e-4)
    assert quality[0] == 0
    assert crops.areas()[0] == 0
    tight = InstanceCrops.from_dense(crops.dense())
    assert torch.equal(tight.boxes, crops.boxes)


def test_no_maps_give_no_masks() -> None:
    masks, quality = MapReader(8, logits=True, aligned=False).masks(torch.zeros(0, 4, 4), (32, 32), (40, 40))
    assert len(masks) == len(masks.to_rle()) == len(quality) == 0


def test_dice_of_right_and_of_empty_predictions() -> None:
    truth = torch.zeros(2, 6, 6)
    truth[0, :3] = 1
    truth[1, 4, 4] = 1
    assert squared_dice(truth, truth).tolist() == pytest.approx([0, 0], abs=1e-5)
    assert squared_dice(torch.zeros_like(truth), truth).tolist() == [1, 1]
    flat = truth.flatten(1)
    assert linear_dice(flat, flat).tolist() == pytest.approx([0, 0])
    assert linear_dice(torch.zeros_like(flat), flat).tolist() == pytest.approx([1 - 1 / 19, 1 - 1 / 2])


def test_dice_by_hand() -> None:
    p, t = torch.tensor([[0.5, 0.5, 0.0, 1.0]]), torch.tensor([[1.0, 0.0, 0.0, 1.0]])
    assert squared_dice(p, t).item() == pytest.approx(1 - 3 / (1.5 + 2 + 1e-5))
    assert linear_dice(p, t).item() == pytest.approx(1 - 4 / 5)


def test_pairwise_dice_is_dice_of_each_pair() -> None:
    p, t = torch.rand(4, 30), (torch.rand(3, 30) > 0.5).float()
    table = pairwise_linear_dice(p, t)
    for column, truth in enumerate(t):
        torch.testing.assert_close(table[:, column], linear_dice(p, truth.expand(4, -1)))
