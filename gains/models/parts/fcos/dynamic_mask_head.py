"""A tiny mask network per instance, its weights predicted (Tian, Shen, Chen; CondInst, ECCV 2020, section 3.2)."""

import torch
from torch import Tensor
from torch.nn import functional as F

CHANNELS = 8
"""Width of the shared mask features and of the two hidden layers."""

INPUTS = 2 + CHANNELS
WEIGHTS = [CHANNELS * INPUTS, CHANNELS * CHANNELS, CHANNELS]
BIASES = [CHANNELS, CHANNELS, 1]

NUM_PARAMETERS = sum(WEIGHTS) + sum(BIASES)
"""169: per instance first the weights of the three layers, then their biases."""


def dynamic_masks(features: Tensor, parameters: Tensor, points: Tensor, extents: Tensor, stride: int = 8) -> Tensor:
    """Run each instance's three 1x1 convolutions over the whole image.

    The input of an instance are the coordinates ``(point - cell) / extent``, x then y, and the shared features. The
    first layer is linear in them, so the part that is the same for all instances (features and cell positions) is one
    matrix product, and the instance's own point joins the bias: no input per instance is ever built.

    Args:
        features: ``(8, h, w)`` mask features of one image.
        parameters: ``(P, 169)``, see :data:`NUM_PARAMETERS`.
        points: ``(P, 2)`` the location (x, y) that predicts each instance, in input pixels.
        extents: ``(P,)`` the length in pixels that counts as 1 in an instance's coordinates.
        stride: input pixels per cell; cell (i, j) lies at pixel ``(stride * j + stride // 2, ...)``.

    Returns:
        Logits ``(P, h, w)``, float32 whatever the autocast: coordinates of a large image do not fit a half float.
    """
    count, (height, width) = len(parameters), features.shape[-2:]
    with torch.autocast(features.device.type, enabled=False):
        first, second, third, *biases = torch.split(parameters.float(), WEIGHTS + BIASES, dim=1)
        first = first.reshape(count, CHANNELS, INPUTS)
        by_coordinate = first[:, :, :2] / extents[:, None, None]
        bias = biases[0] + (by_coordinate * points[:, None]).sum(2)
        shared = torch.cat([cell_positions(height, width, stride, features.device), features.float()]).flatten(1)
        weights = torch.cat([-by_coordinate, first[:, :, 2:]], dim=2).reshape(count * CHANNELS, INPUTS)
        hidden = F.relu(torch.addmm(bias.reshape(-1, 1), weights, shared)).reshape(count, CHANNELS, height * width)
        hidden = F.relu(torch.baddbmm(biases[1][:, :, None], second.reshape(count, CHANNELS, CHANNELS), hidden))
        logits = torch.baddbmm(biases[2][:, :, None], third[:, None], hidden)
    return logits.reshape(count, height, width)


def cell_positions(height: int, width: int, stride: int, device: torch.device) -> Tensor:
    """Position (x, y) of each cell ``(2, height, width)`` float32 in input pixels."""
    rows = torch.arange(height, device=device) * stride + stride // 2
    columns = torch.arange(width, device=device) * stride + stride // 2
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack([x, y]).float()
