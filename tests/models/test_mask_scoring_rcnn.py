from typing import Any

import pytest
import torch
from torch import nn

from gains.masks import InstanceCrops
from gains.models.mask_rcnn import MaskBranch
from gains.models.mask_scoring_rcnn import MaskIoUHead, MaskScoringBranch, mask_iou_loss
from gains.models.parts.roi.mask_head import MaskHead
from gains.models.parts.roi.mask_iou import area_inside, mask_iou, visible_share
from helpers.checked import gradient_of


def branch() -> MaskScoringBranch:
    return MaskScoringBranch(MaskHead(16, 16, 2), MaskIoUHead(16, 16, 32, 2))


def constant(layer: Any, value: float) -> None:
    nn.init.zeros_(layer.weight)
    nn.init.constant_(layer.bias, value)


def test_area_inside_counts_pixel_centres_like_a_loop_over_the_full_masks() -> None:
    masks = torch.rand(4, 20, 30) > 0.5
    masks[1, :, :12] = False
    masks[2] = False
    crops = InstanceCrops.from_dense(masks)
    corner = torch.rand(60, 2) * torch.tensor([34.0, 24]) - 4
    rois = torch.cat([corner, corner + torch.rand(60, 2) * 20], dim=1)
    rois[:5] = torch.tensor([0.0, 0, 30, 20])
    instance = torch.arange(60) % 4
    x, y = torch.arange(30) + 0.5, torch.arange(20) + 0.5
    expected = [
        int(masks[i][((y >= y0) & (y < y1))[:, None] & ((x >= x0) & (x < x1))].sum())
        for i, (x0, y0, x1, y1) in zip(instance.tolist(), rois.tolist(), strict=True)
    ]
    assert area_inside(crops, instance, rois).tolist() == expected
    assert len(area_inside(crops.select([]), instance[:0], rois[:0])) == 0


def test_iou_counts_the_part_outside_the_roi(scene: Any) -> None:
    """A 32 x 32 square: in the first RoI whole, of the second it fills all but reaches out by as much again."""
    target = scene.targets[0]
    whole, half = torch.tensor([8.0, 8, 40, 40]), torch.tensor([8.0, 8, 24, 40])
    share = area_inside(target["masks"], torch.tensor([0, 0]), torch.stack([whole, half])) / target["masks"].areas()[0]
    assert share.tolist() == [1, 0.5]
    ones = torch.ones(2, 28, 28)
    assert mask_iou(ones > 0, ones, share).tolist() == [1, 0.5]
    assert mask_iou(ones < 0, ones, share).tolist() == [0, 0]


def test_iou_agrees_with_full_size_masks(scene: Any) -> None:
    """RoIs predicted full: the IoU of a box with its instance, counted on the image's pixels."""
    samples = scene.samples.positives()
    filled = torch.ones(len(samples.boxes[0]), 28, 28)
    dense = scene.targets[0]["masks"].dense().bool()
    expected, targets = [], []
    for box, index in zip(samples.boxes[0].int().tolist(), samples.matched[0].tolist(), strict=True):
        inside = torch.zeros(64, 96, dtype=torch.bool)
        inside[box[1] : box[3], box[0] : box[2]] = True
        expected.append(float((inside & dense[index]).sum() / (inside | dense[index]).sum()))
        crop = (inside & dense[index])[box[1] : box[3], box[0] : box[2]]
        targets.append(nn.functional.interpolate(crop[None, None].float(), (28, 28), mode="nearest-exact")[0, 0])
    found = mask_iou(filled > 0, torch.stack(targets), visible_share(samples, scene.targets))
    torch.testing.assert_close(found, torch.tensor(expected), atol=0.04, rtol=0)


def test_loss_is_half_the_squared_error_of_masks_that_meet_their_instance() -> None:
    truth = torch.tensor([0.7, 0.0])
    assert mask_iou_loss(torch.tensor([0.7, 0.9]), truth) == 0
    assert mask_iou_loss(torch.tensor([0.9, 0.9]), truth).item() == pytest.approx(0.02, abs=1e-7)
    assert mask_iou_loss(torch.tensor([0.9, 0.9]), truth * 0) == 0
    assert mask_iou_loss(torch.zeros(0), torch.zeros(0)) == 0


def test_a_mask_begins_at_probability_one_half(scene: Any) -> None:
    """Logits of 0.25 (probability 0.56) predict the whole RoI, logits of -0.25 nothing."""
    model = branch()
    constant(model.iou.predictor, 0.3)
    constant(model.head.predictor.logits, 0.25)
    full = model.losses(scene.features, scene.samples, scene.sizes, scene.targets)["loss_mask_iou"]
    assert full > 0
    constant(model.head.predictor.logits, -0.25)
    assert model.losses(scene.features, scene.samples, scene.sizes, scene.targets)["loss_mask_iou"] == 0


def test_iou_loss_reaches_the_mask_head(scene: Any) -> None:
    model = branch()
    nn.init.normal_(model.head.predictor.logits.weight)
    model.losses(scene.features, scene.samples, scene.sizes, scene.targets)["loss_mask_iou"].backward()
    layer: Any
    for layer in (model.iou.predictor, model.head.predictor.logits, model.head.trunk[0]):
        assert gradient_of(layer.weight).abs().sum() > 0


def test_head_sees_the_highest_probability_of_each_cell() -> None:
    head, pooled = MaskIoUHead(16, 16, 32, 2), torch.randn(3, 16, 14, 14)
    sparse = torch.zeros(3, 28, 28)
    sparse[:, ::2, 1::2] = 1
    assert torch.equal(head(pooled, sparse), head(pooled, torch.ones(3, 28, 28)))
    assert not torch.equal(head(pooled, sparse), head(pooled, torch.zeros(3, 28, 28)))


@pytest.mark.parametrize(("estimate", "factor"), [(1.0, 1.0), (0.5, 0.5), (3.0, 1.0), (-1.0, 0.0)])
def test_scores_are_class_scores_times_the_clamped_estimate(scene: Any, estimate: float, factor: float) -> None:
    """With an estimate of 1 everything is Mask R-CNN's."""
    model = branch()
    constant(model.iou.predictor, estimate)
    found = [
        {"boxes": boxes, "labels": labels, "scores": torch.linspace(0.9, 0.2, len(boxes))}
        for boxes, labels in zip(scene.samples.positives().boxes, scene.samples.positives().labels, strict=True)
    ]
    plain = MaskBranch(model.head).predict(scene.features, found, scene.sizes)
    for ours, theirs in zip(model.predict(scene.features, found, scene.sizes), plain, strict=True):
        torch.testing.assert_close(ours["scores"], factor * theirs["scores"])
        assert torch.equal(ours["class_scores"], theirs["scores"])
        assert torch.equal(ours["mask_probabilities"], theirs["mask_probabilities"])


def test_losses_stay_what_they_were(scene: Any) -> None:
    torch.manual_seed(5)
    model = branch()
    nn.init.normal_(model.head.predictor.logits.weight, std=0.3)
    nn.init.normal_(model.iou.predictor.weight, std=0.3)
    losses = model.losses(scene.features, scene.samples, scene.sizes, scene.targets)
    found = {name: loss.item() for name, loss in losses.items()}
    assert found == pytest.approx({"loss_mask": 0.68326, "loss_mask_iou": 0.21906}, rel=1e-3)
