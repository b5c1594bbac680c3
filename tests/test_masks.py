import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from torch import Tensor
from torchvision.ops import roi_align

from gains.masks import InstanceCrops


def random_masks() -> Tensor:
    """Blobs of several sizes on 24 x 32: across the image, at its corner, a single pixel, and none."""
    masks = torch.rand(5, 24, 32) > 0.5
    masks[1, 6:] = False
    masks[1, :, 9:] = False
    masks[2] = False
    masks[2, 11, 17] = True
    masks[3] = False
    masks[4, :13] = False
    masks[4, :, :20] = False
    return masks


def test_dense_masks_come_back() -> None:
    masks = random_masks()
    crops = InstanceCrops.from_dense(masks)
    assert len(crops) == 5
    assert torch.equal(crops.dense().bool(), masks)
    assert crops.areas().tolist() == masks.sum((1, 2)).tolist()
    assert crops.boxes[2].tolist() == [17, 11, 18, 12]
    assert crops.boxes[3].tolist() == [0, 0, 0, 0]
    assert len(crops.values) < masks.numel()


def test_masks_survive_rle_and_agree_with_pycocotools() -> None:
    masks = random_masks()
    rles = InstanceCrops.from_dense(masks).to_rle()
    np.testing.assert_array_equal(coco_mask.decode(rles).transpose(2, 0, 1), masks)
    assert torch.equal(InstanceCrops.from_rle(rles, (24, 32)).dense().bool(), masks)


def test_rle_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="mask 0 has size"):
        InstanceCrops.from_rle(InstanceCrops.from_dense(random_masks()).to_rle(), (32, 24))


@given(st.integers(0, 6), st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_label_layers_keep_overlapping_masks_apart(count: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    masks = torch.zeros(count, 12, 15, dtype=torch.bool)
    for mask in masks:
        x, y = (int(torch.randint(0, 9, (), generator=generator)) for _ in range(2))
        mask[y : y + 4, x : x + 5] = True
    crops = InstanceCrops.from_dense(masks)
    layers = crops.label_layers()
    assert 1 <= len(layers) <= max(count, 1)
    back = InstanceCrops.from_label_layers(layers, count)
    assert torch.equal(back.dense().bool().reshape(masks.shape), masks)


def test_masks_apart_share_a_layer() -> None:
    masks = torch.zeros(2, 8, 8, dtype=torch.bool)
    masks[0, :, :4], masks[1, :, 4:] = True, True
    assert InstanceCrops.from_dense(masks).label_layers().shape == (1, 8, 8)
    masks[1, :, 3] = True
    assert InstanceCrops.from_dense(masks).label_layers().shape == (2, 8, 8)


def test_select_reorders_and_repeats() -> None:
    masks = random_masks()
    crops = InstanceCrops.from_dense(masks)
    assert torch.equal(crops.select([4, 0, 0]).dense().bool(), masks[[4, 0, 0]])
    assert len(crops.select([])) == 0
    assert crops.select([]).dense().shape == (0, 24, 32)


def random_rois(count: int) -> Tensor:
    corner = torch.rand(count, 2) * torch.tensor([30.0, 22]) - 2
    rois = torch.cat([corner, corner + torch.rand(count, 2) * 20 + 0.5], dim=1)
    rois[0] = torch.tensor([0.0, 0, 32, 24])
    return rois


@pytest.mark.parametrize("size", [7, 28])
def test_roi_align_is_that_of_full_size_masks(size: int) -> None:
    masks = random_masks()
    rois, instance = random_rois(40), torch.arange(40) % 5
    found = InstanceCrops.from_dense(masks).roi_align(rois, instance, size)
    table = torch.cat([instance[:, None], rois], dim=1)
    expected = roi_align(masks[:, None].float(), table, size, aligned=True)[:, 0]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_roi_align_of_maps_with_a_background_of_one() -> None:
    masks = random_masks()
    maps = torch.where(masks, 1 + torch.rand(masks.shape), 1)
    crops = InstanceCrops.from_dense(masks)
    values = torch.cat(
        [full[y0:y1, x0:x1].flatten() for full, (x0, y0, x1, y1) in zip(maps, crops.boxes.tolist(), strict=True)]
    )
    rois, instance = random_rois(40), torch.arange(40) % 5
    found = InstanceCrops(values, crops.boxes, crops.size, 1.0).roi_align(rois, instance, 14)
    table = torch.cat([instance[:, None], rois], dim=1)
    expected = roi_align(maps[:, None], table, 14, aligned=True)[:, 0]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_roi_align_without_rois() -> None:
    crops = InstanceCrops.from_dense(random_masks())
    assert crops.roi_align(torch.zeros(0, 4), [], 28).shape == (0, 28, 28)
    assert crops.select([]).roi_align(torch.zeros(0, 4), [], 28).shape == (0, 28, 28)


def test_crops_that_do_not_fill_their_boxes_are_refused() -> None:
    with pytest.raises(ValueError, match="crops hold 3 values but their boxes 4 pixels"):
        InstanceCrops(torch.ones(3), torch.tensor([[0, 0, 2, 2]]), (8, 8))
