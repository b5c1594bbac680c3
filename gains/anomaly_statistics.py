"""How far the directions in a window spread: for one instance by itself, and for two that meet there.

Method, section 1, steps 3 and 4, on the entries of :class:`gains.anomaly_windows.AnomalyWindows`.
"""

import math
from typing import Protocol

import torch
from torch import Tensor

from gains.anomaly_windows import AnomalyWindows
from gains.window_sums import Sheet

SENTINEL = -4.0  # the published angle outside a mask


class Statistic(Protocol):
    """A measure of spread, bound to the entries of one image."""

    def alone(self) -> tuple[Tensor, Tensor]:
        """Self anomaly ``(E,)``, and what an instance without a pixel in the window adds to the mutual one."""
        ...

    def pair(self, batch: int, a: Tensor, b: Tensor) -> Tensor:
        """Mutual anomaly ``(J,)`` of the entries ``a`` and ``b`` of the same pixels, the pairs of that batch."""
        ...


class AngleSpread:
    """The published statistic: standard deviation of angles taken as plain numbers, a sentinel outside the mask.

    Angles enter as their distance to the sentinel: a common shift leaves a standard deviation alone, and makes what
    is outside a mask zero, so that sums over a window are sums over its mask pixels.

    Args:
        windows: the entries.
        overlaps: where two masks share pixels.
        variant: ``isbi``, ``nuclei`` or ``chromosome``.
        mirrored: the second pass, which measures angles from the negative x axis.
    """

    def __init__(self, windows: AnomalyWindows, overlaps: "Overlaps", variant: str, *, mirrored: bool) -> None:
        self._variant = variant
        self._area = windows.window**2
        dy, dx = windows.gradient
        angle = torch.angle(torch.complex(dx, dy))  # atan2(dy, dx), vectorised where float64 atan2 is not
        if mirrored:
            angle = torch.copysign(angle.new_tensor(math.pi), dy) - angle  # atan2(dy, -dx)
        raster = windows.raster(angle - SENTINEL)
        self._count = windows.count
        self._sum = windows.sums(raster)
        self._square = windows.sums(raster.square())
        self._overlaps = overlaps
        self._products = overlaps.window_sums(windows.at_pixels(raster))

    def alone(self) -> tuple[Tensor, Tensor]:
        whole = _deviation(self._sum, self._square, self._area)
        smaller = torch.minimum(whole, _deviation(self._sum, self._square, self._count))
        own = whole if self._variant == "chromosome" else smaller
        far = whole if self._variant == "nuclei" else smaller
        return own, far

    def pair(self, batch: int, a: Tensor, b: Tensor) -> Tensor:
        sum_a, sum_b = self._sum[a], self._sum[b]
        square = self._square[a] + self._square[b]
        # The square of a difference has a mixed term only where both masks are, on their overlap.
        of_difference = self._overlaps.subtract(square, 2 * self._products, batch)
        spread = _deviation(sum_a - sum_b, of_difference, self._area)
        if self._variant == "nuclei":
            return spread
        pooled = _deviation(sum_a + sum_b, square, self._count[a] + self._count[b])
        return torch.minimum(spread, pooled)


class Resultant:
    """The circular statistic: 1 - |sum of unit vectors| / number of pixels, between 0 (parallel) and 1.

    It has no cut, no sentinel and no preferred axis. A centroid pixel, whose gradient is zero, has no direction and
    counts as a pixel whose vector is zero.
    """

    def __init__(self, windows: AnomalyWindows) -> None:
        length = windows.gradient.square().sum(0).sqrt()
        unit = windows.gradient / torch.where(length > 0, length, 1)
        self._y, self._x = (windows.sums(windows.raster(component)) for component in unit)
        self._count = windows.count

    def alone(self) -> tuple[Tensor, Tensor]:
        own = 1 - torch.sqrt(self._y.square() + self._x.square()) / self._count
        return own, own

    def pair(self, batch: int, a: Tensor, b: Tensor) -> Tensor:
        y, x = self._y[a] + self._y[b], self._x[a] + self._x[b]
        return 1 - torch.sqrt(y.square() + x.square()) / (self._count[a] + self._count[b])


class Overlaps:
    """Products of two instances' values on the pixels they share, summed over windows.

    Args:
        windows: the entries.
        batches: the pairs of entries that will be asked for.
    """

    def __init__(self, windows: AnomalyWindows, batches: list[tuple[Tensor, Tensor]]) -> None:
        self._window = windows.window
        self._sheet: Sheet | None = None
        both = [windows.inside[a] & windows.inside[b] for a, b in batches]
        device = windows.count.device
        none = torch.zeros(0, dtype=torch.int64, device=device)
        self._a = torch.cat([none, *(a[shared] for (a, _), shared in zip(batches, both, strict=True))])
        self._b = torch.cat([none, *(b[shared] for (_, b), shared in zip(batches, both, strict=True))])
        if not len(self._a):
            return
        instance, total = windows.entries.instance, len(windows.mask_boxes)
        keys, number = torch.unique(instance[self._a] * total + instance[self._b], return_inverse=True)
        one, other = windows.mask_boxes[(keys // total).cpu()], windows.mask_boxes[(keys % total).cpu()]
        boxes = torch.cat([one[:, :2].maximum(other[:, :2]), one[:, 2:].minimum(other[:, 2:])], 1)
        self._sheet = Sheet(boxes, windows.margin, device)
        self._index = self._sheet.index(number, windows.entries.y[self._a], windows.entries.x[self._a])
        begin, end = (boxes[:, :2].flip(1) - windows.margin).T.to(device), boxes[:, 2:].flip(1).T.to(device)
        self._slots: list[tuple[Tensor, Tensor]] = []
        for a, b in batches:
            key = instance[a] * total + instance[b]
            place = torch.searchsorted(keys, key).clamp(max=len(keys) - 1)
            start = windows.start[:, a]
            known = (keys[place] == key) & (start >= begin[:, place]).all(0) & (start < end[:, place]).all(0)
            rows = known.nonzero().squeeze(1)
            self._slots.append((rows, self._sheet.index(place[rows], start[0][rows], start[1][rows])))

    def window_sums(self, values: Tensor) -> Tensor:
        """Window sums of the products of ``values (E,)``, to hand to :meth:`subtract`."""
        if self._sheet is None:
            return values.new_zeros(0)
        return self._sheet.window_sums(self._sheet.raster(self._index, values[self._a] * values[self._b]), self._window)

    def subtract(self, minuend: Tensor, sums: Tensor, batch: int) -> Tensor:
        """``minuend (J,)`` less the sums at the pairs of a batch."""
        if self._sheet is None:
            return minuend
        rows, slots = self._slots[batch]
        return minuend.index_add(0, rows, sums[slots], alpha=-1)


def _deviation(sums: Tensor, squares: Tensor, count: Tensor | int) -> Tensor:
    """Population standard deviation from sums; rounding may leave a variance just below zero."""
    return (squares / count - (sums / count).square()).clamp_(min=0).sqrt_()
