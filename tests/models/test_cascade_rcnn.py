from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from torchvision.ops import box_iou

from gains.models.cascade_rcnn import CascadeMaskBranch
from gains.models.mask_rcnn import MaskBranch
from gains.models.parts.roi.box_branch import BoxBranch, BoxHead
from gains.models.parts.roi.cascade import CascadeBoxBranch, scale_gradient
from gains.models.parts.roi.mask_head import MaskHead
from gains.models.parts.roi.sampling import RoISampler
from gains.operating_point import OperatingPoint
from helpers.checked import gradient_of, sum_of
from helpers.scenes import Scene

HEAD = partial(BoxHead, 16, 2, width=32, class_agnostic=True)
SAMPLER = partial(RoISampler, rois_per_image=32)
EQUAL = {"ious": [0.5] * 3, "delta_weights": [[10, 10, 5, 5]] * 3}
FORM_B = {"resample": True, "gradient_scale": 1.0, "loss_weights": [1.0, 0.5, 0.25]}


ALL = OperatingPoint(min_score=0.0, nms_iou=1.0, max_detections=1000)


def cascade(**settings: Any) -> Any:
    torch.manual_seed(11)
    return CascadeBoxBranch(HEAD, SAMPLER, **settings)


def silence(*layers: Any) -> None:
    for layer in layers:
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)


def losses(branch: Any, scene: Scene) -> Any:
    torch.manual_seed(5)
    return branch.losses(scene.features, scene.proposals, scene.sizes, scene.targets)


def test_one_stage_is_the_plain_box_branch_with_one_delta_for_all_classes(scene: Scene) -> None:
    one = cascade(ious=[0.5], delta_weights=[[10, 10, 5, 5]], loss_weights=[1.0], gradient_scale=1.0)
    plain = BoxBranch(one.heads[0], SAMPLER())
    found, samples = losses(one, scene)
    expected, drawn = losses(plain, scene)
    assert found == {f"{name}_1": loss for name, loss in expected.items()}
    assert torch.equal(samples.boxes[0], drawn.boxes[0])
    for ours, theirs in zip(
        one.detect(scene.features, scene.proposals, scene.sizes, ALL),
        plain.detect(scene.features, scene.proposals, scene.sizes, ALL),
        strict=True,
    ):
        assert len(ours["scores"]) > 0
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_equal_stages_without_corrections_change_nothing(scene: Scene) -> None:
    three = cascade(**EQUAL)
    for head in three.heads:
        head.load_state_dict(three.heads[0].state_dict())
        silence(head.predictor.bbox_pred)
    found, _ = losses(three, scene)
    for name in ("loss_classifier", "loss_box_reg"):
        assert found[f"{name}_1"] > 0
        for stage in (2, 3):
            assert found[f"{name}_{stage}"].item() == pytest.approx(found[f"{name}_1"].item(), rel=1e-5)
    detected = three.detect(scene.features, scene.proposals, scene.sizes, ALL)[0]
    single = BoxBranch(three.heads[0], SAMPLER()).detect(scene.features, scene.proposals, scene.sizes, ALL)[0]
    torch.testing.assert_close(detected["scores"], single["scores"])
    torch.testing.assert_close(detected["boxes"], scene.proposals[0][detected["roi"]], atol=1e-4, rtol=0)


def test_scores_are_the_mean_of_probabilities_and_boxes_the_last_stages(scene: Scene) -> None:
    branch = cascade()
    boxes, probabilities = scene.proposals, []
    for head in branch.heads:
        output = head(head.pool(scene.features, boxes, scene.sizes))
        probabilities.append(output.logits.softmax(-1))
        boxes = [box[:, 0] for box in head.decode(output, boxes)]
        boxes = [
            torch.stack([b[:, 0].clamp(0, w), b[:, 1].clamp(0, h), b[:, 2].clamp(0, w), b[:, 3].clamp(0, h)], 1)
            for b, (h, w) in zip(boxes, scene.sizes, strict=True)
        ]
    mean = sum(probabilities) / 3
    found = branch.detect(scene.features, scene.proposals, scene.sizes, ALL)[0]
    assert len(found["scores"]) > 100
    torch.testing.assert_close(found["scores"], mean[found["roi"], found["labels"]])
    torch.testing.assert_close(found["boxes"], boxes[0][found["roi"]])


