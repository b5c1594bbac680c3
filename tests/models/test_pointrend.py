import copy
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from gains.models.parts.point_sampling import cell_centres
from gains.models.parts.roi.box_branch import BoxHead
from gains.models.parts.roi.masks import RoIMasks
from gains.models.parts.roi.sampling import RoISampler
from gains.models.pointrend import (
    CoarseMaskHead,
    PointHead,
    PointRendBoxBranch,
    PointRendMaskBranch,
    render,
    subdivide,
)
from helpers.checked import gradient_of


def branch() -> PointRendMaskBranch:
    return PointRendMaskBranch(CoarseMaskHead(16, 16, 32, 2), PointHead(16, 16, 2))


def test_point_head_sees_the_coarse_prediction_in_every_layer() -> None:
    head = PointHead(256, 256, 1)
    assert sum(parameter.numel() for parameter in head.parameters()) == 198_402
    coarse = torch.randn(2, 1, 5, requires_grad=True)
    for reader in range(4):
        only = copy.deepcopy(head)
        for index, layer in enumerate([*only.hidden, only.predictor]):
            if index != reader:
                torch.nn.init.zeros_(layer.weight[:, -1:])
        (gradient,) = torch.autograd.grad(only(torch.randn(2, 256, 5), coarse).sum(), coarse)
        assert gradient.abs().sum() > 0


def disk(points: Tensor) -> Tensor:
    """Logit +20 inside the disk that fills the box, -20 outside."""
    inside = ((points - 0.5) ** 2).sum(-1) <= 0.25
    return torch.where(inside, 20.0, -20.0)


def iou_with_disk(probabilities: Tensor) -> float:
    """Paste into a box of 100 x 100 pixels and compare with the disk counted there."""
    masks = RoIMasks(probabilities, torch.tensor([[14.0, 20, 114, 120]]), (140, 130))
    found = masks.paste().dense()[0, 20:120, 14:114].bool()
    truth = disk(cell_centres(100)).reshape(100, 100) > 0
    return float((found & truth).sum() / (found | truth).sum())


def test_a_perfect_point_head_renders_a_disk() -> None:
    fine = iou_with_disk(render(lambda points: disk(points), 1).sigmoid())
    grids = [iou_with_disk(disk(cell_centres(side)).reshape(1, side, side).sigmoid()) for side in (28, 7)]
    assert fine > 0.99
    assert fine > grids[0] > grids[1]
    assert grids[0] == pytest.approx(0.979, abs=0.005)
    assert grids[1] == pytest.approx(0.92, abs=0.02)


def test_resolution_and_number_of_questions() -> None:
    asked = []

    def logits_at(points: Tensor) -> Tensor:
        asked.append(points.shape)
        return disk(points)

    assert render(logits_at, 3).shape == (3, 224, 224)
    assert asked == [(3, 784, 2)] * 4
    assert render(disk, 0).shape == (0, 224, 224)


def test_a_step_changes_the_undecided_cells_alone_and_asks_at_their_centres() -> None:
    coarse = torch.randn(2, 10, 10)
    plain = F.interpolate(coarse[:, None], scale_factor=2, mode="bilinear", align_corners=False)[:, 0]
    asked = []

    def logits_at(points: Tensor) -> Tensor:
        asked.append(points)
        return 100 + points[..., 0]

    finer = subdivide(coarse, logits_at, points=30)
    changed = finer > 50
    assert changed.flatten(1).sum(1).tolist() == [30, 30]
    assert torch.equal(finer[~changed], plain[~changed])
    for index in range(2):
        assert plain[index].abs()[changed[index]].max() <= plain[index].abs()[~changed[index]].min()
        columns = torch.where(changed[index])[1]
        torch.testing.assert_close(finer[index][changed[index]], 100 + (columns + 0.5) / 20)
        rows = (asked[0][index, :, 1] * 20 - 0.5).round()
        assert sorted(rows.tolist()) == sorted(torch.where(changed[index])[0].tolist())


