import pytest
import torch
from torch import Tensor

from gains.masks import InstanceCrops
from gains.models.parts.roi.amodal import VisibleMasks, amodal_targets
from gains.models.parts.roi.sampling import RoISamples


def squares(*corners: tuple[int, int, int, int]) -> InstanceCrops:
    """Filled boxes x0, y0, x1, y1 on a 32 x 48 image."""
    masks = torch.zeros(len(corners), 32, 48, dtype=torch.bool)
    for mask, (x0, y0, x1, y1) in zip(masks, corners, strict=True):
        mask[y0:y1, x0:x1] = True
    return InstanceCrops.from_dense(masks)


def by_definition(masks: Tensor, labels: Tensor, target_label: int | None) -> Tensor:
    """C_i = A_i and not the union of all other A_j of its category, written down on full-size masks."""
    visible = masks.clone()
    for i in range(len(masks)):
        for j in range(len(masks)):
            if i != j and labels[i] == labels[j] and target_label in (None, int(labels[i])):
                visible[i] &= ~masks[j]
    return visible


def test_two_squares_lose_their_overlap_both() -> None:
    masks = squares((0, 0, 10, 10), (5, 0, 15, 10))
    visible = VisibleMasks()(masks, torch.tensor([1, 1]))
    assert visible.areas().tolist() == [50, 50]
    assert torch.equal(visible.dense()[0], squares((0, 0, 5, 10)).dense()[0])
    assert torch.equal(visible.dense()[1], squares((10, 0, 15, 10)).dense()[0])
    assert torch.equal(visible.boxes, masks.boxes)
    assert masks.areas().tolist() == [100, 100], "the whole masks must stay as they are"


def test_a_nucleus_takes_nothing_from_its_cell_and_loses_nothing() -> None:
    masks = squares((0, 0, 20, 20), (5, 5, 9, 9), (10, 0, 30, 20), (11, 2, 14, 6), (12, 3, 15, 7))
    visible = VisibleMasks(1)(masks, torch.tensor([1, 2, 1, 2, 2]))
    assert visible.areas().tolist() == [200, 16, 200, 12, 12]


def test_touching_instances_hide_nothing() -> None:
    masks = squares((0, 0, 10, 10), (10, 0, 20, 10))
    assert VisibleMasks()(masks, torch.tensor([1, 1])).areas().tolist() == [100, 100]


def test_covered_instances_stay_with_an_empty_mask() -> None:
    masks = squares((0, 0, 20, 20), (5, 5, 9, 9), (5, 5, 9, 9))
    visible = VisibleMasks()(masks, torch.tensor([1, 1, 1]))
    assert visible.areas().tolist() == [384, 0, 0]


def test_a_pixel_shared_by_hundreds_is_visible_in_none() -> None:
    masks = squares(*[(3, 3, 5, 5)] * 257)
    assert VisibleMasks()(masks, torch.ones(257, dtype=torch.int64)).areas().sum() == 0


@pytest.mark.parametrize("target_label", [None, 1, 2, 3])
def test_random_masks_follow_the_definition(target_label: int | None) -> None:
    coarse = torch.rand(12, 4, 6) < 0.2
    coarse[3] = False
    masks = coarse.repeat_interleave(5, 1).repeat_interleave(7, 2)
    labels = torch.randint(1, 4, (12,))
    visible = VisibleMasks(target_label)(InstanceCrops.from_dense(masks), labels)
    assert visible.values.dtype == torch.uint8
    assert torch.equal(visible.dense().bool(), by_definition(masks, labels, target_label))


def test_no_instances() -> None:
    visible = VisibleMasks(1)(squares(), torch.zeros(0, dtype=torch.int64))
    assert len(visible) == 0
    assert visible.size == (32, 48)


def test_roi_targets_are_whole_visible_and_their_difference() -> None:
    masks = squares((2, 2, 22, 22), (12, 7, 40, 30), (42, 2, 47, 8))
    labels = torch.tensor([1, 1, 1])
    target = {"masks": masks, "visible_masks": VisibleMasks()(masks, labels)}
    boxes = torch.tensor([[2.0, 2, 22, 22], [3.3, 1.2, 20.9, 24.6], [12, 7, 40, 30], [42, 2, 47, 8]])
    matched = torch.tensor([0, 0, 1, 2])
    samples = RoISamples([boxes], [labels[matched]], [matched], [masks.boxes.float()[matched]])
    whole, visible, hidden = amodal_targets(samples, [target])  # type: ignore[list-item]
    assert torch.equal(whole, visible + hidden)
    assert set(hidden.unique().tolist()) <= {0.0, 1.0}
    assert not (visible * hidden).any()
    # On its own box the first square is hidden from (12, 7) on: half the columns, three quarters of the rows.
    assert hidden[0].sum() == 14 * 21
    assert hidden[0, 7:, 14:].all()
    assert not hidden[3].any()
    assert torch.equal(whole[3], visible[3])
    assert whole[3].any()
