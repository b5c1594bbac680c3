"""Ground-truth masks on the coarse grid of a feature map, straight from their crops."""

import torch
from torch import Tensor
from torch.nn import functional as F

from gains.masks import InstanceCrops


def subsample(masks: InstanceCrops, grid: tuple[int, int], stride: int, offset: int) -> Tensor:
    """Every stride-th pixel of each mask: ``mask[offset::stride, offset::stride]`` of the padded image.

    Args:
        masks: G instances of one image.
        grid: ``(h, w)`` cells of the padded image.
        stride: pixels per cell.
        offset: pixel that stands for cell 0.

    Returns:
        ``(G, h, w)`` uint8 on the device of the masks.
    """
    cells = masks.values.new_zeros((len(masks), *grid))
    for index, (x0, y0, x1, y1) in enumerate(masks.boxes.tolist()):
        # -(-a // b) is a / b rounded up: the first cell whose pixel is not before the crop.
        top, bottom = (-((offset - edge) // stride) for edge in (y0, y1))
        left, right = (-((offset - edge) // stride) for edge in (x0, x1))
        row, column = top * stride + offset - y0, left * stride + offset - x0
        cells[index, top:bottom, left:right] = masks.crop(index)[row::stride, column::stride]
    return cells


def touched(masks: InstanceCrops, grid: tuple[int, int], stride: int) -> Tensor:
    """Which cells hold any pixel of each mask.

    Args:
        masks: G instances of one image.
        grid: ``(h, w)`` cells of the padded image.
        stride: pixels per cell.

    Returns:
        ``(G, h, w)`` bool on the device of the masks.
    """
    cells = torch.zeros((len(masks), *grid), dtype=torch.bool, device=masks.values.device)
    for index, (x0, y0, x1, y1) in enumerate(masks.boxes.tolist()):
        if x1 > x0 and y1 > y0:
            crop = F.pad(masks.crop(index).float(), (x0 % stride, -x1 % stride, y0 % stride, -y1 % stride))
            pooled = F.max_pool2d(crop[None], stride)[0] > 0
            top, left = y0 // stride, x0 // stride
            cells[index, top : top + pooled.shape[0], left : left + pooled.shape[1]] = pooled
    return cells


def centroids(masks: InstanceCrops) -> Tensor:
    """Mass centre (x, y) of each mask ``(G, 2)`` float32 in pixels, pixel centres at halves; (0, 0) if empty.

    Sums are integers, so that the result does not depend on the order in which a GPU adds.
    """
    device = masks.values.device
    corner, end = torch.split(masks.boxes.to(device), 2, dim=1)
    width, height = (end - corner).unbind(1)
    instance = torch.repeat_interleave(width * height, output_size=len(masks.values))
    begin = (width * height).cumsum(0) - width * height
    offset = torch.arange(len(instance), device=device) - begin[instance]
    local = torch.stack([offset % width[instance], offset // width[instance], torch.ones_like(offset)], dim=1)
    sums = torch.zeros(len(masks), 3, dtype=torch.int64, device=device)
    sums.index_add_(0, instance, local * masks.values[:, None].long())
    centre = sums[:, :2] / sums[:, 2:].clamp(min=1) + 0.5 + corner
    return torch.where(sums[:, 2:] > 0, centre, 0.0).float()
