"""Which windows matter to gradient anomaly maps, and which of them meet at one pixel.

Method, section 1, step 2. One *entry* stands for one instance at one image pixel: the window which that pixel takes,
provided that it holds a pixel of the instance. All later steps are operations on vectors of E entries.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from gains.masks import InstanceCrops
from gains.radial_field import centroids, radial_gradient
from gains.window_sums import BoxRows, Points, Sheet


class AnomalyWindows:
    """The entries of an image, in the order of pixels and, within a pixel, in annotation order.

    Attributes:
        size: image ``(height, width)``.
        window: side of the windows in pixels.
        boxes: ``(N, 4)`` int64 on the CPU, the pixels which entries of each instance can have.
        centroid: ``(N, 2)`` (y, x) of the instances.
        gradient: ``(2, P)`` gradient (y, x) of each instance's field at its own mask pixels.
        entries: ``(E,)`` instance and pixel of each entry.
        position: ``(E,)`` where each entry lies among the values of crops on ``boxes``.
        start: ``(2, E)`` row and column at which its window starts; may lie outside the image where ``centred``.
        count: ``(E,)`` float64, the instance's pixels in the window, at least one.
        inside: ``(E,)`` whether the pixel itself belongs to the instance's mask.
        first, members: ``(E,)`` the first entry of the same pixel, and how many entries that pixel has.

    Args:
        masks: the N instances to look at, on CPU or GPU.
        window: side of the windows in pixels.
        centred: a pixel takes the window around it, cut at the image's border (an even window gets one more pixel
            per side, its outermost ones counting half); else the window that starts at it, moved back into the image.
        shared_only: keep only the entries of pixels that have at least two.
    """

    def __init__(self, masks: InstanceCrops, window: int, *, centred: bool, shared_only: bool) -> None:
        self.size, self.window, self._centred = masks.size, window, centred
        self._tapered = centred and window % 2 == 0
        device = masks.values.device
        self.margin = 2 * (window // 2) if centred else window - 1
        self.mask_boxes = masks.boxes
        self.boxes = self._reached(masks.boxes)
        self._sheet = Sheet(masks.boxes, self.margin, device)
        rows = BoxRows(masks.boxes, device)
        positions = masks.values.nonzero().squeeze(1)
        points = rows.points(positions, rows.of_positions()[positions])
        self._mask_index = self._sheet.index(points.instance, points.y, points.x)
        self.centroid = centroids(points, len(masks))
        self.gradient = self.gradients(points)
        self._find_entries(shared_only)

    def gradients(self, points: Points) -> Tensor:
        """Gradient ``(2, P)`` (y, x) of each point's own instance."""
        components = [
            radial_gradient(position, self.centroid[:, axis][points.instance], self.size[axis])
            for axis, position in enumerate((points.y, points.x))
        ]
        return torch.stack(components)

    def raster(self, values: Tensor) -> Tensor:
        """Put one value per mask pixel ``(P,)`` where :meth:`sums` and :meth:`at_pixels` can read it."""
        return self._sheet.raster(self._mask_index, values)

    def sums(self, raster: Tensor) -> Tensor:
        """Sum of a raster over each entry's window ``(E,)``."""
        return self._sheet.window_sums(raster, self.window, tapered=self._tapered)[self._window_index]

    def at_pixels(self, raster: Tensor) -> Tensor:
        """A raster's value at each entry's own pixel ``(E,)``, zero outside the mask."""
        return raster[self._sheet.index(self.entries.instance, self.entries.y, self.entries.x)]

    def pairs(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Every two entries of a pixel once, earlier instance first, in batches ``(J,), (J,)`` of distinct entries."""
        number = torch.arange(len(self.first), device=self.first.device)
        following = self.first + self.members - number - 1
        step = 1
        while len(number := number[following[number] >= step]):
            yield number, number + step
            step += 1

    def _reached(self, boxes: Tensor) -> Tensor:
        """Boxes of the pixels whose window holds a pixel of the given boxes."""
        limit = torch.tensor([self.size[1], self.size[0]])
        begin, end = boxes[:, :2], boxes[:, 2:]
        if self._centred:
            return (
                torch.cat([begin - self.window // 2, end + self.window // 2], 1).clamp(min=0).minimum(limit.repeat(2))
            )
        # The last windows of a row or column serve all pixels up to the border.
        end = torch.where(end > limit - self.window, limit, end)
        return torch.cat([(begin - self.window + 1).clamp(min=0), end], 1)

    def _window_start(self, position: Tensor, length: int) -> Tensor:
        return position - self.window // 2 if self._centred else position.clamp(max=length - self.window)

    def _find_entries(self, shared_only: bool) -> None:
        height, width = self.size
        occupied = self.raster(torch.ones_like(self._mask_index, dtype=torch.float32))
        counts = self._sheet.window_sums(occupied, self.window, tapered=self._tapered)
        rows = BoxRows(self.boxes, occupied.device)
        row = rows.of_positions()
        x = torch.arange(len(row), device=row.device) + rows.x_offset[row]
        row_index = self._sheet.index(rows.instance, self._window_start(rows.y, height), torch.zeros_like(rows.y))
        index = row_index[row] + self._window_start(x, width)
        pixel = (rows.y * width)[row] + x
        keep = (counts[index] > 0).nonzero().squeeze(1)
        pixel = pixel[keep]
        members = torch.zeros(height * width, dtype=torch.int32, device=row.device)
        shared = members.index_add_(0, pixel, torch.ones_like(pixel, dtype=torch.int32))[pixel] > 1
        order = shared.nonzero().squeeze(1)
        order = order[pixel[order].argsort(stable=True)]
        if not shared_only:
            order = torch.cat([order, (~shared).nonzero().squeeze(1)])
        keep = keep[order]
        self.position = keep
        self.entries = rows.points(keep, row[keep])
        self.start = torch.stack(
            [self._window_start(self.entries.y, height), self._window_start(self.entries.x, width)]
        )
        self._window_index = index[keep]
        self.count = counts[self._window_index].double()
        self.inside = self.at_pixels(occupied) > 0
        _, sizes = torch.unique_consecutive(pixel[order], return_counts=True)
        self.first = torch.repeat_interleave(sizes.cumsum(0) - sizes, sizes, output_size=len(order))
        self.members = torch.repeat_interleave(sizes, output_size=len(order))
        self.members = sizes[self.members]
