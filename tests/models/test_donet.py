from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gains.masks import InstanceCrops
from gains.models.donet import (
    DoNet,
    DoNetMaskBranch,
    Parts,
    _join,
    attend,
    attention_maps,
    hard_consistency,
    soft_consistency,
)
from gains.models.mask_rcnn import MaskBranch
from gains.models.parts.roi.amodal import VisibleMasks
from gains.models.parts.roi.mask_head import MaskHead
from gains.models.parts.roi.masks import RoIMasks, paste_sum
from gains.models.parts.roi.sampling import RoISamples
from gains.operating_point import OperatingPoint
from helpers.checked import gradient_of, sum_of
from helpers.scenes import Scene, make_decided

TINY = [
    "model/size=small",
    "augmentation.test_short_side=64",
    "model.width={fpn: 16, box: 16, mask: 16}",
    "model.rois_per_image=16",
    "model.proposals={pre_nms: [60, 60], post_nms: [30, 30]}",
]


def branch(**settings: Any) -> Any:
    torch.manual_seed(3)
    return DoNetMaskBranch(MaskHead(16, 8, 2), MaskHead(16, 8, 2), MaskHead(16, 8, 2), 16, 8, **settings)


def losses(module: MaskBranch, scene: Scene) -> dict[str, Tensor]:
    return module.losses(scene.features, scene.samples, scene.sizes, scene.targets)


def parts(complement: Tensor, intersection: Tensor, whole: Tensor) -> Parts:
    return Parts(whole, intersection, complement, whole)


# Decomposition and recombination


def test_coarse_mask_is_mask_rcnns(scene: Scene) -> None:
    module = branch()
    expected = losses(MaskBranch(module.head), scene)["loss_mask"]
    assert losses(module, scene)["loss_mask_coarse"].item() == pytest.approx(0.75 * expected.item(), rel=1e-6)


def test_masks_follow_the_published_graph() -> None:
    module, pooled = branch(), torch.randn(3, 16, 14, 14)
    widths = {
        name: [layer.out_channels for layer in getattr(module, name) if isinstance(layer, nn.Conv2d)]
        for name in ("guide_intersection", "guide_complement", "fusion")
    }
    assert widths == {"guide_intersection": [24, 24, 16], "guide_complement": [24, 24, 16], "fusion": [32, 32, 16]}
    coarse = module.head.trunk(pooled)
    guided = torch.cat([pooled, coarse], 1)
    hidden = module.intersection.trunk(module.guide_intersection(guided))
    own = module.complement.trunk(module.guide_complement(guided))
    refined = module.head(module.fusion(torch.cat([pooled, hidden, own], 1)))
    drawn = module.draw(pooled)
    assert torch.equal(drawn.coarse, module.head(pooled))
    assert torch.equal(drawn.intersection, module.intersection.predictor(hidden))
    assert torch.equal(drawn.complement, module.complement.predictor(own))
    assert torch.equal(drawn.whole, refined)


def test_one_head_learns_from_coarse_and_refined_mask(scene: Scene) -> None:
    def gradient(*names: str) -> Tensor:
        module = branch()
        found = losses(module, scene)
        sum_of(found[name] for name in names).backward()
        return module.head.trunk[0].weight.grad  # type: ignore[no-any-return]

    coarse, refined = gradient("loss_mask_coarse"), gradient("loss_mask")
    assert coarse.abs().sum() > 0
    assert refined.abs().sum() > 0
    torch.testing.assert_close(gradient("loss_mask_coarse", "loss_mask"), coarse + refined)


def test_each_loss_is_the_cross_entropy_of_its_target(scene: Scene) -> None:
    """Constant logits and a RoI on the instance's own box: losses follow from areas alone."""
    module = branch()
    for head, level in ((module.head, 1.0), (module.intersection, 0.6), (module.complement, 0.4)):
        nn.init.zeros_(head.predictor.logits.weight)
        nn.init.constant_(head.predictor.logits.bias, level)
    first = RoISamples(*([part[0][:1], part[1][:0]] for part in vars(scene.samples).values()))
    found = losses(module, scene._replace(samples=first))
    expected = {"loss_mask": (1.0, 1.0), "loss_intersection": (0.6, 0.25), "loss_complement": (0.4, 0.75)}
    for name, (level, share) in expected.items():
        logit = torch.tensor(level)
        entropy = -(share * logit.sigmoid().log() + (1 - share) * (-logit).sigmoid().log())
        assert found[name].item() == pytest.approx(entropy.item(), abs=2e-3)
    # Both parts cover everything, so nothing is left of their exclusive-or; the whole mask covers everything too.
    assert found["loss_consistency"].item() == pytest.approx(0.00125 * 100)


