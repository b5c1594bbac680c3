"""The anchor-free box head of FCOS (Tian et al., ICCV 2019), with room for further outputs per location."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gains.models.parts.backbone import NORMS
from gains.models.parts.layers import normal_init

PRIOR = 0.01
"""Class probability every location starts with, so that the mass of background does not dominate (Lin et al. 2017)."""


@dataclass(frozen=True)
class FCOSOutput:
    """Predictions at all M locations of N images, level after level.

    Attributes:
        logits: ``(N, M, K)`` class logits.
        distances: ``(N, M, 4)`` non-negative distances to left, top, right and bottom in strides.
        centreness: ``(N, M)`` logits.
        extra: ``(N, M, E)`` further outputs, from the box features.
    """

    logits: Tensor
    distances: Tensor
    centreness: Tensor
    extra: Tensor


def tower(channels: int, convs: int) -> nn.Sequential:
    """``convs`` times 3x3 convolution, group norm, ReLU."""
    layers: list[nn.Module] = []
    for _ in range(convs):
        layers += [nn.Conv2d(channels, channels, 3, padding=1), NORMS["group"](channels), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class FCOSHead(nn.Module):
    """Two towers shared by all levels; class from one, box, centre-ness and extra outputs from the other.

    Args:
        channels: width of the pyramid levels and of the towers.
        num_classes: K, without background.
        extra: E further outputs per location.
        levels: number of pyramid levels, each with a learned scale of its distances.
        convs: length of the towers.
    """

    def __init__(self, channels: int, num_classes: int, extra: int, levels: int = 5, convs: int = 4) -> None:
        super().__init__()
        self.class_tower = tower(channels, convs)
        self.box_tower = tower(channels, convs)
        self.logits = nn.Conv2d(channels, num_classes, 3, padding=1)
        self.distances = nn.Conv2d(channels, 4, 3, padding=1)
        self.centreness = nn.Conv2d(channels, 1, 3, padding=1)
        self.extra = nn.Conv2d(channels, extra, 3, padding=1)
        self.scales = nn.Parameter(torch.ones(levels))
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                normal_init(layer, 0.01)
        assert self.logits.bias is not None
        nn.init.constant_(self.logits.bias, math.log(PRIOR / (1 - PRIOR)))

    def forward(self, features: list[Tensor]) -> FCOSOutput:
        """Predict from pyramid levels ``(N, C, H/s, W/s)``, finest first."""
        parts = []
        for scale, level in zip(self.scales, features, strict=True):
            by_class, by_box = self.class_tower(level), self.box_tower(level)
            distances = F.relu(self.distances(by_box) * scale)
            maps = (self.logits(by_class), distances, self.centreness(by_box), self.extra(by_box))
            parts.append([values.flatten(2).transpose(1, 2) for values in maps])
        logits, distances, centre, extra = (torch.cat(part, dim=1) for part in zip(*parts, strict=True))
        return FCOSOutput(logits, distances, centre[:, :, 0], extra)
