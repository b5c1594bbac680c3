"""Models and images that the benchmarks of training and inference share."""

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.resnet import Bottleneck

from gains.gradient_anomaly import GradientAnomaly
from gains.masks import InstanceCrops
from gains.models.build import build_network


def full_size(model: str, *overrides: str, num_classes: int = 1) -> nn.Module:
    """A model as ``gains train model=NAME`` builds it, ResNet-50 with frozen norm unless overridden."""
    defaults = ("model/size=r50", "model.norm=frozen", "model.trainable_layers=3")
    return build_network(model, *defaults, *overrides, num_classes=num_classes)


@torch.no_grad()
def calm(network: nn.Module) -> None:
    """Keep the activations of an untrained ResNet with frozen norm small, as in a trained one.

    With random weights each residual block doubles their variance: after the 33 blocks of ResNet-101 every score is 0
    or 1 and no box is left to draw a mask in.
    """
    for block in network.modules():
        if isinstance(block, Bottleneck):
            block.bn3.weight.fill_(0.2)


def torchvision_mask_rcnn() -> MaskRCNN:
    """The baseline: torchvision's own, same trainable layers, RoI and proposal counts."""
    # What maskrcnn_resnet50_fpn builds around downloaded weights; without them it would freeze nothing.
    backbone = resnet_fpn_backbone(backbone_name="resnet50", weights=None, trainable_layers=3)
    return MaskRCNN(backbone, num_classes=2, rpn_post_nms_top_n_train=1000, min_size=512, max_size=1333)


def scene(instances: int, side: int, radius: float | None = None) -> tuple[Tensor, InstanceCrops]:
    """A random image ``(3, side, side)`` and discs on a jittered grid that partly overlap.

    Without a ``radius`` they fill the image; with one they are a cluster of that density in its upper left part.
    """
    per_row = int(instances**0.5 + 0.999)
    pitch = side / per_row if radius is None else radius / 0.55
    radius = max(0.55 * pitch, 3)
    generator = torch.Generator().manual_seed(0)
    crops, boxes = [], []
    for index in range(instances):
        row, column = divmod(index, per_row)
        jitter = torch.rand(2, generator=generator) * 0.2 * pitch
        cy, cx = (row + 0.4) * pitch + float(jitter[0]), (column + 0.4) * pitch + float(jitter[1])
        y0, x0 = max(int(cy - radius), 0), max(int(cx - radius), 0)
        y1, x1 = min(int(cy + radius) + 1, side), min(int(cx + radius) + 1, side)
        rows, columns = torch.arange(y0, y1)[:, None], torch.arange(x0, x1)[None]
        crops.append((((rows - cy) ** 2 + (columns - cx) ** 2) <= radius**2).to(torch.uint8))
        boxes.append([x0, y0, x1, y1])
    image = torch.rand(3, side, side, generator=generator)
    return image, InstanceCrops.from_crops(crops, torch.tensor(boxes), (side, side))


def anomaly(masks: InstanceCrops) -> InstanceCrops:
    """Gradient anomaly maps with the paper's settings for ISBI2014."""
    derive = GradientAnomaly(window=5, gain=0.5, overlap_gain=0.1, variant="isbi", statistic="reference")
    return derive(masks, torch.ones(len(masks), dtype=torch.int64))


def targets(masks: InstanceCrops, device: str, dense: bool) -> list[dict[str, Any]]:
    """Ground truth of one image; ``dense`` gives torchvision its full-size masks."""
    target = {
        "boxes": masks.boxes.float().to(device),
        "labels": torch.ones(len(masks), dtype=torch.int64, device=device),
        "masks": masks.dense().to(device) if dense else masks.to(device),
    }
    if not dense:
        target["anomaly"] = anomaly(masks).to(device)
    return [target]


class FixedProposals(nn.Module):
    """Runs a real RPN for its cost and losses, then hands on given proposals: every model sees the same RoIs."""

    def __init__(self, rpn: nn.Module, proposals: Tensor) -> None:
        super().__init__()
        self.rpn = rpn
        self.proposals = proposals

    def forward(self, images: Any, features: Any, targets: Any = None) -> tuple[list[Tensor], dict[str, Tensor]]:
        """As torchvision's RPN."""
        proposals, losses = self.rpn(images, features, targets)
        return [torch.cat([self.proposals, found])[:1000] for found in proposals], losses


def jittered(boxes: Tensor, count: int) -> Tensor:
    """``count`` boxes near the given ones, with an IoU well above 0.5."""
    chosen = boxes[torch.arange(count, device=boxes.device) % len(boxes)]
    side = (chosen[:, 2:] - chosen[:, :2]).repeat(1, 2)
    generator = torch.Generator().manual_seed(1)
    shift = (torch.rand(count, 4, generator=generator) - 0.5).to(boxes.device) * 0.1
    return chosen + shift * side
