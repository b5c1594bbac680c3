from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from gains.contract import Target
from gains.masks import InstanceCrops
from gains.models.gains import AnomalyBranch, FusionUnit, GAInSMaskBranch, anomaly_loss
from gains.models.mask_rcnn import MaskBranch
from gains.models.parts.roi.mask_head import MaskHead, mask_loss, mask_targets, own_class, roi_targets
from gains.models.parts.roi.mask_refiner import MaskRefiner
from gains.models.parts.roi.sampling import RoISamples
from helpers.scenes import make_decided


def scene() -> tuple[dict[str, torch.Tensor], RoISamples, list[Target]]:
    """Two overlapping squares, one image, three foreground RoIs and one of background."""
    masks = torch.zeros(2, 64, 64, dtype=torch.bool)
    masks[0, 8:40, 8:40] = True
    masks[1, 24:56, 24:56] = True
    crops = InstanceCrops.from_dense(masks)
    anomaly = InstanceCrops(crops.values.float() * 0.5 + 1, crops.boxes, crops.size, 1.0)
    target: Target = {"boxes": crops.boxes.float(), "labels": torch.tensor([1, 2]), "masks": crops, "anomaly": anomaly}
    boxes = torch.tensor([[8.0, 8, 40, 40], [24, 24, 56, 56], [10, 6, 42, 44], [0, 0, 10, 10]])
    matched = torch.tensor([0, 1, 0, 0])
    samples = RoISamples([boxes], [torch.tensor([1, 2, 1, 0])], [matched], [target["boxes"][matched]])
    features = {str(level): torch.randn(1, 16, 64 >> (level + 2), 64 >> (level + 2)) for level in range(4)}
    features["image"] = torch.randn(1, 3, 64, 64)
    return features, samples, [target]


@pytest.mark.parametrize("case", ["two_overlap", "border_cut"])
def test_losses_and_gradients_match_the_published_code(shared: Path, case: str) -> None:
    golden = np.load(shared / "oracles" / "ga_losses" / f"{case}.npz")
    maps = torch.from_numpy(golden["maps"]).float()
    masks = InstanceCrops.from_dense(torch.from_numpy(golden["masks"]) > 0)
    height, width = maps.shape[1:]
    everywhere = torch.tensor([[0, 0, width, height]]).repeat(len(maps), 1)
    anomaly = InstanceCrops.from_crops(list(maps), everywhere, (height, width), background=1.0)
    boxes, instance = (
        torch.from_numpy(golden["roi_boxes_xyxy"]).float(),
        torch.from_numpy(golden["roi_instance"]).long(),
    )
    labels = torch.from_numpy(golden["roi_classes"]).long() + 1
    samples = RoISamples([boxes], [labels], [instance], [boxes])
    target: Any = [{"masks": masks, "anomaly": anomaly}]

    mask_target = mask_targets(samples, target)
    map_target = roi_targets(samples, target, lambda entry: entry["anomaly"])
    assert torch.equal(mask_target, torch.from_numpy(golden["mask_targets"]).float())
    np.testing.assert_allclose(map_target, golden["map_targets"], atol=1e-5)

    logits = torch.from_numpy(golden["mask_logits"]).requires_grad_()
    values = torch.from_numpy(golden["anomaly_logits"]).requires_grad_()
    weighted = mask_loss(logits, labels, mask_target, map_target)
    squared = anomaly_loss(values, labels, map_target)
    assert weighted.item() == pytest.approx(float(golden["loss_mask_weighted"]), abs=1e-6)
    assert mask_loss(logits, labels, mask_target).item() == pytest.approx(float(golden["loss_mask_plain"]), abs=1e-6)
    assert squared.item() == pytest.approx(float(golden["loss_anomaly"]), abs=1e-6)
    (weighted + squared).backward()
    np.testing.assert_allclose(logits.grad, golden["grad_mask_logits"], atol=1e-6)  # type: ignore[arg-type]
    np.testing.assert_allclose(values.grad, golden["grad_anomaly_logits"], atol=1e-6)  # type: ignore[arg-type]