def test_hard_consistency_is_the_cross_entropy_of_binary_maps_and_has_no_gradient() -> None:
    complement, hidden, whole = torch.randn(3, 4, 6, 6, requires_grad=True)
    expected = F.binary_cross_entropy(((complement > 0) ^ (hidden > 0)).float(), (whole > 0).float())
    found = hard_consistency(parts(complement, hidden, whole))
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    assert found > 1
    assert not found.requires_grad


def test_soft_consistency_is_the_hard_one_on_certain_masks_and_has_a_gradient() -> None:
    complement, hidden, whole = torch.randn(3, 4, 6, 6).sign() * 100
    logits = parts(complement, hidden, whole)
    disagree = hard_consistency(logits) / 100
    assert soft_consistency(logits).item() == pytest.approx(disagree.item() * -np.log(1e-6), rel=1e-2)
    complement, whole = (torch.zeros(1, 2, 2, requires_grad=True) for _ in range(2))
    hidden = torch.full((1, 2, 2), -1.0)
    soft_consistency(parts(complement, hidden, whole + 2)).backward()
    assert (gradient_of(complement) < 0).all(), "where the whole mask is likely and nothing shared, it grows"
    assert whole.grad is None


def test_soft_consistency_is_least_where_parts_make_up_the_whole() -> None:
    whole = torch.tensor([[3.0, 3.0, -3.0]])
    right = soft_consistency(parts(torch.tensor([[3.0, -9, -9]]), torch.tensor([[-9.0, 3, -3]]), whole))
    wrong = soft_consistency(parts(torch.tensor([[3.0, 9, -9]]), torch.tensor([[-9.0, 3, -3]]), whole))
    assert right < wrong


def test_effective_guidance_is_one_convolution() -> None:
    one, three = branch(chained_guidance=False), branch()
    assert one.guide_intersection[0].weight.shape == (16, 24, 3, 3)
    assert len(one.guide_intersection) == 2
    assert len(three.guide_intersection) == 6


def test_no_foreground_gives_zero_and_keeps_the_graph(scene: Scene) -> None:
    nothing = RoISamples(*([part[1], part[1]] for part in vars(scene.samples).values()))
    for kind in ("hard", "soft"):
        module = branch(consistency=kind)
        found = losses(module, scene._replace(samples=nothing))
        assert [loss.item() for loss in found.values()] == [0] * 5
        sum_of(found.values()).backward()
        assert all(parameter.grad is not None for parameter in module.parameters())


def test_pinned_losses(scene: Scene) -> None:
    module = branch()
    make_decided(module)
    found = {name: loss.item() for name, loss in losses(module, scene).items()}
    module.consistency = "soft"
    found["soft"] = losses(module, scene)["loss_consistency"].item()
    pinned = {
        "loss_mask_coarse": 0.53757,
        "loss_intersection": 0.57423,
        "loss_complement": 0.98328,
        "loss_mask": 0.73522,
        "loss_consistency": 0.04672,
        "soft": 0.00087739,
    }
    assert found == pytest.approx(pinned, rel=1e-3)


def test_unknown_consistency() -> None:
    with pytest.raises(ValueError, match="consistency='xor' is unknown"):
        branch(consistency="xor")


# Attention