@pytest.mark.parametrize("form", [{}, FORM_B], ids=["a", "b"])
def test_each_stage_has_its_own_threshold(scene: Scene, form: dict[str, object]) -> None:
    _, samples = losses(cascade(**form), scene)
    truth = scene.targets[0]["boxes"]
    for iou, stage in zip((0.5, 0.6, 0.7), samples.stages, strict=True):
        best, index = box_iou(stage.boxes[0], truth).max(1)
        foreground = stage.labels[0] > 0
        assert foreground.any()
        assert torch.equal(foreground, best >= iou)
        assert torch.equal(stage.matched[0][foreground], index[foreground])
        assert torch.equal(stage.labels[0][foreground], scene.targets[0]["labels"][index[foreground]])
        assert len(stage.boxes[0]) <= 32
        assert not stage.labels[1].any()
    assert all(boxes.requires_grad is False for stage in samples.stages for boxes in stage.boxes)


def test_form_a_takes_all_drawn_rois_through_all_stages(scene: Scene) -> None:
    branch = cascade()
    _, samples = losses(branch, scene)
    assert [len(stage.boxes[0]) for stage in samples.stages] == [32, 32, 32]
    head, first = branch.heads[0], samples.stages[0]
    output = head(head.pool(scene.features, first.boxes, scene.sizes))
    refined = head.decode(output, first.boxes)[0][:, 0].clamp(min=0)
    refined = torch.minimum(refined, torch.tensor([96.0, 64, 96, 64]))
    torch.testing.assert_close(samples.stages[1].boxes[0], refined)


def test_form_b_has_every_truth_once_in_each_stage(scene: Scene) -> None:
    branch = cascade(**FORM_B)
    for head in branch.heads:
        silence(head.predictor.bbox_pred)  # so that a truth handed on would come back as it was
    _, samples = losses(branch, scene._replace(proposals=[scene.proposals[0][:5], scene.proposals[1]]))
    for stage in samples.stages:
        equal = (stage.boxes[0][:, None] - scene.targets[0]["boxes"]).abs().amax(-1) < 1e-4
        assert equal.sum(0).tolist() == [1, 1, 1]


def test_gradient_into_the_pyramid_is_scaled_and_that_of_the_heads_is_not(scene: Scene) -> None:
    gradients, values = [], []
    for factor in (1.0, 1 / 3):
        branch = cascade(gradient_scale=factor)
        features = {name: level.clone().requires_grad_() for name, level in scene.features.items()}
        found, _ = losses(branch, scene._replace(features=features))
        total = sum(found.values())
        total.backward()
        gradients.append((gradient_of(features["0"]), branch.heads[0].predictor.cls_score.weight.grad))
        values.append(total.item())
    (full, head), (third, same_head) = gradients
    assert values[0] == values[1]
    assert full.abs().max() > 0
    torch.testing.assert_close(third, full / 3)
    torch.testing.assert_close(same_head, head)


def test_scale_gradient_leaves_values() -> None:
    x = torch.randn(3, requires_grad=True)
    y = scale_gradient(x, 0.25)
    assert torch.equal(y, x)
    y.sum().backward()
    assert gradient_of(x).tolist() == [0.25] * 3


def test_later_losses_do_not_reach_earlier_heads(scene: Scene) -> None:
    branch = cascade()
    found, _ = losses(branch, scene)
    (found["loss_box_reg_3"] + found["loss_classifier_3"]).backward()
    assert all(parameter.grad is None for parameter in branch.heads[:2].parameters())


def test_stage_weights_scale_the_losses(scene: Scene) -> None:
    plain, _ = losses(cascade(loss_weights=[1.0, 1.0, 1.0]), scene)
    weighted, _ = losses(cascade(loss_weights=[1.0, 0.5, 0.25]), scene)
    for name, loss in weighted.items():
        factor = {"1": 1.0, "2": 0.5, "3": 0.25}[name[-1]]
        assert loss.item() == pytest.approx(factor * plain[name].item(), rel=1e-6)


def test_boxes_refined_to_nothing_end_training_early_but_stay_in_detection(scene: Scene) -> None:
    branch = cascade()
    silence(branch.heads[0].predictor.bbox_pred)
    with torch.no_grad():
        branch.heads[0].predictor.bbox_pred.bias[0] = 1e4  # far out of the image on the right
    found, samples = losses(branch, scene)
    assert len(samples.stages[1].boxes[0]) == 0
    assert found["loss_classifier_2"] == 0
    sum(found.values()).backward()
    empty = branch.detect(scene.features, scene.proposals, scene.sizes, ALL)
    assert [len(image["boxes"]) for image in empty] == [0, 0]


