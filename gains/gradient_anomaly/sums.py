"""Sums over sliding windows for many instances at once, without a full-size array and without a loop over instances.

The boxes of all instances are packed side by side on one :class:`Sheet`, with zeros between them, so that one box
filter over the sheet gives every window of every instance. Its cost follows the area of the boxes, not N x H x W.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

BAND = 128  # rows of a sheet that are summed at a time


@dataclass(frozen=True)
class Points:
    """Pixels that belong to instances: ``instance``, ``y`` and ``x``, each ``(P,)`` int32.

    Indices here are 32 bits wide, which halves the memory they take and the time to read it.
    """

    instance: Tensor
    y: Tensor
    x: Tensor

    def select(self, indices: Tensor) -> "Points":
        """The points of the given indices."""
        return Points(*(part.index_select(0, indices) for part in (self.instance, self.y, self.x)))


class BoxRows:
    """The pixel rows of boxes, in the order in which :class:`gains.masks.InstanceCrops` stores their values.

    Tables of R rows are small; a pixel finds its row number in :meth:`of_positions` and reads the rest from them.

    Args:
        boxes: ``(N, 4)`` int64 on the CPU, xyxy with exclusive end.
        device: where the tables go.
    """

    def __init__(self, boxes: Tensor, device: torch.device) -> None:
        width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
        instance = torch.repeat_interleave(height)
        first_row = height.cumsum(0) - height
        widths = width[instance]
        begin = widths.cumsum(0) - widths
        self.total = int((width * height).sum())
        y = torch.arange(len(instance)) - (first_row - boxes[:, 1])[instance]
        tables = torch.stack([instance, y, boxes[:, 0][instance] - begin, widths]).int().to(device)
        self.instance, self.y, self.x_offset, self._widths = tables

    def of_positions(self) -> Tensor:
        """Row number ``(T,)`` of each of the T stored pixels."""
        return torch.repeat_interleave(self._widths, output_size=self.total)

    def points(self, positions: Tensor, rows: Tensor) -> Points:
        """Instance and image coordinates of stored pixels, given with their row numbers."""
        instance, y, x_offset = (table.index_select(0, rows) for table in (self.instance, self.y, self.x_offset))
        return Points(instance, y, x_offset.add_(positions))


class Sheet:
    """Boxes packed on one raster, each with a margin of zeros above and on its left.

    What runs over a box's right or lower edge by up to ``margin`` pixels meets the zeros of its successor, so window
    sums (and single reads) need no bounds checks there. The raster is kept flat; a step down is ``stride``.

    Args:
        boxes: ``(N, 4)`` int64 on the CPU, xyxy with exclusive end.
        margin: width of the zeros, the side of the largest window less 1.
        device: where :meth:`index` will be asked.
    """

    def __init__(self, boxes: Tensor, margin: int, device: torch.device) -> None:
        sides = [(y1 - y0 + margin, x1 - x0 + margin) for x0, y0, x1, y1 in boxes.tolist()]
        corners, self.stride, height = _pack(sides)
        self._size = (height + margin) * self.stride + margin
        inner = torch.tensor(corners, dtype=torch.int64).reshape(-1, 2) + margin
        origin = (inner[:, 0] - boxes[:, 1]) * self.stride + inner[:, 1] - boxes[:, 0]
        self.origin = origin.int().to(device)

    def index(self, instance: Tensor, y: Tensor, x: Tensor) -> Tensor:
        """Flat positions of image pixels ``(y, x)`` on the sheet, each read on its own instance's box."""
        return self.origin.index_select(0, instance).add_(y, alpha=self.stride).add_(x)

    def raster(self, index: Tensor, values: Tensor) -> Tensor:
        """Flat raster that holds ``values`` at ``index`` (int64) and zero elsewhere."""
        return values.new_zeros(self._size).scatter_(0, index, values)

    def window_sums(self, raster: Tensor, window: int, *, tapered: bool = False) -> Tensor:
        """Sum over the ``window`` x ``window`` pixels that start at each position (y, x downwards and rightwards).

        Args:
            raster: flat raster of this sheet.
            window: side in pixels.
            tapered: one pixel more per side, the outermost ones weighing one half, as in the trapezoid rule.

        Returns:
            Flat sums for all rows in which a window can start.
        """
        reach = window if tapered else window - 1
        rows = (len(raster) - reach) // self.stride - reach
        sums = raster.new_empty(rows * self.stride)
        for begin in range(0, rows, BAND):  # a band's intermediate sums stay in the processor's cache
            end = min(begin + BAND, rows)
            part = raster[begin * self.stride : (end + reach) * self.stride + reach]
            for step in (1, self.stride):
                part = _running_sum(part, window, step)
                if tapered:
                    part = (part[:-step] + part[step:]).div_(2)
            sums[begin * self.stride : end * self.stride] = part
        return sums


def _running_sum(values: Tensor, length: int, step: int) -> Tensor:
    """``out[t] = sum of values[t + j * step], j < length``, by doubling: about log2(length) additions.

    Every sum adds its own terms only. A difference of cumulative sums would cost the same and lose the digits that
    the variance of a few equal angles needs.
    """
    block, size = values, 1  # block[t] sums `size` terms from t on
    total: Tensor | None = None
    covered = 0
    while True:
        if length & size:
            start = covered * step
            total = block if total is None else total[: len(block) - start] + block[start:][: len(total)]
            covered += size
        if 2 * size > length:
            assert total is not None
            return total[: len(values) - (length - 1) * step]
        block = block[: len(block) - size * step] + block[size * step :]
        size *= 2


def _pack(sides: list[tuple[int, int]]) -> tuple[list[tuple[int, int]], int, int]:
    """Top-left corners of rectangles ``(height, width)`` set on shelves, tallest first, and the width and height used.

    The sheet is about square; sorting keeps shelves of one height together, so that little room is lost.
    """
    area = sum(height * width for height, width in sides)
    limit = max([math.isqrt(area), *(width for _, width in sides)])
    corners = [(0, 0)] * len(sides)
    top = left = shelf = used = 0
    for index in sorted(range(len(sides)), key=lambda i: sides[i], reverse=True):
        height, width = sides[index]
        if left + width > limit:
            top, left, shelf = top + shelf, 0, 0
        corners[index] = (top, left)
        left, shelf = left + width, max(shelf, height)
        used = max(used, left)
    return corners, max(used, 1), top + shelf
