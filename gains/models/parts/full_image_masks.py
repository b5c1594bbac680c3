"""From coarse maps over the whole padded input to masks on their boxes in the original image.

Every step in between (enlarge by the stride, cut off the padding, resize to the original) is linear and separable, so
together they are two thin matrices, one per axis. A pixel's value is a weighted mean of a few cells: where no cell
exceeds the threshold, no pixel does, and only the rest is computed. Memory is one instance's window, whatever N is.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from gains.masks import InstanceCrops
from gains.models.parts.aligned_upsampling import aligned_positions
from gains.rle import RLE


@dataclass(frozen=True)
class FullImageMasks:
    """Predicted masks of one image, already in its coordinates.

    Attributes:
        instances: the masks on the CPU.
    """

    instances: InstanceCrops

    def __len__(self) -> int:
        return len(self.instances)

    def paste(self) -> InstanceCrops:
        """Binary masks in the image."""
        return self.instances

    def to_rle(self) -> list[RLE]:
        """COCO RLE of each mask."""
        return self.instances.to_rle()


@dataclass(frozen=True)
class MapReader:
    """How coarse maps are read at image resolution.

    Attributes:
        stride: network pixels per cell.
        logits: whether maps are logits (cut at 0) or probabilities (cut at 0.5).
        aligned: enlarge as :func:`aligned_upsample` does; otherwise plain bilinear with cell centres at halves.
    """

    stride: int
    logits: bool
    aligned: bool

    @property
    def threshold(self) -> float:
        """A pixel belongs to the mask where its value exceeds this."""
        return 0.0 if self.logits else 0.5

    def windows(
        self, maps: Tensor, size: tuple[int, int], original: tuple[int, int]
    ) -> Iterator[tuple[Tensor, int, int]]:
        """Values of each map at image resolution, where they can exceed the threshold.

        Args:
            maps: ``(N, h, w)`` over the padded input.
            size: of the image in the network, before padding.
            original: the image's own ``(height, width)``.

        Yields:
            Values ``(H', W')`` and the row and column of their first pixel; empty where nothing exceeds the threshold.
        """
        maps = maps.float()
        rows = self._axis(maps.shape[1], size[0], original[0]).to(maps.device)
        columns = self._axis(maps.shape[2], size[1], original[1]).to(maps.device)
        hot = maps > self.threshold
        spans = torch.cat([_span(hot.any(2), rows), _span(hot.any(1), columns)], dim=1)
        for values, (top, bottom, left, right) in zip(maps, spans.tolist(), strict=True):
            yield rows[top:bottom] @ values @ columns[left:right].T, top, left

    def masks(self, maps: Tensor, size: tuple[int, int], original: tuple[int, int]) -> tuple[FullImageMasks, Tensor]:
        """Threshold the maps at image resolution.

        Args:
            maps: see :meth:`windows`.
            size: likewise.
            original: likewise.

        Returns:
            The masks, each on its tight box, and the mean probability ``(N,)`` inside each (0 where a mask is empty).
        """
        crops, boxes, means = [], [], []
        for values, top, left in self.windows(maps, size, original):
            inside = values > self.threshold
            probabilities = values.sigmoid() if self.logits else values
            means.append((probabilities * inside).sum() / inside.sum().clamp(min=1))
            tight = InstanceCrops.from_dense(inside[None].cpu())
            crops.append(tight.crop(0))
            boxes.append(tight.boxes[0] + torch.tensor([left, top, left, top]))
        joined = torch.stack(boxes) if boxes else torch.zeros(0, 4)
        found = FullImageMasks(InstanceCrops.from_crops(crops, joined, original))
        return found, torch.stack(means) if means else maps.new_zeros(0)

    def _axis(self, cells: int, size: int, original: int) -> Tensor:
        """Weights ``(original, cells)`` of the cells in each pixel along one axis."""
        padded = cells * self.stride
        enlarge = aligned_positions(cells, self.stride) if self.aligned else _resize_positions(cells, padded)
        weights = _linear_weights(enlarge[:size], cells)
        if original == size:
            return weights
        return _linear_weights(_resize_positions(size, original), size) @ weights


def _resize_positions(cells: int, pixels: int) -> Tensor:
    """Where along ``cells`` values a bilinear resize to ``pixels`` values reads (align_corners=False)."""
    return ((torch.arange(pixels) + 0.5) * cells / pixels - 0.5).clamp(0, cells - 1)


def _linear_weights(positions: Tensor, cells: int) -> Tensor:
    """Linear interpolation at positions as a matrix ``(P, cells)``: a hat of width 1 around each cell."""
    return (1 - (positions[:, None] - torch.arange(cells)).abs()).clamp(min=0)


def _span(hot: Tensor, weights: Tensor) -> Tensor:
    """First and last (exclusive) of the pixels ``(N, 2)`` that read any hot cell ``(N, cells)``; (0, 0) if none."""
    reached = (hot.to(weights.dtype) @ (weights > 0).to(weights.dtype).T) > 0
    first = reached.int().argmax(1)
    last = reached.shape[1] - reached.flip(1).int().argmax(1)
    return torch.stack([first, torch.where(reached.any(1), last, first)], dim=1)
