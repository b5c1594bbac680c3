from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from gains.models.cascade_rcnn import CascadeMaskBranch
from gains.models.htc import HTCMaskBranch
from gains.models.parts.roi.box_branch import BoxHead
from gains.models.parts.roi.cascade import CascadeBoxBranch
from gains.models.parts.roi.mask_head import MaskHead
from gains.models.parts.roi.sampling import RoISampler
from helpers.scenes import Scene, make_decided

HEAD = partial(MaskHead, 16, 8, 2, convs=2)


def branch() -> Any:
    torch.manual_seed(11)
    return HTCMaskBranch(HEAD, 16, 8)


def boxes(interleaved: bool) -> Any:
    torch.manual_seed(11)
    return CascadeBoxBranch(
        partial(BoxHead, 16, 2, width=32, class_agnostic=True),
        partial(RoISampler, rois_per_image=32),
        loss_weights=[1.0, 0.5, 0.25],
        resample=True,
        gradient_scale=1.0,
        interleaved=interleaved,
    )


def drawn(scene: Scene, interleaved: bool) -> Any:
    torch.manual_seed(5)
    return boxes(interleaved).losses(scene.features, scene.proposals, scene.sizes, scene.targets)


def silence_flow(module: Any) -> None:
    for conv in module.flow:
        nn.init.zeros_(conv.weight)
        nn.init.zeros_(conv.bias)


def test_without_flow_and_interleaving_it_is_cascade_b(scene: Scene) -> None:
    ours = branch()
    theirs = CascadeMaskBranch(HEAD)
    theirs.heads.load_state_dict(ours.heads.state_dict())
    _, samples = drawn(scene, interleaved=False)
    given = (scene.features, samples, scene.sizes, scene.targets)
    detections = [{"boxes": scene.samples.boxes[0][:3], "labels": scene.samples.labels[0][:3]}] * 2
    expected = theirs.losses(*given)
    masks = theirs.predict(scene.features, detections, scene.sizes)[0]["mask_probabilities"]
    flowing = ours.losses(*given)
    assert flowing["loss_mask_1"] == expected["loss_mask_1"], "the first stage has nobody to listen to"
    assert flowing["loss_mask_2"] != expected["loss_mask_2"]
    silence_flow(ours)
    assert ours.losses(*given) == expected
    assert torch.equal(ours.predict(scene.features, detections, scene.sizes)[0]["mask_probabilities"], masks)


def test_flow_follows_the_equations() -> None:
    module, pooled = branch(), torch.randn(3, 16, 14, 14)
    first = module.heads[0].trunk(pooled)
    second = module.heads[1].trunk(pooled + module.flow[0](first).relu())
    third = module.heads[2].trunk(pooled + module.flow[1](second).relu())
    expected = [head.predictor(mask) for head, mask in zip(module.heads, (first, second, third), strict=True)]
    for stage, logits in enumerate(module.all_logits(pooled)):
        assert torch.equal(logits, expected[stage])
        assert torch.equal(module.stage_logits(pooled, stage), expected[stage])


def test_the_last_mask_loss_teaches_all_heads_convolutions_but_only_its_own_predictor(scene: Scene) -> None:
    module = branch()
    _, samples = drawn(scene, interleaved=True)
    module.losses(scene.features, samples, scene.sizes, scene.targets)["loss_mask_3"].backward()
    assert all(head.trunk[0].weight.grad.abs().sum() > 0 for head in module.heads)
    assert [head.predictor.logits.weight.grad is None for head in module.heads] == [True, True, False]


def test_interleaved_mask_heads_work_on_refined_boxes(scene: Scene) -> None:
    branch = boxes(interleaved=True)
    branch.samplers = [RoISampler(1000, 1.0, iou) for iou in (0.5, 0.6, 0.7)]  # draws all there is
    plain_losses, given = drawn(scene, interleaved=False)
    found, samples = branch.losses(scene.features, scene.proposals, scene.sizes, scene.targets)
    head = branch.heads[0]
    entered = [torch.cat([box, t["boxes"]]) for box, t in zip(scene.proposals, scene.targets, strict=True)]
    output = head(head.pool(scene.features, entered, scene.sizes))
    count = len(scene.proposals[0])
    refined = head.decode(output, entered)[0][:count, 0].clamp(min=0).minimum(torch.tensor([96.0, 64, 96, 64]))
    refined = refined[(refined[:, 2:] > refined[:, :2]).all(1)]
    expected = torch.cat([refined, scene.targets[0]["boxes"]])
    torch.testing.assert_close(samples.stages[0].boxes[0], expected)
    torch.testing.assert_close(samples.boxes[0], entered[0])
    assert set(found) == set(plain_losses)
    assert given.stages[0].boxes[0] is given.boxes[0]


def test_pinned_losses(scene: Scene) -> None:
    _, samples = drawn(scene, interleaved=True)
    module = branch()
    make_decided(module)
    found = module.losses(scene.features, samples, scene.sizes, scene.targets)
    assert [found[f"loss_mask_{stage}"].item() for stage in (1, 2, 3)] == pytest.approx(
        [0.58393, 0.37100, 0.27847], rel=1e-3
    )


def test_no_truth_anywhere_keeps_the_chain_in_the_graph(scene: Scene) -> None:
    empty = scene._replace(targets=[scene.targets[1]] * 2)
    _, samples = drawn(empty, interleaved=True)
    module = branch()
    found = module.losses(empty.features, samples, empty.sizes, empty.targets)
    assert [loss.item() for loss in found.values()] == [0, 0, 0]
    sum(found.values()).backward()
    assert all(parameter.grad is not None for parameter in module.parameters())
