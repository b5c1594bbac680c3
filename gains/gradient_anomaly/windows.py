"""Which windows matter to gradient anomaly maps, and which of them meet at one pixel.

Method, section 1, step 2. One *entry* stands for one instance at one image pixel: the window which that pixel takes,
provided that it holds a pixel of the instance. All later steps are operations on vectors of E entries.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from gains.gradient_anomaly.field import centroids, radial_gradient
from gains.gradient_anomaly.sums import BoxRows, Points, Sheet
from gains.masks import InstanceCrops


class AnomalyWindows:
    """The entries of an image.

    Pixels with equally many entries stand together: a *block* of G pixels with m entries each is stored as m runs of
    length G, the first entries of all its pixels, then the second ones, and so on in annotation order. Whatever meets
    at a pixel is then found by slicing, and no index is needed.

    Attributes:
        size: image ``(height, width)``.
        window: side of the windows in pixels.
        margin: how far windows reach over an instance's box.
        mask_boxes: ``(N, 4)`` int64 on the CPU, boxes of the masks.
        boxes: ``(N, 4)`` int64 on the CPU, the pixels which entries of each instance can have.
        centroid: ``(N, 2)`` (y, x) of the instances.
        points: ``(P,)`` mask pixels of all instances.
        entries: ``(E,)`` instance and pixel of each entry.
        position: ``(E,)`` where each entry lies among the values of crops on ``boxes``.
        count: ``(E,)`` float64, the instance's pixels in the window, at least one.
        inside: ``(E,)`` whether the pixel itself belongs to the instance's mask.
        blocks: first entry, m and G of each block.

    Args:
        masks: the N instances to look at, on CPU or GPU.
        window: side of the windows in pixels.
        centred: a pixel takes the window around it, cut at the image's border (an even window gets one more pixel
            per side, its outermost ones counting half); else the window that starts at it, moved back into the image.
        lone_below: a pixel's only entry is dropped unless its window holds fewer pixels of the instance than this.
    """

    def __init__(self, masks: InstanceCrops, window: int, *, centred: bool, lone_below: float) -> None:
        self.size, self.window, self._centred = masks.size, window, centred
        self._tapered = centred and window % 2 == 0
        device = masks.values.device
        self.margin = 2 * (window // 2) if centred else window - 1
        self.mask_boxes = masks.boxes
        self.boxes = self._reached(masks.boxes)
        self._sheet = Sheet(masks.boxes, self.margin, device)
        rows = BoxRows(masks.boxes, device)
        positions = masks.values.nonzero().squeeze(1).int()
        self.points = rows.points(positions, rows.of_positions().index_select(0, positions))
        self._mask_index = self._sheet.index(self.points.instance, self.points.y, self.points.x).long()
        self.centroid = centroids(self.points, len(masks))
        self._find_entries(lone_below)

    def gradients(self, points: Points) -> Iterator[Tensor]:
        """Gradient of each point's own instance, float64: its y and then its x component ``(P,)``."""
        for axis, position in enumerate((points.y, points.x)):
            yield radial_gradient(position, self.centroid[:, axis].index_select(0, points.instance), self.size[axis])

    def starts(self) -> tuple[Tensor, Tensor]:
        """Row and column ``(E,)`` at which each entry's window starts; may lie outside the image where centred."""
        height, width = self.size
        return self._window_start(self.entries.y, height), self._window_start(self.entries.x, width)

    def raster(self, values: Tensor) -> Tensor:
        """Put one value per mask pixel ``(P,)`` where :meth:`sums` and :meth:`pixel_index` find it."""
        return self._sheet.raster(self._mask_index, values)

    def sums(self, raster: Tensor) -> Tensor:
        """Sum of a raster over each entry's window ``(E,)``."""
        sums = self._sheet.window_sums(raster, self.window, tapered=self._tapered)
        return sums.index_select(0, self._window_index)

    def pixel_index(self, entries: Points) -> Tensor:
        """Where a raster has the values at the entries' own pixels; those outside the mask are zero."""
        return self._sheet.index(entries.instance, entries.y, entries.x)

    def pairs(self) -> Iterator[tuple[slice, slice]]:
        """Every two entries of a pixel once, as slices of equal length, the earlier instances' entries first."""
        for begin, members, pixels in self.blocks:
            end = begin + members * pixels
            for step in (pixels * apart for apart in range(1, members)):
                yield slice(begin, end - step), slice(begin + step, end)

    def _reached(self, boxes: Tensor) -> Tensor:
        """Boxes of the pixels whose window holds a pixel of the given boxes."""
        limit = torch.tensor([self.size[1], self.size[0]])
        begin, end = boxes[:, :2], boxes[:, 2:]
        if self._centred:
            half = self.window // 2
            return torch.cat([(begin - half).clamp(min=0), (end + half).minimum(limit)], 1)
        # The last windows of a row or column serve all pixels up to the border.
        end = torch.where(end > limit - self.window, limit, end)
        return torch.cat([(begin - self.window + 1).clamp(min=0), end], 1)

    def _window_start(self, position: Tensor, length: int) -> Tensor:
        return position - self.window // 2 if self._centred else position.clamp(max=length - self.window)

    def _find_entries(self, lone_below: float) -> None:
        occupied = self.raster(torch.ones_like(self._mask_index, dtype=torch.float32))
        counts = self._sheet.window_sums(occupied, self.window, tapered=self._tapered)
        rows = BoxRows(self.boxes, occupied.device)
        row = rows.of_positions()
        index = self._window_indices(rows, row)
        found = (counts.index_select(0, index) > 0).nonzero().squeeze(1).int()
        row, index = row.index_select(0, found), index.index_select(0, found)
        # Pixels are numbered within the rectangle around all instances.
        left, top, right, bottom = _around(self.boxes)
        pixel = (rows.x_offset + (rows.y - top) * (right - left) - left).index_select(0, row).add_(found)
        lone = counts.index_select(0, index) < lone_below
        order = self._grouped(pixel, (right - left) * (bottom - top), lone)
        self.position = found.index_select(0, order)
        self.entries = rows.points(self.position, row.index_select(0, order))
        self._window_index = index.index_select(0, order)
        self.count = counts.index_select(0, self._window_index).double()
        self.inside = occupied.index_select(0, self.pixel_index(self.entries)) > 0

    def _window_indices(self, rows: BoxRows, row: Tensor) -> Tensor:
        """Where the window sums of each pixel ``(T,)`` of the boxes are found, given its row number."""
        height, width = self.size
        x = torch.arange(rows.total, dtype=torch.int32, device=row.device).add_(rows.x_offset.index_select(0, row))
        of_rows = self._sheet.index(rows.instance, self._window_start(rows.y, height), torch.zeros_like(rows.y))
        return self._window_start(x, width).add_(of_rows.index_select(0, row))

    def _grouped(self, pixel: Tensor, area: int, keep_lone: Tensor) -> Tensor:
        """Choose and order entries to make blocks, and set ``blocks``.

        Args:
            pixel: each entry's pixel, a number below ``area``; entries come in the order of instances.
            area: how many pixels there are.
            keep_lone: whether to keep an entry that is alone at its pixel.
        """
        ones = torch.ones_like(pixel, dtype=torch.int32)
        members = torch.zeros(area, dtype=torch.int32, device=pixel.device).index_add_(0, pixel, ones)
        members = members.index_select(0, pixel)
        shared = (members > 1).nonzero().squeeze(1)
        several = members.index_select(0, shared)
        totals = torch.bincount(several).tolist()
        narrow = area * len(totals) < 2**31  # 32 bits sort in half the time
        key = several.to(torch.int32 if narrow else torch.int64).mul_(area).add_(pixel.index_select(0, shared))
        order = shared.index_select(0, key.argsort(stable=True))
        self.blocks: list[tuple[int, int, int]] = []
        parts, begin = [], 0
        for number, total in enumerate(totals):
            if total:
                self.blocks.append((begin, number, total // number))
                parts.append(order[begin : begin + total].view(-1, number).T.reshape(-1))
                begin += total
        lone = (keep_lone & (members == 1)).nonzero().squeeze(1)
        self.blocks.append((begin, 1, len(lone)))
        return torch.cat([*parts, lone])


def _around(boxes: Tensor) -> tuple[int, int, int, int]:
    """The smallest box that holds all boxes ``(N, 4)``; with none, an empty one."""
    if not len(boxes):
        return 0, 0, 0, 0
    x0, y0, x1, y1 = *boxes[:, :2].amin(0).tolist(), *boxes[:, 2:].amax(0).tolist()
    return x0, y0, x1, y1