def branch(**settings: Any) -> Any:
    torch.manual_seed(3)
    head, anomaly = MaskHead(16, 16, 2), AnomalyBranch(16, 16, 2, start=settings.pop("start", 1.0))
    refiner = MaskRefiner(16) if settings.pop("refined", False) else None
    return GAInSMaskBranch(head, anomaly if settings.pop("with_anomaly", True) else None, refiner=refiner, **settings)


def test_without_either_part_it_is_mask_rcnn() -> None:
    features, samples, targets = scene()
    ours = branch(with_anomaly=False, reweight=False, mask_weight=1.0)
    theirs = MaskBranch(ours.head)
    sizes = [(64, 64)]
    expected = theirs.losses(features, samples, sizes, targets)["loss_mask"]
    found = ours.losses(features, samples, sizes, targets)
    assert list(found) == ["loss_mask"]
    assert torch.equal(found["loss_mask"], expected)


def test_weights_scale_the_losses() -> None:
    features, samples, targets = scene()
    sizes = [(64, 64)]
    base = branch(mask_weight=1.0, anomaly_weight=1.0).losses(features, samples, sizes, targets)
    scaled = branch(mask_weight=0.75, anomaly_weight=2.0).losses(features, samples, sizes, targets)
    assert scaled["loss_mask"].item() == pytest.approx(0.75 * base["loss_mask"].item(), rel=1e-6)
    assert scaled["loss_anomaly"].item() == pytest.approx(2 * base["loss_anomaly"].item(), rel=1e-6)


def test_flat_anomaly_maps_of_one_leave_the_mask_loss_unweighted() -> None:
    features, samples, targets = scene()
    flat = targets[0]["anomaly"]
    targets[0]["anomaly"] = InstanceCrops(torch.ones_like(flat.values), flat.boxes, flat.size, 1.0)
    weighted = branch(reweight=True).losses(features, samples, [(64, 64)], targets)
    plain = branch(reweight=False).losses(features, samples, [(64, 64)], targets)
    assert weighted["loss_mask"].item() == pytest.approx(plain["loss_mask"].item(), rel=1e-6)


@pytest.mark.parametrize("reweight", [True, False])
def test_coarse_and_refined_masks_have_the_factor_of_the_mask_loss_each(reweight: bool) -> None:
    features, samples, targets = scene()
    coarse = branch(mask_weight=3.0, reweight=reweight).losses(features, samples, [(64, 64)], targets)
    module = branch(mask_weight=3.0, reweight=reweight, refined=True)
    both = module.losses(features, samples, [(64, 64)], targets)
    assert list(both) == ["loss_mask", "loss_refined", "loss_anomaly"]
    assert both["loss_mask"].item() == pytest.approx(coarse["loss_mask"].item(), rel=1e-6)
    positives, labels = samples.positives(), samples.labels[0][:3]
    trunk = module.head.trunk(module.pool(features, positives.boxes, [(64, 64)]))
    own = own_class(module.head.predictor(trunk), labels)
    refined = module.refiner(features["image"], positives.boxes, own, trunk)
    truth = mask_targets(positives, targets, size=56)
    weight = roi_targets(positives, targets, lambda target: target["anomaly"], 56) if reweight else 1.0
    expected = (weight * F.binary_cross_entropy_with_logits(refined, truth, reduction="none")).mean()
    assert both["loss_refined"].item() == pytest.approx(3 * expected.item(), rel=1e-5)


def test_refined_masks_are_those_of_the_detected_class_and_finer() -> None:
    features, samples, _ = scene()
    detections = [{"boxes": samples.boxes[0][:3], "labels": samples.labels[0][:3], "scores": torch.ones(3)}]
    coarse = branch().predict(features, detections, [(64, 64)])[0]["mask_probabilities"]
    refined = branch(refined=True).predict(features, detections, [(64, 64)])[0]["mask_probabilities"]
    finer = F.interpolate(coarse.logit()[:, None], size=(56, 56), mode="bilinear", align_corners=False)[:, 0]
    torch.testing.assert_close(refined, finer.sigmoid())  # untrained: the coarse masks, doubled


def test_anomaly_loss_reaches_the_mask_head() -> None:
    features, samples, targets = scene()
    module = branch()
    module.losses(features, samples, [(64, 64)], targets)["loss_anomaly"].backward()
    assert module.head.trunk[0].weight.grad.abs().sum() > 0
    assert module.head.predictor.logits.weight.grad is None


