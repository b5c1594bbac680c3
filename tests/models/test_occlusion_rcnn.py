import pytest
import torch
from torch import Tensor

from gains.models.mask_rcnn import MaskBranch
from gains.models.occlusion_rcnn import OcclusionMaskBranch, invisible_logits
from gains.models.parts.roi.mask_head import MaskHead
from gains.models.parts.roi.sampling import RoISamples
from helpers.checked import gradient_of, sum_of
from helpers.scenes import Scene, make_decided


def branch() -> OcclusionMaskBranch:
    torch.manual_seed(3)
    return OcclusionMaskBranch(MaskHead(16, 8, 2), MaskHead(16, 8, 2))


def losses(module: MaskBranch, scene: Scene) -> dict[str, Tensor]:
    return module.losses(scene.features, scene.samples, scene.sizes, scene.targets)


def test_invisible_logits() -> None:
    whole = torch.tensor([10.0, 10.0, -10.0, 3.0])
    visible = torch.tensor([10.0, -10.0, -10.0, 0.0])
    probability = invisible_logits(whole, visible).sigmoid()
    assert probability[0] == 0.5  # visible region
    assert probability[1] > 0.99  # hidden region
    assert probability[2] < 0.01  # background, although its visible logit is far below 0
    random = torch.randn(100)
    assert torch.equal(invisible_logits(random, -torch.rand(100)), random)


def test_whole_mask_learns_as_in_mask_rcnn(scene: Scene) -> None:
    module = branch()
    assert losses(module, scene)["loss_mask"] == losses(MaskBranch(module.head), scene)["loss_mask"]


def test_each_loss_is_the_cross_entropy_of_its_target(scene: Scene) -> None:
    """Constant logits and RoIs on the instances' own boxes: losses follow from areas alone."""
    module = branch()
    for head, levels in ((module.head, [1.0, -1.0]), (module.visible_head, [0.4, 0.0])):
        torch.nn.init.zeros_(head.predictor.logits.weight)
        assert head.predictor.logits.bias is not None
        head.predictor.logits.bias.data = torch.tensor(levels)
    first = RoISamples(*([part[0][:1], part[1][:0]] for part in vars(scene.samples).values()))
    found = losses(module, scene._replace(samples=first))
    # Square 8..40 loses 24..40 x 24..40 to its neighbour, a quarter; its nucleus takes nothing.
    for name, logit, share in (("loss_mask", 1.0, 1.0), ("loss_visible", 0.4, 0.75), ("loss_invisible", 0.6, 0.25)):
        level = torch.tensor(logit)
        expected = -(share * level.sigmoid().log() + (1 - share) * (-level).sigmoid().log())
        assert found[name].item() == pytest.approx(expected.item(), abs=2e-3)


def test_visible_head_learns_from_invisible_loss(scene: Scene) -> None:
    module = branch()
    losses(module, scene)["loss_invisible"].backward()
    assert gradient_of(module.head.predictor.logits.weight).abs().sum() > 0
    assert gradient_of(module.visible_head.predictor.logits.weight).abs().sum() > 0


def test_prediction_has_all_three_masks_of_the_detected_class(scene: Scene) -> None:
    module = branch()
    detections = [
        {"boxes": scene.samples.boxes[0][:3], "labels": torch.tensor([2, 1, 2])},
        {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)},
    ]
    found, none = module.predict(scene.features, detections, scene.sizes)
    pooled = module.pool(scene.features, [entry["boxes"] for entry in detections], scene.sizes)
    rows, channel = torch.arange(3), torch.tensor([1, 0, 1])
    whole, visible = module.head(pooled)[rows, channel], module.visible_head(pooled)[rows, channel]
    assert torch.equal(found["mask_probabilities"], whole.sigmoid())
    assert torch.equal(found["visible_probabilities"], visible.sigmoid())
    assert torch.equal(found["invisible_probabilities"], (whole - visible.clamp(min=0)).sigmoid())
    assert none["invisible_probabilities"].shape == (0, 28, 28)


def test_no_foreground_gives_zero_and_keeps_the_graph(scene: Scene) -> None:
    nothing = RoISamples(*([part[1], part[1]] for part in vars(scene.samples).values()))
    module = branch()
    found = losses(module, scene._replace(samples=nothing))
    assert [loss.item() for loss in found.values()] == [0, 0, 0]
    sum_of(found.values()).backward()
    assert all(parameter.grad is not None for parameter in module.parameters())


def test_pinned_losses(scene: Scene) -> None:
    module = branch()
    make_decided(module)
    found = losses(module, scene)
    pinned = {"loss_mask": 0.73774, "loss_visible": 0.80132, "loss_invisible": 0.77906}
    assert {name: loss.item() for name, loss in found.items()} == pytest.approx(pinned, rel=1e-3)
