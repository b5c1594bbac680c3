"""FastInst's light feature pyramid (He et al., CVPR 2023): pyramid pooling on top, three levels with group norm."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gains.models.parts.backbone import NORMS


def _conv_norm(channels_in: int, channels: int, kernel: int, relu: bool) -> nn.Sequential:
    conv = nn.Conv2d(channels_in, channels, kernel, padding=kernel // 2, bias=False)
    nn.init.kaiming_uniform_(conv.weight, a=1)
    return nn.Sequential(conv, NORMS["group"](channels), nn.ReLU(inplace=True) if relu else nn.Identity())


class PyramidPooling(nn.Module):
    """Adds context of the whole image: averages over 1, 4, 9 and 36 regions (Zhao et al., PSPNet, 2017).

    Args:
        channels: width in and out, divisible by 4.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(regions), nn.Conv2d(channels, channels // 4, 1), nn.ReLU(inplace=True))
            for regions in (1, 2, 3, 6)
        )
        self.join = nn.Sequential(nn.Conv2d(2 * channels, channels, 1), nn.ReLU(inplace=True))

    def forward(self, features: Tensor) -> Tensor:
        """``(N, C, h, w)`` to the same shape."""
        context = [_resize(stage(features), features) for stage in self.stages]
        joined: Tensor = self.join(torch.cat([*context, features], dim=1))
        return joined


class PixelDecoder(nn.Module):
    """C3, C4, C5 of a ResNet to E3 (stride 8) and E4 (stride 16).

    Args:
        channels_in: widths of C3, C4, C5.
        channels: width of all levels.
    """

    def __init__(self, channels_in: list[int], channels: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(_conv_norm(width, channels, 1, relu=False) for width in channels_in)
        self.context = PyramidPooling(channels)
        self.output = nn.ModuleList(_conv_norm(channels, channels, 3, relu=True) for _ in channels_in)

    def forward(self, features: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """E3 ``(N, C, H/8, W/8)`` and E4 ``(N, C, H/16, W/16)``; what goes down has passed its 3x3 convolution."""
        c3, c4, c5 = (lateral(level) for lateral, level in zip(self.lateral, features.values(), strict=True))
        e5 = self.output[2](self.context(c5))
        e4 = self.output[1](c4 + _resize(e5, c4))
        return self.output[0](c3 + _resize(e4, c3)), e4


def _resize(maps: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(maps, size=like.shape[-2:], mode="bilinear", align_corners=False)
