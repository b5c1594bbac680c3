"""Bilinear upsampling that keeps every coarse value in place, at the middle pixel of its block (CondInst)."""

import torch
from torch import Tensor
from torch.nn import functional as F


def aligned_upsample(maps: Tensor, factor: int) -> Tensor:
    """Enlarge so that ``out[f*i + f//2, f*j + f//2] == maps[i, j]``, the border value continued outwards.

    A stride-s map whose cell i stands for pixel ``s*i + s//2`` keeps that meaning at every scale. Plain bilinear
    resizing puts cell i half a pixel off, which a mask of a few cells cannot afford.

    Args:
        maps: ``(N, C, h, w)``.
        factor: f, even.

    Returns:
        ``(N, C, f*h, f*w)``.
    """
    height, width = factor * maps.shape[-2], factor * maps.shape[-1]
    before = factor // 2
    padded = F.pad(maps, (0, 1, 0, 1), mode="replicate")
    fine = F.interpolate(padded, size=(height + 1, width + 1), mode="bilinear", align_corners=True)
    return F.pad(fine, (before, 0, before, 0), mode="replicate")[..., :height, :width]


def aligned_positions(cells: int, factor: int) -> Tensor:
    """Where along an axis of ``cells`` values :func:`aligned_upsample` reads each of its ``factor * cells`` outputs."""
    return ((torch.arange(factor * cells) - factor // 2) / factor).clamp(0, cells - 1)
