"""Boxes are float32 under every precision: bfloat16 would move them by up to 2 pixels at 640."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.models.detection.image_list import ImageList

from gains.models.build import build_network
from gains.models.parts.roi.rpn import build_rpn
from gains.models.parts.roi.sampling import RoISampler, match

SIDE = 1024
LEVELS = {"0": 4, "1": 8, "2": 16, "3": 32, "pool": 64}


def features(dtype: torch.dtype) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.rand(1, 8, 64 // stride + 1, SIDE // stride, generator=generator).to(dtype)
        for name, stride in LEVELS.items()
    }


def odd_boxes(count: int = 40) -> Tensor:
    """Boxes whose coordinates bfloat16 cannot hold."""
    corner = torch.rand(count, 2, generator=torch.Generator().manual_seed(1)) * torch.tensor([900.0, 40.0])
    return torch.cat([corner, corner + 21.3], dim=1)


def test_anchors_and_proposals() -> None:
    """Zero deltas: proposals are the anchors, clipped, bit for bit those of float32."""
    torch.manual_seed(0)
    rpn = build_rpn(8, anchor_sizes=(17, 33, 65, 129, 257), post_nms=(400, 400)).eval()
    torch.nn.init.zeros_(rpn.head.bbox_pred.weight)
    images = ImageList(torch.zeros(1, 3, 64, SIDE), [(64, SIDE)])
    exact, _ = rpn(images, features(torch.float32))
    with torch.autocast("cpu", torch.bfloat16):
        found, _ = rpn(images, features(torch.bfloat16))
    assert found[0].dtype == torch.float32
    known = {tuple(box) for box in exact[0].tolist()}
    wide = [tuple(box) for box in found[0].tolist() if box[2] > 600]
    anchors = {tuple(box) for box in rpn.anchor_generator(images, list(features(torch.float32).values()))[0].tolist()}
    clipped = {(max(x0, 0.0), max(y0, 0.0), min(x1, 1024.0), min(y1, 64.0)) for x0, y0, x1, y1 in anchors}
    assert wide
    assert known <= clipped
    assert set(wide) <= clipped


def test_matched_truth_keeps_its_coordinates() -> None:
    truth = odd_boxes()
    target = {"boxes": truth, "labels": torch.ones(len(truth), dtype=torch.int64)}
    with torch.autocast("cpu", torch.bfloat16):
        matched = match([truth + 0.4], [target], 0.5)  # type: ignore[list-item]
        sampled = RoISampler(512).match([truth.bfloat16()], [target])  # type: ignore[list-item]
    assert torch.equal(matched.matched_boxes[0], truth[matched.matched[0]])
    assert torch.equal(sampled.boxes[0][len(truth) :], truth)
    assert sampled.matched_boxes[0].dtype == torch.float32


@pytest.mark.parametrize("name", ["mask_rcnn", "cascade_rcnn", "pisa"])
def test_decoded_boxes(name: str) -> None:
    """Given the same deltas, a box head decodes to the same boxes under autocast."""
    torch.manual_seed(0)
    network = build_network(name, "model/size=small", "model.width={fpn: 8, box: 16, mask: 8}", num_classes=1)
    box: Any = network.box
    head = box.heads[0] if hasattr(box, "heads") else box.head
    output = head(torch.rand(40, 8, 7, 7))
    exact = head.decode(output, [odd_boxes()])[0]
    with torch.autocast("cpu", torch.bfloat16):
        decoded = head.decode(output, [odd_boxes()])[0]
    assert torch.equal(decoded, exact)
