from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F
from torchvision.models.detection.roi_heads import fastrcnn_loss
from torchvision.ops import FrozenBatchNorm2d, MultiScaleRoIAlign, box_iou

from gains.models.mask_rcnn import MaskBranch
from gains.models.parts.backbone import BatchNorm, FrozenNorm
from gains.models.parts.detections import add_rows, keep_detections, split_detections
from gains.models.parts.roi.box_branch import BoxBranch, BoxHead, BoxOutput, roi_pooler
from gains.models.parts.roi.mask_head import MaskHead, MaskPredictor, mask_loss, mask_targets, own_class
from gains.models.parts.roi.masks import RoIMasks, paste_maps
from gains.models.parts.roi.rpn import anchor_iou, build_rpn
from gains.models.parts.roi.sampling import RoISampler, match
from gains.models.parts.transform import ImageTransform, rescale_boxes
from gains.operating_point import OperatingPoint


def random_boxes(count: int, side: float = 60) -> Tensor:
    corner = torch.rand(count, 2) * side * 0.6
    return torch.cat([corner, corner + side * (0.1 + 0.3 * torch.rand(count, 2))], dim=1)


@pytest.mark.parametrize("count", [0, 1, 16, 37])
def test_overlaps_with_anchors_block_by_block(count: int) -> None:
    truth, anchors = random_boxes(count), random_boxes(50)
    assert torch.equal(anchor_iou(truth, anchors), box_iou(truth, anchors))
    assert build_rpn(8).box_similarity is anchor_iou


