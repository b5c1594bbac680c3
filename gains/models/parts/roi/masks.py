"""Predicted masks as the network gives them, one small grid per box, and their way into the image."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gains.masks import InstanceCrops
from gains.rle import RLE


@dataclass(frozen=True)
class RoIMasks:
    """Mask probabilities on the grid of each detection's box.

    Attributes:
        probabilities: ``(K, M, M)`` in [0, 1].
        boxes: ``(K, 4)`` xyxy in image pixels, fractional.
        size: image ``(height, width)``.
        threshold: probability from which a pixel belongs to the mask.
    """

    probabilities: Tensor
    boxes: Tensor
    size: tuple[int, int]
    threshold: float = 0.5

    def __len__(self) -> int:
        return len(self.boxes)

    def paste(self) -> InstanceCrops:
        """Binary masks in the image, on the CPU.

        A pixel takes the bilinear value of the grid at its centre; half a cell from the edge the grid is continued by
        its border value, so that an all-ones grid fills its box exactly. Only the pixels of the box are computed: a
        bilinear resize is a product of two thin matrices with the grid between them.
        """
        crops, corners = [], []
        for values, corner in _pasted(self.probabilities, self.boxes, self.size):
            crops.append(torch.from_numpy((values >= self.threshold).view(np.uint8)))
            corners.append(corner)
        return InstanceCrops.from_crops(crops, torch.tensor(corners, dtype=torch.int64), self.size)

    def to_rle(self) -> list[RLE]:
        """COCO RLE of each mask."""
        return self.paste().to_rle()


def paste_maps(grids: Tensor, boxes: Tensor, size: tuple[int, int], background: float) -> InstanceCrops:
    """Values instead of masks in the image, by the rule of :meth:`RoIMasks.paste`, on the CPU.

    Args:
        grids: ``(K, M, M)``.
        boxes: ``(K, 4)`` xyxy in image pixels, fractional.
        size: image ``(height, width)``.
        background: value outside the boxes.
    """
    pasted = list(_pasted(grids, boxes, size))
    corners = torch.tensor([corner for _, corner in pasted], dtype=torch.int64)
    return InstanceCrops.from_crops([torch.from_numpy(values) for values, _ in pasted], corners, size, background)


def _pasted(grids: Tensor, boxes: Tensor, size: tuple[int, int]) -> Iterator[tuple[npt.NDArray[np.float32], list[int]]]:
    """Values of each grid at the pixels of its box, and the pixel box ``x0, y0, x1, y1`` that they fill."""
    height, width = size
    corners = boxes.detach().double().cpu().numpy()
    for grid, (x0, y0, x1, y1) in zip(grids.detach().float().cpu().numpy(), corners, strict=True):
        top, rows = _interpolation(y0, y1, height, grid.shape[0])
        left, columns = _interpolation(x0, x1, width, grid.shape[1])
        values: npt.NDArray[np.float32] = rows @ grid @ columns.T
        yield values, [left, top, left + values.shape[1], top + values.shape[0]]


def _interpolation(start: float, end: float, limit: int, cells: int) -> tuple[int, npt.NDArray[np.float32]]:
    """Bilinear weights from ``cells`` grid values spread over [start, end] to the pixels whose centre lies in it.

    Returns:
        The first such pixel and the matrix ``(pixels, cells)``, at most two weights a row.
    """
    first = max(int(np.ceil(start - 0.5)), 0)
    last = min(int(np.ceil(end - 0.5)), limit)
    centres = np.arange(first, max(last, first)) + 0.5
    position = (centres - start) / max(end - start, 1e-6) * cells - 0.5
    position = position.clip(0, cells - 1)
    lower = np.minimum(position.astype(np.int64), max(cells - 2, 0))
    weights = np.zeros((len(centres), cells), np.float32)
    pixels = np.arange(len(centres))
    fraction = position - lower
    weights[pixels, lower] = 1 - fraction
    if cells > 1:
        weights[pixels, lower + 1] = fraction
    return min(first, limit), weights


def paste_sum(grids: Tensor, boxes: Tensor, size: tuple[int, int], stride: int) -> Tensor:
    """Paste grids into their boxes and add them up, differentiably and without a raster per RoI.

    The rule is that of :meth:`RoIMasks.paste`: bilinear within a box, zero outside. The sum over RoIs of
    rows x grid x columns is one matrix product over RoIs and grid rows.

    Args:
        grids: ``(P, M, M)`` values on the RoIs' grids.
        boxes: ``(P, 4)`` xyxy in image pixels.
        size: ``(height, width)`` of the result.
        stride: image pixels from one pixel of the result to the next; the first sits on image pixel 0.

    Returns:
        ``(height, width)``.
    """
    rows = _batch_interpolation(boxes[:, 1], boxes[:, 3], size[0], stride, grids.shape[1])
    columns = _batch_interpolation(boxes[:, 0], boxes[:, 2], size[1], stride, grids.shape[2])
    return rows.permute(1, 0, 2).flatten(1) @ (grids.to(rows) @ columns.transpose(1, 2)).flatten(0, 1)


def _batch_interpolation(start: Tensor, end: Tensor, length: int, stride: int, cells: int) -> Tensor:
    """Bilinear weights ``(P, length, cells)`` from grids spread over [start, end] to every stride-th pixel centre."""
    centres = torch.arange(length, device=start.device) * stride + 0.5
    fraction = (centres - start[:, None]) / (end - start).clamp(min=1e-6)[:, None]
    position = (fraction * cells - 0.5).clamp(0, cells - 1)
    weights = (1 - (position[:, :, None] - torch.arange(cells, device=start.device)).abs()).clamp(min=0)
    return weights * ((fraction >= 0) & (fraction < 1))[:, :, None]