@pytest.mark.parametrize("stride", [1, 4])
def test_pasted_sum_is_the_sum_of_masks_pasted_one_by_one(stride: int) -> None:
    boxes = torch.tensor([[2.3, 4.1, 30.7, 40.2], [-3.0, 10, 21, 90], [20.5, 0, 60, 12.5], [50, 50, 50, 50]])
    binary = (torch.rand(4, 28, 28) > 0.5).float()
    binary[:, ::2] = 1
    pasted = paste_sum(binary, boxes, (80 // stride, 64 // stride), stride)
    for index in range(4):
        alone = paste_sum(binary[index : index + 1], boxes[index : index + 1], pasted.shape, stride)  # type: ignore[arg-type]
        pasted = pasted - alone
        mask = RoIMasks(binary[index : index + 1], boxes[index : index + 1], (80, 64)).paste().dense()[0].bool()
        sure = (alone - 0.5).abs() > 1e-4
        assert torch.equal((alone > 0.5)[sure], mask[::stride, ::stride][sure])
    torch.testing.assert_close(pasted, torch.zeros_like(pasted), atol=1e-5, rtol=0)


def pyramid(height: int = 64, width: int = 96, images: int = 2) -> dict[str, Tensor]:
    sizes = {"0": 4, "1": 8, "2": 16, "3": 32, "pool": 64}
    return {name: torch.ones(images, 3, -(-height // step), -(-width // step)) for name, step in sizes.items()}


def test_attention_is_a_half_without_cells_and_one_in_them() -> None:
    logits = [torch.full((1, 28, 28), 20.0), torch.zeros(0, 28, 28)]
    boxes = [torch.tensor([[16.0, 8, 48, 32]]), torch.zeros(0, 4)]
    attention = attention_maps(logits, boxes, pyramid())
    assert attention.shape == (2, 1, 16, 24)
    expected = torch.full((16, 24), 0.5)
    expected[2:8, 4:12] = 1
    torch.testing.assert_close(attention[0, 0], expected)
    assert (attention[1] == 0.5).all()


def test_negative_logits_count_nothing_and_overlapping_cells_add_up() -> None:
    def of(*levels: float) -> Tensor:
        logits = torch.tensor(levels).view(-1, 1, 1).expand(-1, 28, 28)
        return attention_maps([logits], [torch.tensor([[0.0, 0, 32, 32]] * len(levels))], pyramid(images=1))

    alone, pair, against = of(1.0), of(1.0, 2.0), of(1.0, -5.0)
    assert alone[0, 0, 2, 2].item() == pytest.approx(torch.tensor(1.0).sigmoid().item())
    assert pair[0, 0, 2, 2].item() == pytest.approx(torch.tensor(3.0).sigmoid().item())
    assert torch.equal(alone, against)


def test_every_level_is_weighted_where_the_cells_are() -> None:
    attention = attention_maps([torch.full((1, 28, 28), 20.0)], [torch.tensor([[64.0, 0, 96, 64]])], pyramid(images=1))
    attended = attend(pyramid(images=1), attention)
    for name, columns in (("0", 16), ("1", 8), ("2", 4), ("3", 2)):
        assert torch.allclose(attended[name][..., :columns], torch.tensor(0.5))
        assert torch.allclose(attended[name][..., columns:], torch.tensor(1.0))
    assert attended["pool"].shape == (1, 3, 1, 2)


# Mask-guided region proposal


@pytest.fixture
def cells() -> tuple[list[Tensor], list[Any]]:
    """Two cells that overlap, a nucleus in one; a second, smaller image without anything."""
    masks = torch.zeros(3, 64, 96, dtype=torch.bool)
    masks[0, 8:50, 8:50] = True
    masks[1, 20:60, 40:90] = True
    masks[2, 20:36, 16:32] = True
    crops, labels = InstanceCrops.from_dense(masks), torch.tensor([1, 1, 2])
    targets = []
    for rows in ([0, 1, 2], []):
        some: Any = {"boxes": crops.boxes[rows].float(), "labels": labels[rows], "masks": crops.select(rows)}
        targets.append({**some, "visible_masks": VisibleMasks(1)(some["masks"], some["labels"])})
    return [torch.rand(3, 64, 96), torch.rand(3, 60, 64)], targets


@pytest.mark.parametrize(
    ("num_classes", "target_label", "mrp", "expected"),
    [
        (1, 1, "null", False),
        (2, None, "null", False),
        (2, 1, "null", True),
        (2, 1, "false", False),
        (3, 2, "true", True),
    ],
)
def test_second_path_where_one_category_lies_in_the_other(
    build: Callable[..., Any], num_classes: int, target_label: int | None, mrp: str, expected: bool
) -> None:
    with torch.device("meta"):
        model = build("donet", *TINY, f"model.network.mrp={mrp}", num_classes=num_classes, target_label=target_label)
    assert (model.inner is not None) is expected


def test_mrp_needs_a_containing_category(build: Callable[..., Any]) -> None:
    with pytest.raises(Exception, match="mrp=true needs a target category"):
        build("donet", *TINY, "model.network.mrp=true")


def test_paths_share_no_weights(build: Callable[..., Any]) -> None:
    model = build("donet", *TINY, target_label=1)
    first = {parameter.data_ptr() for part in (model.rpn, model.box, model.mask) for parameter in part.parameters()}
    second = {parameter.data_ptr() for parameter in model.inner.parameters()}
    assert len(first) == len(second)
    assert not first & second


def test_each_path_takes_the_others_category_for_background(
    build: Callable[..., Any], cells: tuple[list[Tensor], list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build("donet", *TINY, target_label=1).train()
    seen = []
    for path in (model, model.inner):
        original = path.box.losses

        def spy(features, proposals, sizes, targets, original=original):  # type: ignore[no-untyped-def]
            found, samples = original(features, proposals, sizes, targets)
            seen.append((targets[0]["labels"].tolist(), set(torch.cat(samples.labels).tolist()), samples))
            return found, samples

        monkeypatch.setattr(path.box, "losses", spy)
    images, targets = cells
    found = model(images, targets)
    (labels, drawn, samples), (inner_labels, inner_drawn, _) = seen
    assert (labels, drawn) == ([1, 1, 0], {0, 1})
    assert (inner_labels, inner_drawn) == ([0, 0, 2], {0, 2})
    nucleus = (samples.boxes[0] == targets[0]["boxes"][2]).all(1)
    assert not samples.labels[0][nucleus].any(), "a nucleus is a hard negative of the path that finds cells"
    assert targets[0]["labels"].tolist() == [1, 1, 2]
    inner = {name.removesuffix("_inner") for name in found if name.endswith("_inner")}
    assert inner == {name for name in found if not name.endswith("_inner")}


def test_nuclei_teach_cell_masks_through_the_attention(
    build: Callable[..., Any], cells: tuple[list[Tensor], list[Any]]
) -> None:
    model = build("donet", *TINY, target_label=1).train()
    make_decided(model)
    found = model(*cells)
    sum(loss for name, loss in found.items() if name.endswith("_inner")).backward()
    assert model.mask.head.predictor.logits.weight.grad.abs().sum() > 0
    assert model.backbone.fpn.layer_blocks[0][0].weight.grad.abs().sum() > 0
    assert all(parameter.grad is not None for parameter in model.inner.parameters())


def test_detections_of_both_paths_are_joined_best_first(
    build: Callable[..., Any], cells: tuple[list[Tensor], list[Any]]
) -> None:
    model = build("donet", *TINY, target_label=1).eval()
    with torch.no_grad():
        model.operating_point = OperatingPoint(max_detections=1000)
        batch = model.transform(cells[0])
        alone = super(DoNet, model).detect(batch, model.backbone(batch.tensors), model.operating_point)
        found = model(cells[0])
        model.operating_point = OperatingPoint(max_detections=25)
        best = model(cells[0])
    for first_path, image, capped in zip(alone, found, best, strict=True):
        assert set(image["labels"].tolist()) == {1, 2}
        assert (image["scores"].diff() <= 0).all()
        mine, theirs = image["labels"] == 1, first_path["labels"] == 1
        torch.testing.assert_close(image["scores"][mine], first_path["scores"][theirs])
        torch.testing.assert_close(image["masks"].probabilities[mine], first_path["mask_probabilities"][theirs])
        assert len(capped["masks"]) == 25
        assert (capped["scores"].diff() <= 0).all()


def test_joining_keeps_the_best_of_both_paths() -> None:
    first = {"scores": torch.tensor([0.9, 0.4]), "labels": torch.tensor([1, 1])}
    second = {"scores": torch.tensor([0.8, 0.3]), "labels": torch.tensor([2, 2])}
    assert _join(first, second, 3)["labels"].tolist() == [1, 2, 1]
