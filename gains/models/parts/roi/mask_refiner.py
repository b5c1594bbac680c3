"""A second look at each mask: finer, and at the image itself.

A mask head sees features of stride 4 and more, pooled to 14x14 places, and draws on 28x28 cells. What a pixel's own
contrast says about a boundary, or about where two instances cross, is gone by then. Here the image's pixels are
sampled on a grid twice as fine, and a few narrow convolutions correct the upsampled mask with them. The idea is that of
boundary patch refinement (Tang et al., CVPR 2021; there with a second network on patches of the image).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import roi_align

from gains.models.parts.layers import conv_stack
from gains.models.parts.roi.mask_head import MASK_SIZE

CHANNELS = 24
"""Width of the convolutions."""

MOST_LOGIT = 6.0
"""Coarse logits are shown cut to +-6, that is 0.25 % and 99.75 %: beyond, the size of the number says nothing."""


class MaskRefiner(nn.Module):
    """Corrects mask logits on a grid twice as fine. Untrained, it hands on the coarse mask as it is.

    The convolutions run on the coarse grid, where the four pixels of a cell are channels beside each other, and so are
    their four corrections (space to depth, and back): a quarter as many places to convolve at.

    Args:
        channels_in: width of the mask features.
    """

    def __init__(self, channels_in: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels_in, CHANNELS // 2, 1)
        self.convs = conv_stack(3 * 4 + 1 + CHANNELS // 2, CHANNELS, 2)
        self.correction = nn.Conv2d(CHANNELS, 4, 3, padding=1)
        nn.init.zeros_(self.correction.weight)
        assert self.correction.bias is not None
        nn.init.zeros_(self.correction.bias)

    def forward(self, image: Tensor, boxes: list[Tensor], logits: Tensor, features: Tensor) -> Tensor:
        """Refined logits ``(P, 2S, 2S)``.

        Args:
            image: normalised batch ``(N, 3, H, W)`` that the network was given.
            boxes: ``(P_i, 4)`` xyxy per image, in its pixels.
            logits: coarse ``(P, S, S)``, S = 28, of each RoI's own class.
            features: mask features ``(P, C, 14, 14)``.
        """
        coarse, side = logits[:, None], MASK_SIZE
        boxes = [part.float() for part in boxes]
        pixels = roi_align(image.float(), boxes, 2 * side, sampling_ratio=1, aligned=True)
        shown = [
            _to_depth(pixels).to(logits.dtype),
            coarse.clamp(-MOST_LOGIT, MOST_LOGIT),
            _resize(self.reduce(features), side).to(logits.dtype),
        ]
        joined = torch.cat(shown, dim=1).contiguous(memory_format=torch.channels_last)
        refined: Tensor = _resize(coarse, 2 * side)[:, 0] + _to_space(self.correction(self.convs(joined)))
        return refined


def _resize(maps: Tensor, side: int) -> Tensor:
    return F.interpolate(maps, size=(side, side), mode="bilinear", align_corners=False)


def _to_depth(pixels: Tensor) -> Tensor:
    """``(P, C, 2S, 2S)`` as ``(P, 4C, S, S)``; torch's ``pixel_unshuffle`` leaves no RoIs at their size."""
    cells = pixels.unflatten(3, (-1, 2)).unflatten(2, (-1, 2))
    depth: Tensor = cells.permute(0, 1, 3, 5, 2, 4).flatten(1, 3)
    return depth


def _to_space(cells: Tensor) -> Tensor:
    """``(P, 4, S, S)`` as ``(P, 2S, 2S)``."""
    space: Tensor = cells.unflatten(1, (2, 2)).permute(0, 3, 1, 4, 2).flatten(3).flatten(1, 2)
    return space


def build_refiner(channels_in: int, size: int) -> MaskRefiner | None:
    """The refiner for masks of 56 cells a side, or None for the 28 that the mask head draws.

    Raises:
        ValueError: if the size is another.
    """
    if size not in (MASK_SIZE, 2 * MASK_SIZE):
        raise ValueError(f"mask_size={size}: masks have {MASK_SIZE} cells a side, or {2 * MASK_SIZE} when refined")
    return None if size == MASK_SIZE else MaskRefiner(channels_in)
