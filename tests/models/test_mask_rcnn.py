"""The whole of Mask R-CNN beside torchvision's, with the same weights."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor

from gains.models.mask_rcnn import MaskBranch
from gains.models.parts.roi.mask_head import MaskHead
from gains.models.weights import load_weights
from gains.operating_point import OperatingPoint
from helpers.scenes import Scene, make_decided

SIDE = 128
SMALL = [
    "model.width={fpn: 32, box: 48, mask: 24}",
    "model.norm=frozen",
    f"augmentation.test_short_side={SIDE}",
]


@pytest.fixture
def network(build: Callable[..., nn.Module]) -> nn.Module:
    torch.manual_seed(5)
    return build("mask_rcnn", *SMALL)


def torchvisions(backbone: BackboneWithFPN) -> MaskRCNN:
    """Torchvision's detector with the settings of model/size=small and heads as thin as ours."""
    return MaskRCNN(
        backbone,
        box_head=TwoMLPHead(32 * 7**2, 48),
        box_predictor=FastRCNNPredictor(48, 3),
        mask_head=MaskRCNNHeads(32, (24,) * 4, 1),
        mask_predictor=MaskRCNNPredictor(24, 24, 3),
        min_size=SIDE,
        max_size=1333,
        rpn_anchor_generator=AnchorGenerator(tuple((side,) for side in (16, 32, 64, 128, 256)), ((0.5, 1.0, 2.0),) * 5),
        rpn_pre_nms_top_n_test=300,
        rpn_post_nms_top_n_test=300,
        box_score_thresh=0.3,
        box_detections_per_img=100,
    )


def test_detections_are_torchvisions(network: Any, tmp_path: Any) -> None:
    theirs = torchvisions(network.backbone).eval()
    for name, parameter in theirs.named_parameters():
        if name.endswith(("cls_logits.weight", "cls_score.weight", "bbox_pred.weight", "mask_fcn_logits.weight")):
            parameter.data *= 20  # scores far apart, so that rounding decides nothing
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    load_weights(network, str(tmp_path / "theirs.pth"), "resnet18")
    # Theirs has a mask channel for background, which nothing reads.
    logits = theirs.roi_heads.mask_predictor.mask_fcn_logits
    network.mask.head.predictor.logits.weight.data = logits.weight.data[1:]
    network.mask.head.predictor.logits.bias.data = logits.bias.data[1:]
    images = [torch.rand(3, 100, 140), torch.rand(3, 160, SIDE)]
    with torch.no_grad():
        network.operating_point = OperatingPoint(min_score=0.3)
        found = network.eval()(images)
        batch, _ = theirs.transform(images)
        features = theirs.backbone(batch.tensors)
        raw, _ = theirs.roi_heads(features, theirs.rpn(batch, features)[0], batch.image_sizes)
        expected = theirs(images)
    for ours, grids, reference in zip(found, raw, expected, strict=True):
        assert len(reference["scores"]) > 5
        assert torch.equal(ours["labels"], reference["labels"])
        torch.testing.assert_close(ours["boxes"], reference["boxes"], atol=1e-3, rtol=0)
        torch.testing.assert_close(ours["scores"], reference["scores"], atol=1e-5, rtol=0)
        torch.testing.assert_close(ours["masks"].probabilities, grids["masks"][:, 0], atol=1e-4, rtol=0)


def test_losses_stay_what_they_were(network: Any, scene: Scene) -> None:
    images = [torch.rand(3, 64, 96), torch.rand(3, 60, 90)]
    make_decided(network)
    losses = network.train()(images, scene.targets)
    expected = {
        "loss_objectness": 0.68911,
        "loss_rpn_box_reg": 0.03088,
        "loss_classifier": 1.17516,
        "loss_box_reg": 0.30918,
        "loss_mask": 7.26951,
    }
    assert {name: loss.item() for name, loss in losses.items()} == pytest.approx(expected, rel=1e-3)


def test_masks_are_those_of_the_detected_class(scene: Scene) -> None:
    branch: Any = MaskBranch(MaskHead(16, 8, 2))
    branch.head.predictor.logits.bias.data = torch.tensor([1.0, -2.0])
    nn.init.zeros_(branch.head.predictor.logits.weight)
    detections = [
        {"boxes": scene.samples.boxes[0][:3], "labels": torch.tensor([2, 1, 2])},
        {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)},
    ]
    first, second = branch.predict(scene.features, detections, scene.sizes)
    expected = torch.tensor([-2.0, 1.0, -2.0]).sigmoid()
    torch.testing.assert_close(first["mask_probabilities"], expected[:, None, None].expand(3, 28, 28))
    assert second["mask_probabilities"].shape == (0, 28, 28)


def test_at_inference_there_are_enough_proposals_for_what_may_be_kept(build: Callable[..., Any]) -> None:
    few = ("model.proposals={pre_nms: [20, 20], post_nms: [20, 20]}", "augmentation.test_short_side=128")
    network = build("mask_rcnn", "model.width={fpn: 16, box: 16, mask: 16}", *few)
    assert (network.rpn.train().pre_nms_top_n(), network.rpn.post_nms_top_n()) == (20, 20)
    proposed: list[int] = []

    def detect(features: Any, proposals: list[Tensor], *_: Any) -> list[dict[str, Tensor]]:
        proposed.append(len(proposals[0]))
        return [{"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64), "scores": torch.zeros(0)}]

    network.box.detect = detect
    for cap in (5, 20, 50):
        network.operating_point = OperatingPoint(max_detections=cap)
        network.eval()([torch.rand(3, 128, 128)])
    assert proposed[0] == 20
    assert 20 < proposed[1] <= 60 < proposed[2] <= 150
    assert network.rpn.train().post_nms_top_n() == 20