def test_mask_predictor_is_a_transposed_and_a_1x1_convolution() -> None:
    predictor = MaskPredictor(6, 3).double()
    torch.nn.init.normal_(predictor.upsample.bias)  # type: ignore[arg-type]
    torch.nn.init.normal_(predictor.logits.weight)
    torch.nn.init.normal_(predictor.logits.bias)  # type: ignore[arg-type]
    layers = list(predictor.parameters())
    features = torch.randn(5, 6, 4, 7, dtype=torch.float64, requires_grad=True)
    ours, theirs = predictor(features), predictor.logits(predictor.upsample(features).relu())
    torch.testing.assert_close(ours, theirs)
    weight = torch.randn_like(ours)
    for one, other in zip(
        torch.autograd.grad((ours * weight).sum(), [features, *layers]),
        torch.autograd.grad((theirs * weight).sum(), [features, *layers]),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_frozen_norm_is_torchvisions_in_place_and_keeps_the_precision() -> None:
    theirs = FrozenBatchNorm2d(5)
    for buffer in theirs.buffers():
        buffer.uniform_(0.5, 2)
    ours = FrozenNorm(5)
    ours.load_state_dict(theirs.state_dict())
    features = torch.randn(2, 5, 3, 4)
    given = features.clone()
    torch.testing.assert_close(ours(given), theirs(features))
    assert torch.equal(given, ours(features.clone()))
    assert ours(features.bfloat16()).dtype == torch.bfloat16


def test_boxes_match_the_ground_truth_of_highest_iou() -> None:
    boxes = random_boxes(80)
    target: Any = {"boxes": random_boxes(6), "labels": torch.tensor([1, 2, 3, 1, 2, 3])}
    found = match([boxes], [target], 0.4)
    overlaps = box_iou(boxes, target["boxes"])
    for row in range(80):
        best = int(overlaps[row].argmax())
        if overlaps[row, best] >= 0.4:
            assert found.labels[0][row] == target["labels"][best]
            assert found.matched[0][row] == best
            assert torch.equal(found.matched_boxes[0][row], target["boxes"][best])
        else:
            assert found.labels[0][row] == 0
    assert 5 < (found.labels[0] > 0).sum() < 75


def test_without_ground_truth_all_is_background() -> None:
    target: Any = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    found = RoISampler(16)([random_boxes(40)], [target])
    assert found.labels[0].tolist() == [0] * 16
    assert len(found.positives().boxes[0]) == 0


def test_sample_is_balanced_and_holds_the_ground_truth(scene: Any) -> None:
    truth = scene.targets[0]["boxes"]
    drawn = RoISampler(40)(scene.proposals, scene.targets)
    assert [len(boxes) for boxes in drawn.boxes] == [40, 30]
    assert (drawn.labels[0] > 0).sum() == 10
    everything = RoISampler(1000, 1.0)(scene.proposals, scene.targets).positives().boxes[0]
    assert all((everything == box).all(1).any() for box in truth)
    without = RoISampler(1000, 1.0, add_truth=False)(scene.proposals, scene.targets).positives().boxes[0]
    assert len(without) == len(everything) - len(truth)


def naive_filter(boxes: Tensor, probabilities: Tensor, size: tuple[int, int]) -> list[tuple[float, int, int]]:
    """Score, label and row of the detections: clip, cut, NMS one box at a time."""
    height, width = size
    clipped = boxes.clone()
    clipped[..., 0::2] = clipped[..., 0::2].clamp(0, width)
    clipped[..., 1::2] = clipped[..., 1::2].clamp(0, height)
    rows, columns = probabilities.shape
    scored = [(float(probabilities[r, k]), k + 1, r) for r in range(rows) for k in range(columns)]
    kept: list[tuple[float, int, int]] = []
    for score, label, row in sorted(scored, reverse=True):
        box = clipped[row, label - 1]
        if score <= 0.2 or (box[2:] - box[:2]).min() < 1e-2:
            continue
        rivals = [clipped[r, k - 1] for _, k, r in kept if k == label]
        if not rivals or box_iou(box[None], torch.stack(rivals)).max() <= 0.5:
            kept.append((score, label, row))
    return kept


@pytest.mark.parametrize("most", [7, 100])
def test_detection_filter_is_nms_per_class(most: int) -> None:
    boxes = random_boxes(150, 50).reshape(50, 3, 4) - 4
    boxes[0] = torch.tensor([-9.0, 5, -1, 9])
    probabilities = torch.rand(50, 3)
    found = keep_detections(OperatingPoint(0.2, max_detections=most), boxes, probabilities, (40, 36))
    expected = naive_filter(boxes, probabilities, (40, 36))[:most]
    assert len(expected) == 7 or 20 < len(expected) < 140
    rows = list(zip(found["scores"].tolist(), found["labels"].tolist(), found["roi"].tolist(), strict=True))
    assert rows == expected
    assert found["boxes"].min() >= 0
    assert (found["boxes"].amax(0) <= torch.tensor([36, 40, 36, 40])).all()


def test_detections_split_and_joined_again() -> None:
    detections = [{"boxes": random_boxes(n), "labels": torch.arange(n)} for n in (2, 0, 3)]
    boxes, labels = split_detections(detections)
    assert labels.tolist() == [0, 1, 0, 1, 2]
    again = add_rows(detections, copy=torch.cat(boxes))
    assert all(torch.equal(entry["copy"], entry["boxes"]) for entry in again)


def test_box_losses_are_torchvisions_but_for_the_kink(scene: Any) -> None:
    """Where every error exceeds 1/9, smooth L1 with that beta is L1 less 1/18 a coordinate."""
    head = BoxHead(16, 2, width=8)
    samples = scene.samples
    labels = torch.cat(samples.labels)
    output = BoxOutput(torch.randn(7, 3), 50 + torch.randn(7, 3, 4))
    truth = head.coder.encode(samples.matched_boxes[:1], samples.boxes[:1])[0]
    regression = [truth, torch.zeros(2, 4)]
    classifier, box = fastrcnn_loss(output.logits, output.deltas.flatten(1), samples.labels, regression)
    found = head.losses(output, samples)
    assert found["loss_classifier"].item() == pytest.approx(classifier.item(), rel=1e-5)
    positives = int((labels > 0).sum())
    assert found["loss_box_reg"].item() == pytest.approx(box.item() + positives * 4 / 18 / 7, rel=1e-5)


@pytest.mark.parametrize("agnostic", [False, True])
def test_box_loss_of_true_deltas_is_zero(scene: Any, agnostic: bool) -> None:
    head = BoxHead(16, 2, width=8, class_agnostic=agnostic)
    labels = torch.cat(scene.samples.labels)
    truth = head.coder.encode_single(torch.cat(scene.samples.matched_boxes), torch.cat(scene.samples.boxes))
    deltas = torch.full((7, 1 if agnostic else 3, 4), 9.0)
    deltas[torch.arange(7), 0 if agnostic else labels] = truth
    output = BoxOutput(torch.zeros(7, 3), deltas)
    assert head.losses(output, scene.samples)["loss_box_reg"] < 1e-6
    refined = head.own_boxes(output, torch.cat(scene.samples.boxes), labels)
    expected = torch.cat(scene.samples.matched_boxes)[labels > 0]
    torch.testing.assert_close(refined[labels > 0], expected, atol=1e-4, rtol=0)


def test_box_branch_detects_the_class_and_box_it_predicts(scene: Any) -> None:
    """Logits that favour class 2, deltas that move its boxes one tenth to the right."""
    head = BoxHead(16, 2, width=8)
    for layer in (head.predictor.cls_score, head.predictor.bbox_pred):
        torch.nn.init.zeros_(layer.weight)
    head.predictor.cls_score.bias.data = torch.tensor([0.0, -9, 2])
    head.predictor.bbox_pred.bias.data = torch.tensor([0.0] * 8 + [1, 0, 0, 0])
    proposals = [torch.tensor([[10.0, 10, 30, 40]]), torch.zeros(0, 4)]
    first, second = BoxBranch(head, RoISampler(8)).detect(scene.features, proposals, scene.sizes, OperatingPoint())
    assert first["labels"].tolist() == [2]
    torch.testing.assert_close(first["boxes"], torch.tensor([[12.0, 10, 32, 40]]))
    assert first["scores"].item() == pytest.approx(np.exp(2) / (1 + np.exp(2) + np.exp(-9)), rel=1e-5)
    assert len(second["boxes"]) == 0


def test_a_perfect_mask_logit_has_no_loss(scene: Any) -> None:
    samples = scene.samples.positives()
    target = mask_targets(samples, scene.targets)
    labels = torch.cat(samples.labels)
    logits = torch.full((4, 2, 28, 28), 77.0)
    logits[torch.arange(4), labels - 1] = 40 * target - 20
    assert mask_loss(logits, labels, target) < 1e-6
    assert mask_loss(-logits, labels, target) > 10


def test_mask_loss_weights_are_divided_by_the_number_of_pixels(scene: Any) -> None:
    logits, labels, target = torch.randn(4, 2, 5, 5), torch.tensor([1, 2, 2, 1]), torch.rand(4, 5, 5).round()
    weight = torch.rand(4, 5, 5) * 3
    probability = own_class(logits, labels).sigmoid()
    entropy = -(target * probability.log() + (1 - target) * (1 - probability).log())
    assert mask_loss(logits, labels, target).item() == pytest.approx(entropy.mean().item(), rel=1e-5)
    expected = (weight * entropy).mean().item()
    assert mask_loss(logits, labels, target, weight).item() == pytest.approx(expected, rel=1e-5)


def test_mask_branch_without_foreground_is_zero_with_gradients(scene: Any) -> None:
    model = MaskBranch(MaskHead(16, 16, 2))
    nothing = scene.samples.select([torch.tensor([4]), torch.tensor([0, 1])])
    loss = model.losses(scene.features, nothing, scene.sizes, scene.targets)["loss_mask"]
    assert loss == 0
    loss.backward()
    assert all(parameter.grad is not None and not parameter.grad.any() for parameter in model.parameters())


@pytest.mark.parametrize("box", [(0, 0, 40, 30), (3, 5, 4, 6), (7, 2, 36, 30), (10, 11, 15, 29)])
def test_ones_fill_their_box_exactly(box: tuple[int, int, int, int]) -> None:
    masks = RoIMasks(torch.ones(1, 28, 28), torch.tensor([box]).float(), (30, 40))
    expected = torch.zeros(30, 40, dtype=torch.uint8)
    expected[box[1] : box[3], box[0] : box[2]] = 1
    assert torch.equal(masks.paste().dense()[0], expected)
    assert masks.to_rle()[0]["size"] == [30, 40]


def smooth_grids(count: int, side: int) -> Tensor:
    return F.interpolate(torch.rand(count, 1, 5, 5), (side, side), mode="bilinear")[:, 0]


@pytest.mark.parametrize("side", [7, 28, 224])
def test_masks_are_resized_as_by_interpolate(side: int) -> None:
    """Whole-pixel boxes: a bilinear resize of the grid to the box."""
    grids = smooth_grids(6, side)
    corner = torch.randint(0, 20, (6, 2))
    boxes = torch.cat([corner, corner + torch.randint(1, 30, (6, 2))], dim=1)
    dense = RoIMasks(grids, boxes.float(), (50, 50)).paste().dense()
    for grid, mask, (x0, y0, x1, y1) in zip(grids, dense, boxes.tolist(), strict=True):
        values = F.interpolate(grid[None, None], (y1 - y0, x1 - x0), mode="bilinear", align_corners=False)[0, 0]
        clear = (values - 0.5).abs() > 1e-4
        assert torch.equal(mask[y0:y1, x0:x1].bool()[clear], (values >= 0.5)[clear])
        assert mask.sum() == mask[y0:y1, x0:x1].sum()


def test_fractional_boxes_are_sampled_at_pixel_centres() -> None:
    """Against scipy's interpolation of the grid, in boxes that also reach out of the image."""
    grids = smooth_grids(12, 28)
    boxes = random_boxes(12, 50) * 1.3 - 6
    dense = RoIMasks(grids, boxes, (40, 44)).paste().dense()
    y, x = np.mgrid[:40, :44] + 0.5
    for grid, mask, (x0, y0, x1, y1) in zip(grids, dense, boxes.double().tolist(), strict=True):
        place = [(y - y0) / (y1 - y0) * 28 - 0.5, (x - x0) / (x1 - x0) * 28 - 0.5]
        values = ndimage.map_coordinates(grid.double().numpy(), place, order=1, mode="nearest")
        inside = (x >= x0) & (x < x1) & (y >= y0) & (y < y1)
        clear = np.abs(values - 0.5) > 1e-4
        np.testing.assert_array_equal(mask.bool().numpy()[clear], ((values >= 0.5) & inside)[clear])


def test_no_detection_gives_no_mask() -> None:
    masks = RoIMasks(torch.zeros(0, 28, 28), torch.zeros(0, 4), (30, 40))
    assert (len(masks), len(masks.paste()), masks.to_rle()) == (0, 0, [])


def test_boxes_outside_the_image_give_empty_masks() -> None:
    boxes = torch.tensor([[50.0, 5, 60, 9], [5, -20, 9, -3], [4.6, 4.6, 4.9, 4.9]])
    assert RoIMasks(torch.ones(3, 28, 28), boxes, (30, 40)).paste().areas().tolist() == [0, 0, 0]


def test_images_are_batched_at_the_top_left_and_resized_at_inference_only() -> None:
    images = [torch.rand(3, 40, 60), torch.rand(3, 50, 30)]
    transform = ImageTransform(short_side=80, long_side=100)
    batch = transform.train()(images)
    assert batch.tensors.shape == (2, 3, 64, 64)
    assert batch.image_sizes == [(40, 60), (50, 30)]
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(batch.tensors[0, :, :40, :60], (images[0] - mean[:, None, None]) / std[:, None, None])
    assert not batch.tensors[0, :, 40:].any()
    assert transform.eval()(images).image_sizes == [(67, 100), (100, 60)]


@pytest.mark.parametrize(
    "model",
    ["mask_rcnn", "gains", "cascade_rcnn", "htc", "mask_scoring_rcnn", "pisa", "pointrend", "occlusion_rcnn", "donet"],
)
def test_scales_of_rois_do_not_depend_on_the_first_image(build: Callable[..., torch.nn.Module], model: str) -> None:
    network = build(model, "model.width={fpn: 16, box: 16, mask: 16}", "augmentation.test_short_side=20").eval()
    poolers = [part for part in network.modules() if isinstance(part, MultiScaleRoIAlign)]
    assert poolers
    network([torch.rand(3, 20, 400)])  # padded to 32 x 416: the rows alone look like strides of 2, 4, 8 and 16
    network([torch.rand(3, 64, 64)])
    for pooler in poolers:
        assert pooler.scales == [1 / 4, 1 / 8, 1 / 16, 1 / 32]


def test_a_roi_is_pooled_where_it_lies_after_an_odd_first_image() -> None:
    pooler = roi_pooler(7)
    levels = {
        str(index): torch.arange(320.0)[None, None, None, : 320 // stride].mul(stride).repeat(1, 1, 320 // stride, 1)
        for index, stride in enumerate((4, 8, 16, 32))
    }
    odd = {name: level[:, :, : 32 * level.shape[2] // 320] for name, level in levels.items()}
    boxes = [torch.tensor([[4.0, 2, 24, 18]])]
    pooler(odd, boxes, [(20, 320)])
    # Values are columns in pixels, so a RoI's mean is its centre (half a cell more: the sampling is not aligned).
    for box in ([64.0, 64, 128, 128], [40.0, 40, 240, 240]):
        assert float(pooler(levels, [torch.tensor([box])], [(320, 320)]).mean()) == pytest.approx((box[0] + box[2]) / 2)


def test_boxes_return_to_the_image() -> None:
    boxes = torch.tensor([[10.0, 20, 50, 60], [-3, 5, 300, 90]])
    expected = torch.tensor([[5.0, 5, 25, 15], [0, 1.25, 80, 22.5]])
    torch.testing.assert_close(rescale_boxes(boxes, (160, 160), (40, 80)), expected)


def test_batch_norm_takes_a_single_value_by_its_running_statistics() -> None:
    torch.manual_seed(0)
    norm, plain = BatchNorm(5), torch.nn.BatchNorm2d(5)
    for _ in range(3):
        x = torch.randn(2, 5, 3, 4) * 3 + 1
        torch.testing.assert_close(norm(x), plain(x), rtol=0, atol=0)
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    single = torch.randn(1, 5, 1, 1, requires_grad=True)
    given = norm(single)
    given.sum().backward()
    torch.testing.assert_close(norm.state_dict(), before, rtol=0, atol=0)
    torch.testing.assert_close(given, plain.eval()(single))
    assert single.grad is not None
    assert (single.grad != 0).all()


def test_maps_are_pasted_as_masks_are() -> None:
    """At the same pixels: cut at the threshold they are the masks; a constant stays one; outside is background."""
    grids = torch.rand(3, 28, 28, generator=torch.Generator().manual_seed(0))
    boxes = torch.tensor([[2.3, 4.1, 30.7, 21.2], [-3.0, 5.0, 9.5, 50.0], [20.2, 20.2, 20.4, 20.4]])
    maps = paste_maps(grids, boxes, (40, 35), background=1)
    masks = RoIMasks(grids, boxes, (40, 35)).paste()
    assert maps.background == 1
    assert torch.equal(maps.boxes, masks.boxes)
    assert torch.equal((maps.values >= 0.5).to(torch.uint8), masks.values)
    constant = paste_maps(torch.full((3, 28, 28), 1.7), boxes, (40, 35), background=1)
    assert torch.allclose(constant.values, torch.tensor(1.7))
    assert len(paste_maps(grids[:0], boxes[:0], (40, 35), background=1)) == 0
