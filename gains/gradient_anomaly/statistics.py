"""How far the directions in a window spread: for one instance by itself, and for two that meet there.

Method, section 1, steps 3 and 4, on the entries of :class:`gains.gradient_anomaly.windows.AnomalyWindows`.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from gains.gradient_anomaly.field import direction, magnitude
from gains.gradient_anomaly.sums import Points, Sheet
from gains.gradient_anomaly.windows import AnomalyWindows

SENTINEL = -4.0  # the published angle outside a mask
RESOLUTION = 1e-14  # relative error of a variance computed from sums in float64, with room to spare


class Statistic(Protocol):
    """A measure of spread, bound to the entries of one image."""

    def alone(self) -> tuple[Tensor, Tensor]:
        """Self anomaly ``(E,)``, and what an instance without a pixel in the window adds to the mutual one."""
        ...

    def pair(self, a: slice, b: slice) -> Tensor:
        """Mutual anomaly ``(J,)`` of the entries ``a`` with the entries ``b`` of the same pixels."""
        ...


class AngleSpread:
    """The published statistic: standard deviation of angles taken as plain numbers, a sentinel outside the mask.

    Angles enter as their distance to the sentinel: a common shift leaves a standard deviation alone, and makes what
    is outside a mask zero, so that sums over a window are sums over its mask pixels.

    Args:
        windows: the entries.
        angle: ``(P,)`` direction of each instance's gradient at its mask pixels, in [-pi, pi].
        overlaps: where two masks share pixels.
        variant: ``isbi``, ``nuclei`` or ``chromosome``.
        mirrored: measure angles from the negative x axis, as the second pass does.
    """

    def __init__(
        self, windows: AnomalyWindows, angle: Tensor, overlaps: "Overlaps", variant: str, *, mirrored: bool
    ) -> None:
        self._variant = variant
        self._area = windows.window**2
        if mirrored:
            angle = torch.copysign(angle.new_tensor(math.pi), angle).sub_(angle)  # atan2(dy, -dx)
        raster = windows.raster(angle - SENTINEL)
        self._count = windows.count
        self._sum = windows.sums(raster)
        self._overlaps = overlaps
        self._products = overlaps.window_sums(raster)
        self._square = windows.sums(raster.square_())

    @classmethod
    def passes(cls, windows: AnomalyWindows, variant: str) -> list[Callable[[], "AngleSpread"]]:
        """What builds the statistic of the first pass, and of the second one, with the x axis mirrored."""
        angle = direction(*windows.gradients(windows.points))
        overlaps = Overlaps(windows)
        return [partial(cls, windows, angle, overlaps, variant, mirrored=mirrored) for mirrored in (False, True)]

    def alone(self) -> tuple[Tensor, Tensor]:
        """See :class:`Statistic`."""
        whole = _deviation(self._sum, self._square, self._area)
        smaller = torch.minimum(whole, _deviation(self._sum, self._square, self._count))
        own = whole if self._variant == "chromosome" else smaller
        far = whole if self._variant == "nuclei" else smaller
        return own, far

    def pair(self, a: slice, b: slice) -> Tensor:
        """See :class:`Statistic`."""
        square = self._square[a] + self._square[b]
        # The square of a difference has a mixed term only where both masks are, on their overlap.
        of_difference = self._overlaps.subtract(square, 2 * self._products, a, b)
        spread = _deviation(self._sum[a] - self._sum[b], of_difference, self._area, square)
        if self._variant == "nuclei":
            return spread
        pooled = _deviation(self._sum[a] + self._sum[b], square, self._count[a] + self._count[b])
        return torch.minimum(spread, pooled)


class Resultant:
    """The circular statistic: 1 - |sum of unit vectors| / number of pixels, between 0 (parallel) and 1.

    It has no cut, no sentinel and no preferred axis. A centroid pixel, whose gradient is zero, has no direction and
    counts as a pixel whose vector is zero.
    """

    def __init__(self, windows: AnomalyWindows) -> None:
        gradient = list(windows.gradients(windows.points))
        length = magnitude(*gradient)
        length.masked_fill_(length == 0, 1)
        self._y, self._x = (windows.sums(windows.raster(component.div_(length))) for component in gradient)
        self._count = windows.count

    def alone(self) -> tuple[Tensor, Tensor]:
        """See :class:`Statistic`."""
        own = 1 - torch.sqrt(self._y.square() + self._x.square()) / self._count
        return own, own

    def pair(self, a: slice, b: slice) -> Tensor:
        """See :class:`Statistic`."""
        y, x = self._y[a] + self._y[b], self._x[a] + self._x[b]
        return 1 - torch.sqrt(y.square() + x.square()) / (self._count[a] + self._count[b])


class Overlaps:
    """Products of two instances' values on the pixels they share, summed over windows.

    Args:
        windows: the entries.
    """

    def __init__(self, windows: AnomalyWindows) -> None:
        self._window = windows.window
        pairs = list(windows.pairs())
        number = torch.arange(len(windows.count), dtype=torch.int32, device=windows.count.device)
        both = [(windows.inside[a] & windows.inside[b]).nonzero().squeeze(1) for a, b in pairs]
        first, second = (
            windows.entries.select(
                torch.cat(
                    [number[:0]]
                    + [number[pair[side]].index_select(0, at) for pair, at in zip(pairs, both, strict=True)]
                )
            )
            for side in (0, 1)
        )
        self._slots: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}
        if len(first.y):
            self._first, self._second = windows.pixel_index(first), windows.pixel_index(second)
            self._lay_out(windows, pairs, first, second.instance)

    def _lay_out(
        self, windows: AnomalyWindows, pairs: list[tuple[slice, slice]], shared: Points, partner: Tensor
    ) -> None:
        """Give each pair of overlapping instances its place on a sheet, and find that of each pair of entries."""
        instance, total = windows.entries.instance, len(windows.mask_boxes)
        keys, number = torch.unique(shared.instance.long() * total + partner, return_inverse=True)
        known = keys.cpu()
        one, other = windows.mask_boxes[known // total], windows.mask_boxes[known % total]
        boxes = torch.cat([one[:, :2].maximum(other[:, :2]), one[:, 2:].minimum(other[:, 2:])], 1)
        self._sheet = Sheet(boxes, windows.margin, instance.device)
        self._index = self._sheet.index(number, shared.y, shared.x).long()
        begin_x, begin_y, end_x, end_y = (
            (boxes - boxes.new_tensor([windows.margin] * 2 + [0] * 2)).T.int().to(keys.device)
        )
        start_y, start_x = windows.starts()
        for a, b in pairs:
            key = instance[a].long() * total + instance[b]
            place = torch.searchsorted(keys, key, out_int32=True).clamp_(max=len(keys) - 1)
            y, x = start_y[a], start_x[a]
            near = keys.index_select(0, place) == key
            for start, begin, end in ((y, begin_y, end_y), (x, begin_x, end_x)):
                near &= (start >= begin.index_select(0, place)) & (start < end.index_select(0, place))
            rows = near.nonzero().squeeze(1)
            slots = self._sheet.index(*(part.index_select(0, rows) for part in (place, y, x)))
            self._slots[a.start, b.start] = rows, slots

    def window_sums(self, raster: Tensor) -> Tensor:
        """Window sums of the products of a raster's values, to hand to :meth:`subtract`."""
        if not self._slots:
            return raster.new_zeros(0)
        products = raster.index_select(0, self._first) * raster.index_select(0, self._second)
        return self._sheet.window_sums(self._sheet.raster(self._index, products), self._window)

    def subtract(self, minuend: Tensor, sums: Tensor, a: slice, b: slice) -> Tensor:
        """``minuend (J,)`` less the sums in the windows of the entries ``a`` with ``b``."""
        if not self._slots:
            return minuend
        rows, slots = self._slots[a.start, b.start]
        return minuend.index_add(0, rows, sums.index_select(0, slots), alpha=-1)


def _deviation(sums: Tensor, squares: Tensor, count: Tensor | int, largest: Tensor | None = None) -> Tensor:
    """Population standard deviation from sums.

    A variance that rounding cannot tell from zero becomes zero: its square root would be a thousand times the rounding
    error, and the normalisation of a map blows up what is left where all else cancels out.

    Args:
        sums: sum of the values.
        squares: sum of their squares.
        count: how many values.
        largest: the positive terms of ``squares`` where it is a difference.
    """
    squares = squares * (1 - RESOLUTION) if largest is None else squares.sub(largest, alpha=RESOLUTION)
    return squares.div_(count).sub_((sums / count).square_()).clamp_(min=0).sqrt_()