def test_sampled_anomaly_rois_estimate_the_full_loss() -> None:
    features, samples, targets = scene()
    everything = branch().losses(features, samples, [(64, 64)], targets)
    enough = branch(anomaly_rois_per_image=3).losses(features, samples, [(64, 64)], targets)
    assert enough["loss_anomaly"].item() == pytest.approx(everything["loss_anomaly"].item(), rel=1e-5)
    one = branch(anomaly_rois_per_image=1).losses(features, samples, [(64, 64)], targets)
    assert one["loss_mask"].item() == pytest.approx(everything["loss_mask"].item(), rel=1e-6)


def test_losses_stay_what_they_were() -> None:
    torch.manual_seed(5)
    features, samples, targets = scene()
    module = branch(start=0.0)  # the published form
    make_decided(module)
    found = {name: loss.item() for name, loss in module.losses(features, samples, [(64, 64)], targets).items()}
    assert found == pytest.approx({"loss_mask": 0.85101, "loss_anomaly": 9.26302}, rel=1e-3)


def test_no_foreground_gives_zero_and_keeps_the_graph() -> None:
    features, samples, targets = scene()
    background = RoISamples(samples.boxes, [torch.zeros(4, dtype=torch.int64)], samples.matched, samples.matched_boxes)
    module = branch(refined=True)
    losses = module.losses(features, background, [(64, 64)], targets)
    assert [loss.item() for loss in losses.values()] == [0, 0, 0]
    sum(losses.values()).backward()
    assert all(parameter.grad is not None for parameter in module.parameters())


def test_branch_runs_at_inference_only_where_maps_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    features, samples, _ = scene()
    detections = [{"boxes": samples.boxes[0][:3], "labels": samples.labels[0][:3], "scores": torch.ones(3)}]
    asked, silent = branch(predict_anomaly=True), branch()
    found = asked.predict(features, detections, [(64, 64)])[0]
    assert found["anomaly_maps"].shape == (3, 28, 28)

    def fail(*_: object) -> None:
        raise AssertionError("the anomaly branch ran")

    monkeypatch.setattr(AnomalyBranch, "forward", fail)
    plain = silent.predict(features, detections, [(64, 64)])[0]
    assert torch.equal(plain["mask_probabilities"], found["mask_probabilities"])


def test_fusion_sum_adds_before_the_convolutions() -> None:
    unit = FusionUnit(4, 4, "sum")
    a, b = torch.randn(2, 4, 14, 14), torch.randn(2, 4, 14, 14)
    assert torch.equal(unit(a, b), unit.convs(a + b))
    assert sum(isinstance(layer, torch.nn.Conv2d) for layer in unit.convs) == 3


def test_fusion_concat_is_one_convolution_of_twice_the_width() -> None:
    unit = FusionUnit(4, 6, "concat")
    assert unit(torch.randn(2, 4, 14, 14), torch.randn(2, 6, 14, 14)).shape == (2, 6, 14, 14)
    assert unit.convs[0].weight.shape == (6, 10, 3, 3)


def test_wrong_settings_are_named() -> None:
    with pytest.raises(ValueError, match="fusion='mean'"):
        FusionUnit(4, 4, "mean")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="concat"):
        FusionUnit(4, 6, "sum")
    with pytest.raises(ValueError, match="predict_anomaly"):
        branch(with_anomaly=False, predict_anomaly=True)


def test_own_class_picks_each_rois_map() -> None:
    maps = torch.arange(12.0).reshape(3, 2, 1, 2)
    assert own_class(maps, torch.tensor([1, 2, 1])).flatten().tolist() == [0, 1, 6, 7, 8, 9]


def test_an_untrained_branch_predicts_the_background_of_the_maps() -> None:
    roi, mask = torch.rand(2, 16, 14, 14), torch.rand(2, 16, 14, 14)
    assert (AnomalyBranch(16, 16, 2)(roi, mask) - 1).abs().max() < 0.2
    assert AnomalyBranch(16, 16, 2, start=0.0)(roi, mask).abs().max() < 0.2
