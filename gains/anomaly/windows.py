"""Which windows matter to gradient anomaly maps, and which of them meet at one pixel.

Method, section 1, step 2. One *entry* stands for one instance at one image pixel: the window which that pixel takes,
provided that it holds a pixel of the instance. All later steps are operations on vectors of E entries.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from gains.anomaly.field import centroids, radial_gradient
from gains.anomaly.sums import BoxRows, Points, Sheet
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
        gradient: ``(2, P)`` gradient (y, x) of each instance's field at its own mask pixels.
        entries: ``(E,)`` instance and pixel of each entry.
        position: ``(E,)`` where each entry lies among the values of crops on ``boxes``.
        start: row and column ``(E,)`` at which its window starts; may lie outside the image where ``centred``.
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
        positions = masks.values.nonzero().squeeze(1)
        points = rows.points(positions, rows.of_positions().index_select(0, positions))
        self._mask_index = self._sheet.index(points.instance, points.y, points.x)
        self.centroid = centroids(points, len(masks))
        self.gradient = self.gradients(points)
        self._find_entries(lone_below)

    def gradients(self, points: Points) -> Tensor:
        """Gradient ``(2, P)`` (y, x) of each point's own instance."""
        components = [
            radial_gradient(position, self.centroid[:, axis].index_select(0, points.instance), self.size[axis])
            for axis, position in enumerate((points.y, points.x))
        ]
        return torch.stack(components)

    def raster(self, values: Tensor) -> Tensor:
        """Put one value per mask pixel ``(P,)`` where :meth:`sums` and :meth:`at_pixels` can read it."""
        return self._sheet.raster(self._mask_index, values)

    def sums(self, raster: Tensor) -> Tensor:
        """Sum of a raster over each entry's window ``(E,)``."""
        sums = self._sheet.window_sums(raster, self.window, tapered=self._tapered)
        return sums.index_select(0, self._window_index)

    def at_pixels(self, raster: Tensor) -> Tensor:
        """A raster's value at each entry's own pixel ``(E,)``, zero outside the mask."""
        return raster.index_select(0, self._sheet.index(self.entries.instance, self.entries.y, self.entries.x))

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
        height, width = self.size
        occupied = self.raster(torch.ones_like(self._mask_index, dtype=torch.float32))
        counts = self._sheet.window_sums(occupied, self.window, tapered=self._tapered)
        rows = BoxRows(self.boxes, occupied.device)
        row = rows.of_positions()
        x = torch.arange(len(row), device=row.device).add_(rows.x_offset.index_select(0, row))
        row_index = self._sheet.index(rows.instance, self._window_start(rows.y, height), torch.zeros_like(rows.y))
        index = self._window_start(x, width).add_(row_index.index_select(0, row))
        count = counts.index_select(0, index)
        found = count.nonzero().squeeze(1)
        # Pixels are numbered within the rectangle around all instances.
        left, top, right, bottom = _around(self.boxes)
        row_number = (rows.y - top) * (right - left) - left
        pixel = x.index_select(0, found).add_(row_number.index_select(0, row.index_select(0, found)))
        order = self._grouped(pixel, (right - left) * (bottom - top), count.index_select(0, found) < lone_below)
        self.position = found.index_select(0, order)
        self.entries = rows.points(self.position, row.index_select(0, self.position))
        self.start = (self._window_start(self.entries.y, height), self._window_start(self.entries.x, width))
        self._window_index = index.index_select(0, self.position)
        self.count = count.index_select(0, self.position).double()
        self.inside = self.at_pixels(occupied) > 0

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
        order = shared.index_select(0, (several * area + pixel.index_select(0, shared)).argsort(stable=True))
        self.blocks: list[tuple[int, int, int]] = []
        parts, begin = [], 0
        for number, total in enumerate(torch.bincount(several).tolist()):
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