def test_no_truth_anywhere(scene: Scene) -> None:
    empty = scene._replace(targets=[scene.targets[1]] * 2)
    for form in ({}, FORM_B):
        found, samples = losses(cascade(**form), empty)
        assert all(found[f"loss_box_reg_{stage}"] == 0 for stage in (1, 2, 3))
        assert all(found[f"loss_classifier_{stage}"] > 0 for stage in (1, 2, 3))
        masks = CascadeMaskBranch(partial(MaskHead, 16, 8, 2))
        mask_losses = masks.losses(empty.features, samples, empty.sizes, empty.targets)
        assert [loss.item() for loss in mask_losses.values()] == [0, 0, 0]
        sum_of(mask_losses.values()).backward()
        assert all(parameter.grad is not None for parameter in masks.parameters())


def test_a_plain_mask_branch_trains_on_the_first_stages_rois(scene: Scene) -> None:
    _, samples = losses(cascade(), scene)
    branch = MaskBranch(MaskHead(16, 8, 2))
    loss = branch.losses(scene.features, samples, scene.sizes, scene.targets)["loss_mask"]
    assert loss == branch.losses(scene.features, samples.stages[0], scene.sizes, scene.targets)["loss_mask"]
    assert loss != branch.losses(scene.features, samples.stages[2], scene.sizes, scene.targets)["loss_mask"]


def test_mask_heads_of_form_b_each_learn_from_their_own_stage(scene: Scene) -> None:
    _, samples = losses(cascade(**FORM_B), scene)
    branch = CascadeMaskBranch(partial(MaskHead, 16, 8, 2), [1.0, 0.5, 0.25])
    found = branch.losses(scene.features, samples, scene.sizes, scene.targets)
    for stage, weight in enumerate((1.0, 0.5, 0.25)):
        plain = MaskBranch(branch.heads[stage])  # type: ignore[arg-type]
        expected = plain.losses(scene.features, samples.stages[stage], scene.sizes, scene.targets)["loss_mask"]
        assert found[f"loss_mask_{stage + 1}"].item() == pytest.approx(weight * expected.item(), rel=1e-6)


def test_masks_of_form_b_are_the_mean_of_probabilities(scene: Scene) -> None:
    branch: Any = CascadeMaskBranch(partial(MaskHead, 16, 8, 2))
    for head, levels in zip(branch.heads, ([-1.0, 2.0], [0.0, 4.0], [3.0, -2.0]), strict=True):
        nn.init.zeros_(head.predictor.logits.weight)
        head.predictor.logits.bias.data = torch.tensor(levels)
    detections = [{"boxes": torch.tensor([[4.0, 4, 30, 30]] * 2), "labels": torch.tensor([2, 1])}] * 2
    masks = branch.predict(scene.features, detections, scene.sizes)[0]["mask_probabilities"]
    assert masks.shape == (2, 28, 28)
    for mask, levels in zip(masks, ([2.0, 4.0, -2.0], [-1.0, 0.0, 3.0]), strict=True):
        torch.testing.assert_close(mask, torch.tensor(levels).sigmoid().mean().expand(28, 28))


def test_pinned_losses(scene: Scene) -> None:
    found, _ = losses(cascade(), scene)
    pinned = {"loss_classifier": [1.0149, 1.0336, 0.9933], "loss_box_reg": [0.3193, 0.5214, 0.4701]}
    for name, values in pinned.items():
        assert [found[f"{name}_{stage}"].item() for stage in (1, 2, 3)] == pytest.approx(values, abs=1e-3)


def test_kind_errors(scene: Scene) -> None:
    with pytest.raises(ValueError, match="one length"):
        cascade(ious=[0.5, 0.6])
    with pytest.raises(ValueError, match="class_agnostic"):
        CascadeBoxBranch(partial(BoxHead, 16, 2), SAMPLER)
    branch = CascadeMaskBranch(partial(MaskHead, 16, 8, 2))
    with pytest.raises(ValueError, match="3 mask heads need a CascadeBoxBranch"):
        branch.losses(scene.features, scene.samples, scene.sizes, scene.targets)
