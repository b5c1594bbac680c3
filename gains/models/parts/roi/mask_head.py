"""The fully convolutional mask head of Mask R-CNN (He et al. 2017), and the targets and loss of any such head."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gains.contract import Target
from gains.masks import InstanceCrops
from gains.models.parts.layers import conv_stack, he_init, normal_init
from gains.models.parts.roi.sampling import RoISamples

MASK_SIZE = 28
"""Side of the mask grid in cells."""

MaskName = Literal["masks", "visible_masks"]


class MaskPredictor(nn.Module):
    """Doubles the resolution and gives one logit map per class: ``(P, C, 14, 14)`` to ``(P, K, 28, 28)``."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.upsample = nn.ConvTranspose2d(channels, channels, 2, stride=2)
        self.logits = nn.Conv2d(channels, num_classes, 1)
        he_init(self.upsample)
        normal_init(self.logits, 0.001)

    def forward(self, features: Tensor) -> Tensor:
        """Logits.

        A transposed convolution whose kernel is as wide as its stride gives each of the four places in a cell its own
        1x1 convolution. One place after the other, put together only when C features have become K logits, takes half
        the time and two thirds of the memory of ``self.logits(relu(self.upsample(features)))`` on a CPU.
        """
        kernels = self.upsample.weight.permute(2, 3, 1, 0)[..., None, None]
        rows = [torch.stack([self._place(features, kernel) for kernel in row], 4).flatten(3) for row in kernels]
        return torch.stack(rows, 3).flatten(2, 3)

    def _place(self, features: Tensor, kernel: Tensor) -> Tensor:
        """Logits ``(P, K, 14, 14)`` of one of the four places in every cell."""
        logits: Tensor = self.logits(F.relu(F.conv2d(features, kernel, self.upsample.bias), inplace=True))
        return logits


class MaskHead(nn.Module):
    """Four convolutions and a predictor; the features between them are open to whoever builds on them.

    Args:
        channels_in: width of the RoI features.
        channels: width of the head.
        num_classes: K, without background.
        convs: number of 3x3 convolutions.
    """

    def __init__(self, channels_in: int, channels: int, num_classes: int, convs: int = 4) -> None:
        super().__init__()
        self.trunk = conv_stack(channels_in, channels, convs)
        self.predictor = MaskPredictor(channels, num_classes)

    def forward(self, pooled: Tensor) -> Tensor:
        """Class logits ``(P, K, 28, 28)`` from RoI features ``(P, C, 14, 14)``."""
        logits: Tensor = self.predictor(self.trunk(pooled))
        return logits


def own_class(maps: Tensor, labels: Tensor) -> Tensor:
    """Of maps ``(P, K, S, S)`` the one of each RoI's class ``(P,)`` (from 1): ``(P, S, S)``."""
    return maps[torch.arange(labels.shape[0], device=labels.device), labels - 1]


def roi_targets(
    samples: RoISamples, targets: list[Target], masks: Callable[[Target], InstanceCrops], size: int = MASK_SIZE
) -> Tensor:
    """RoI-align a raster of each RoI's matched instance.

    Args:
        samples: foreground RoIs.
        targets: ground truth of the batch.
        masks: picks the rasters out of a target, such as its masks or its anomaly maps.
        size: side S of the grid.

    Returns:
        ``(P, S, S)`` float32, RoIs of all images in order.
    """
    aligned = [
        masks(target).roi_align(boxes, matched, size)
        for boxes, matched, target in zip(samples.boxes, samples.matched, targets, strict=True)
        if len(boxes)
    ]
    return torch.cat(aligned) if aligned else torch.zeros(0, size, size, device=samples.boxes[0].device)


def mask_targets(samples: RoISamples, targets: list[Target], name: MaskName = "masks", size: int = MASK_SIZE) -> Tensor:
    """Binary mask targets ``(P, S, S)`` float32 from the masks that the target holds under ``name``."""
    return (roi_targets(samples, targets, lambda target: target[name], size) >= 0.5).float()


def mask_loss(logits: Tensor, labels: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean binary cross entropy of each RoI's own class map.

    Args:
        logits: ``(P, K, S, S)``.
        labels: ``(P,)`` class of each RoI, from 1.
        target: ``(P, S, S)`` in {0, 1}.
        weight: ``(P, S, S)`` factor of each pixel; the sum is divided by P*S*S, not by the sum of weights.

    Returns:
        Scalar; without RoIs a zero that keeps the head in the graph.
    """
    if len(labels) == 0:
        return logits.sum() * 0
    return F.binary_cross_entropy_with_logits(own_class(logits, labels).float(), target, weight=weight)
