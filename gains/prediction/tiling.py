"""Overlapping tiles that cover an image of any size."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gains.arrays import BoolArray, FloatArray, IntArray
from gains.images.scaling import fits_tile

EDGE = 4
"""Pixels from its tile's edge within which an instance counts as cut: predicted outlines end a little early. Of the
image, and as many of the network, where a pixel of the network is larger."""


@dataclass(frozen=True)
class TileGrid:
    """Tiles of one size in rows and columns.

    Attributes:
        size: image ``(height, width)``.
        tile: tile ``(height, width)``; a side may be longer than the image's.
        rows: ``(R,)`` first pixel row of each row of tiles, from 0 up.
        columns: ``(C,)`` first pixel column of each column of tiles.
        edge: pixels from its tile's edge within which an instance counts as cut.
    """

    size: tuple[int, int]
    tile: tuple[int, int]
    rows: IntArray
    columns: IntArray
    edge: int = EDGE

    @classmethod
    def covering(
        cls, size: tuple[int, int], side: int, overlap: int, square: bool = False, edge: int = EDGE
    ) -> "TileGrid":
        """Cover an image with square tiles; one that fits and is not a narrow strip becomes one tile of its own size.

        Args:
            size: image ``(height, width)``.
            side: of a tile in pixels.
            overlap: neighbouring tiles share at least this many pixels; less than ``side``.
            square: an image that fits gets a square tile too.
            edge: see :class:`TileGrid`.

        Raises:
            ValueError: if the overlap is negative or not less than the side.
        """
        if not 0 <= overlap < side:
            raise ValueError(f"overlap={overlap} must be at least 0 and less than tile={side}")
        if fits_tile(size, side) and not square:
            return cls(size, size, np.zeros(1, np.int64), np.zeros(1, np.int64), edge)
        return cls(size, (side, side), _starts(size[0], side, overlap), _starts(size[1], side, overlap), edge)

    def __len__(self) -> int:
        return len(self.rows) * len(self.columns)

    @cached_property
    def boxes(self) -> IntArray:
        """``(T, 4)`` xyxy of each tile, row by row, clipped to the image."""
        y, x = (grid.ravel() for grid in np.meshgrid(self.rows, self.columns, indexing="ij"))
        height, width = self.size
        return np.stack([x, y, np.minimum(x + self.tile[1], width), np.minimum(y + self.tile[0], height)], axis=1)

    def room(self, boxes: IntArray, tile: IntArray) -> FloatArray:
        """Pixels between each instance and the nearest edge of its tile behind which the image goes on.

        Args:
            boxes: ``(N, 4)`` of the instances in the image.
            tile: ``(N,)`` index of the tile in which each is looked at.

        Returns:
            ``(N,)``; negative where the instance leaves the tile, infinite where the tile has no such edge.
        """
        return np.minimum(*self._room(boxes, tile))

    def between(self, first: int, second: int) -> set[int]:
        """The two tiles that share a row with the one and a column with the other; none if these share either."""
        (row, column), (other_row, other_column) = (divmod(tile, len(self.columns)) for tile in (first, second))
        if row == other_row or column == other_column:
            return set()
        return {row * len(self.columns) + other_column, other_row * len(self.columns) + column}

    def around(self, first: int, second: int) -> set[int]:
        """The tiles that overlap one of two tiles, themselves among them."""
        boxes = self.boxes
        near: set[int] = set()
        for own in (boxes[first], boxes[second]):
            near |= set(np.flatnonzero((np.minimum(boxes, own)[:, 2:] > np.maximum(boxes, own)[:, :2]).all(1)).tolist())
        return near

    def left_to_others(self, boxes: IntArray, tile: IntArray) -> BoolArray:
        """Which pieces ``(N, 4)`` come close to an edge of their tile ``(N,)`` where a neighbour shows more of them.

        That is so if along one axis the piece lies within twice ``edge`` of its tile's edge, and another tile has
        ``edge`` more room around it. To ask for more room, not just as much, keeps two tiles whose outlines differ a
        little from leaving an instance to each other.
        """
        left = np.zeros(len(boxes), dtype=bool)
        starts = (self.columns, self.rows)
        for axis, own in enumerate(self._room(boxes, tile)):
            most = _most_room(
                boxes[:, axis], boxes[:, axis + 2], starts[axis], self.tile[1 - axis], self.size[1 - axis]
            )
            left |= (own < 2 * self.edge) & (most >= own + self.edge)
        return left

    def _room(self, boxes: IntArray, tile: IntArray) -> tuple[FloatArray, FloatArray]:
        """Pixels to the nearest inner edge of the own tile, horizontally and vertically, ``(N,)`` each."""
        own = self.boxes[tile]
        height, width = self.size
        inner = np.stack([own[:, 0] > 0, own[:, 1] > 0, own[:, 2] < width, own[:, 3] < height], axis=1)
        room = np.where(inner, np.concatenate([boxes[:, :2] - own[:, :2], own[:, 2:] - boxes[:, 2:]], axis=1), np.inf)
        return np.minimum(room[:, 0], room[:, 2]), np.minimum(room[:, 1], room[:, 3])


def _starts(length: int, side: int, overlap: int) -> IntArray:
    """Evenly spread starts of as few tiles as cover a length with the overlap."""
    count = max(1, -(-(length - overlap) // (side - overlap)))
    starts: IntArray = np.linspace(0, max(length - side, 0), count).round().astype(np.int64)
    return starts


def _most_room(start: IntArray, end: IntArray, tiles: IntArray, side: int, length: int) -> FloatArray:
    """Along one axis: pixels between each span and the nearest inner edge of the tile that has most room for it."""
    before = np.where(tiles > 0, start[:, None] - tiles, np.inf)
    after = np.where(tiles + side < length, tiles + side - end[:, None], np.inf)
    room: FloatArray = np.minimum(before, after).max(axis=1)
    return room