def test_mask_branch_trains_on_boxes_refined_for_the_true_class(scene: Any) -> None:
    head = BoxHead(16, 2, width=32)
    torch.nn.init.zeros_(head.predictor.bbox_pred.weight)
    # Class 1 moves right by a tenth of the width, class 2 down; the background column would move up.
    shifts = torch.tensor([[0.0, -1, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0]])
    head.predictor.bbox_pred.bias.data.copy_(shifts.flatten())
    model = PointRendBoxBranch(head, RoISampler(60, positive_fraction=0.5))
    torch.manual_seed(2)
    losses, moved = model.losses(scene.features, scene.proposals, scene.sizes, scene.targets)
    torch.manual_seed(2)
    given = model.sampler(scene.proposals, scene.targets)
    assert set(losses) == {"loss_classifier", "loss_box_reg"}
    for boxes, labels, found in zip(given.boxes, given.labels, moved.boxes, strict=True):
        assert not found.requires_grad
        side = (boxes[:, 2:] - boxes[:, :2]) * 0.1
        expected = boxes.clone()
        expected[:, [0, 2]] += torch.where(labels == 1, side[:, 0], 0)[:, None]
        expected[:, [1, 3]] += torch.where(labels == 2, side[:, 1], 0)[:, None]
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    assert (given.labels[0] == 2).any()


def test_coarse_head_reads_the_finest_level_on_a_grid_of_14(scene: Any) -> None:
    """On a map that holds x in pixels, with a convolution that averages: the x of the 7 x 7 cells' centres."""
    head: Any = CoarseMaskHead(1, 1, 8, 1)
    torch.nn.init.constant_(head.reduce[0].weight, 0.25)
    head.vectors = torch.nn.Identity()
    head.predictor = torch.nn.Identity()
    x = ((torch.arange(24) + 0.5) * 4).expand(1, 1, 16, 24)
    found = head(x, [torch.tensor([[20.0, 10, 55, 50]])])
    expected = 20 + 35 * (torch.arange(7) + 0.5) / 7
    torch.testing.assert_close(found, expected.expand(1, 1, 7, 7), atol=1e-4, rtol=0)


def test_point_loss_compares_with_the_instance_at_the_points(scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Boxes well inside their instance or wholly outside: every point's truth is known."""
    samples = scene.samples.positives()
    inside = torch.tensor([[10.0, 10, 38, 38], [28, 28, 60, 52], [14, 14, 18, 18], [70, 40, 90, 60]])
    samples = type(samples)([inside, samples.boxes[1]], samples.labels, samples.matched, samples.matched_boxes)
    model = branch()
    sure = torch.full((2,), 20.0)

    def point(fine: Tensor, coarse: Tensor) -> Tensor:
        assert fine.shape == (4, 16, 196)
        assert coarse.shape == (4, 2, 196)
        signs = torch.tensor([1.0, 1, 1, -1])
        return (signs[:, None, None] * sure[None, :, None]).expand(4, 2, 196)

    monkeypatch.setattr(model, "point", torch.nn.Identity())
    monkeypatch.setattr(model.point, "forward", point)
    losses = model.losses(scene.features, samples, scene.sizes, scene.targets)
    assert losses["loss_point"] < 1e-6


def test_point_loss_trains_coarse_masks_too(scene: Any) -> None:
    model = branch()
    torch.nn.init.normal_(model.point.predictor.weight)
    model.losses(scene.features, scene.samples, scene.sizes, scene.targets)["loss_point"].backward()
    assert gradient_of(model.head.predictor.weight).abs().sum() > 0


def test_rendering_in_parts_changes_nothing(scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = branch()
    torch.nn.init.normal_(model.point.predictor.weight)
    found = [
        {"boxes": boxes, "labels": labels, "scores": torch.ones(len(boxes))}
        for boxes, labels in zip(scene.samples.positives().boxes, scene.samples.positives().labels, strict=True)
    ]
    with torch.no_grad():
        together = model.predict(scene.features, found, scene.sizes)
        monkeypatch.setattr("gains.models.pointrend.DETECTIONS_AT_ONCE", 3)
        apart = model.predict(scene.features, found, scene.sizes)
    assert [len(entry["mask_probabilities"]) for entry in together] == [4, 0]
    torch.testing.assert_close(together[0]["mask_probabilities"], apart[0]["mask_probabilities"])


def test_losses_stay_what_they_were(scene: Any) -> None:
    torch.manual_seed(5)
    model = branch()
    torch.nn.init.normal_(model.head.predictor.weight, std=0.3)
    torch.nn.init.normal_(model.point.predictor.weight, std=0.3)
    losses = model.losses(scene.features, scene.samples, scene.sizes, scene.targets)
    found = {name: loss.item() for name, loss in losses.items()}
    assert found == pytest.approx({"loss_mask": 0.68588, "loss_point": 0.71107}, rel=1e-3)
