"""One huge image in blocks of tiles, whose pieces are stitched as a tree of pairs.

Blocks may be looked at anywhere, in any order: tiles overlap, so that a block sees its halo. What stitching makes of a
piece depends only on pieces that share pixels, directly or from link to link. So where two blocks meet, all pieces that
no tile beyond can have to do with become instances, and only the others travel on to the next pair; the result is that
of all pieces at once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from gains.arrays import BoolArray, IntArray
from gains.masks import InstanceCrops
from gains.overlaps import overlapping_pairs
from gains.prediction.stitching import Found, Pieces, instances_of
from gains.prediction.tiling import TileGrid


@dataclass(frozen=True)
class Block:
    """A rectangle of tiles: rows and columns of the grid, the last ones not included."""

    top: int
    left: int
    bottom: int
    right: int

    @classmethod
    def whole(cls, grid: TileGrid) -> "Block":
        """All tiles."""
        return cls(0, 0, len(grid.rows), len(grid.columns))

    def __len__(self) -> int:
        return (self.bottom - self.top) * (self.right - self.left)

    def halves(self) -> "tuple[Block, Block]":
        """Two blocks that make up this one, divided across its longer side."""
        if self.bottom - self.top >= self.right - self.left:
            middle = (self.top + self.bottom) // 2
            return Block(self.top, self.left, middle, self.right), Block(middle, self.left, self.bottom, self.right)
        middle = (self.left + self.right) // 2
        return Block(self.top, self.left, self.bottom, middle), Block(self.top, middle, self.bottom, self.right)

    def tiles(self, grid: TileGrid) -> IntArray:
        """Indices of the tiles in the grid."""
        rows, columns = np.arange(self.top, self.bottom), np.arange(self.left, self.right)
        tiles: IntArray = (rows[:, None] * len(grid.columns) + columns).ravel().astype(np.int64)
        return tiles

    def reaches_out(self, boxes: IntArray, grid: TileGrid) -> BoolArray:
        """Which boxes ``(N, 4)`` tiles of other blocks see some of."""
        height, width = grid.tile
        out = np.zeros(len(boxes), dtype=bool)
        if self.left > 0:
            out |= boxes[:, 0] < grid.columns[self.left - 1] + width
        if self.top > 0:
            out |= boxes[:, 1] < grid.rows[self.top - 1] + height
        if self.right < len(grid.columns):
            out |= boxes[:, 2] > grid.columns[self.right]
        if self.bottom < len(grid.rows):
            out |= boxes[:, 3] > grid.rows[self.bottom]
        return out


@dataclass(frozen=True)
class Part:
    """What was found in a block.

    Attributes:
        found: instances on which tiles of other blocks have no bearing.
        open: pieces of all others.
        capped: tiles in which the network found as many instances as it may.
        dim: whether all of the block is very dark.
    """

    found: Found
    open: Pieces
    capped: int
    dim: bool


def settle(pieces: Pieces, grid: TileGrid, block: Block, capped: int, dim: bool) -> Part:
    """Make instances of those pieces of a block that have nothing to do with pieces of others."""
    first, second, _ = overlapping_pairs(pieces.masks)
    links = coo_array((np.ones(len(first), dtype=bool), (first, second)), shape=(len(pieces.tile),) * 2)
    count, group = connected_components(links, directed=False)
    outside = np.zeros(count, dtype=bool)
    outside[group[block.reaches_out(pieces.masks.boxes.numpy(), grid)]] = True
    stays = outside[group]
    return Part(
        instances_of(_chosen(pieces, np.flatnonzero(~stays)), grid),
        _chosen(pieces, np.flatnonzero(stays)),
        capped,
        dim,
    )


def merge(first: Part, second: Part, grid: TileGrid, block: Block) -> Part:
    """What was found in a block, from its two halves."""
    pieces = Pieces(
        joined_crops([first.open.masks, second.open.masks]),
        *(
            np.concatenate([getattr(first.open, name), getattr(second.open, name)])
            for name in ("scores", "labels", "tile")
        ),
    )
    part = settle(pieces, grid, block, first.capped + second.capped, first.dim and second.dim)
    return Part(joined([first.found, second.found, part.found]), part.open, part.capped, part.dim)


def fold(
    block: Block,
    size: int,
    look: Callable[[Block], Any],
    unite: Callable[[Any, Any, Block], Any],
) -> Any:
    """Look at blocks of at most ``size`` tiles, one after the other, and unite them pair by pair.

    Args:
        block: of which to begin with.
        size: at least 1.
        look: at a block; gives a :class:`Part`, or a promise of one.
        unite: two of these to one of their block.
    """
    if len(block) <= size:
        return look(block)
    first, second = (fold(half, size, look, unite) for half in block.halves())
    return unite(first, second, block)


def joined(several: Sequence[Found]) -> Found:
    """Instances of several in one."""
    return Found(
        joined_crops([found.masks for found in several]),
        *(np.concatenate([getattr(found, name) for found in several]) for name in ("scores", "labels", "cut")),
    )


def joined_crops(several: Sequence[InstanceCrops]) -> InstanceCrops:
    """Masks of one image in one container."""
    values, boxes = (torch.cat([getattr(masks, name) for masks in several]) for name in ("values", "boxes"))
    return InstanceCrops(values, boxes, several[0].size)


def _chosen(pieces: Pieces, index: IntArray) -> Pieces:
    return Pieces(pieces.masks.select(index.tolist()), pieces.scores[index], pieces.labels[index], pieces.tile[index])
