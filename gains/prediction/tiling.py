"""Overlapping tiles that cover an image of any size."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

EDGE = 4
"""Pixels from its tile's edge within which an instance counts as cut: predicted outlines end a little early."""

MAX_ASPECT = 4
"""Longer and narrower images are padded to a tile: resizing their short side would blow them up."""


@dataclass(frozen=True)
class TileGrid:
    """Tiles of one size in rows and columns.

    Attributes:
        size: image ``(height, width)``.
        tile: tile ``(height, width)``; a side may be longer than the image's.
        rows: ``(R,)`` first pixel row of each row of tiles, from 0 up.
        columns: ``(C,)`` first pixel column of each column of tiles.
    """

    size: tuple[int, int]
    tile: tuple[int, int]
    rows: IntArray
    columns: IntArray

    @classmethod
    def covering(cls, size: tuple[int, int], side: int, overlap: int) -> "TileGrid":
        """Cover an image with square tiles; one that fits and is not a narrow strip becomes one tile of its own size.

        Args:
            size: image ``(height, width)``.
            side: of a tile in pixels.
            overlap: neighbouring tiles share at least this many pixels; less than ``side``.

        Raises:
            ValueError: if the overlap is negative or not less than the side.
        """
        if not 0 <= overlap < side:
            raise ValueError(f"overlap={overlap} must be at least 0 and less than tile={side}")
        if max(size) <= side and max(size) <= MAX_ASPECT * min(size):
            return cls(size, size, np.zeros(1, np.int64), np.zeros(1, np.int64))
        return cls(size, (side, side), _starts(size[0], side, overlap), _starts(size[1], side, overlap))

    def __len__(self) -> int:
        return len(self.rows) * len(self.columns)

    @property
    def boxes(self) -> IntArray:
        """``(T, 4)`` xyxy of each tile, row by row, clipped to the image."""
        y, x = (grid.ravel() for grid in np.meshgrid(self.rows, self.columns, indexing="ij"))
        height, width = self.size
        return np.stack([x, y, np.minimum(x + self.tile[1], width), np.minimum(y + self.tile[0], height)], axis=1)

    def cut(self, boxes: IntArray, tile: IntArray) -> BoolArray:
        """Which instances reach an edge of their tile behind which the image goes on.

        Args:
            boxes: ``(N, 4)`` of the instances in the image.
            tile: ``(N,)`` index of the tile in which each was found.
        """
        height, width = self.size
        own = self.boxes[tile]
        near = np.abs(boxes - own) < EDGE
        inside = np.stack([own[:, 0] > 0, own[:, 1] > 0, own[:, 2] < width, own[:, 3] < height], axis=1)
        cut: BoolArray = (near & inside).any(axis=1)
        return cut

    def fits(self, boxes: IntArray) -> BoolArray:
        """Which boxes ``(N, 4)`` lie in some tile without reaching its inner edges: that tile sees them whole."""
        horizontal = _fits(boxes[:, 0], boxes[:, 2], self.columns, self.tile[1], self.size[1])
        vertical = _fits(boxes[:, 1], boxes[:, 3], self.rows, self.tile[0], self.size[0])
        return horizontal & vertical


def _starts(length: int, side: int, overlap: int) -> IntArray:
    """Evenly spread starts of as few tiles as cover a length with the overlap."""
    count = max(1, -(-(length - overlap) // (side - overlap)))
    starts: IntArray = np.linspace(0, max(length - side, 0), count).round().astype(np.int64)
    return starts


def _fits(start: IntArray, end: IntArray, tiles: IntArray, side: int, length: int) -> BoolArray:
    """Along one axis: which spans lie in some tile, away from its inner edges."""
    left = (start[:, None] - tiles >= EDGE) | (tiles == 0)
    right = (tiles + side - end[:, None] >= EDGE) | (tiles + side >= length)
    within = (start[:, None] >= tiles) & (end[:, None] <= tiles + side)
    fits: BoolArray = (left & right & within).any(axis=1)
    return fits
