"""Which pieces of two tiles show the same instance: what both tiles say of the area that both of them see.

The views of one instance from two tiles are the same there, whatever lies beyond. So two pieces are compared on that
area alone, connected part by connected part (the legs of a U are parts of their own):

- their masks must agree (IoU of at least ``MIN_IOU``, more if their labels differ), and
- where one of them reaches a line at which one tile ends and the other goes on, both must do so over the same stretch.

Each part has one partner per tile, the best first. Tiles that meet at a corner share little: there a link is made only
if no tile between them shows either piece. And no link may join, by way of the tiles around it, two pieces that share
pixels in one tile: that tile saw them as two. A link so depends on the pieces of the tiles around it only.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from gains.arrays import BoolArray, IntArray
from gains.masks import InstanceCrops
from gains.overlaps import intersection, overlapping_boxes, window
from gains.prediction.tiling import TileGrid

Box = tuple[int, int, int, int]

MIN_IOU = 0.5
MIN_IOU_OTHER_LABEL = 0.75
MIN_CONTACT = 0.5


@dataclass(frozen=True)
class _View:
    """What is to be seen of a piece in the area that its tile shares with another.

    Attributes:
        box: of the window, in the image.
        parts: ``(h, w)`` connected parts, numbered from 1.
        areas: pixels by part number, the background's first.
    """

    box: Box
    parts: npt.NDArray[np.int32]
    areas: IntArray

    def part(self, number: int, box: Box) -> BoolArray:
        """Mask of one part on a box that holds the window."""
        full = np.zeros((box[3] - box[1], box[2] - box[0]), dtype=bool)
        x, y = self.box[0] - box[0], self.box[1] - box[1]
        height, width = self.parts.shape
        full[y : y + height, x : x + width] = self.parts == number
        return full


@dataclass(frozen=True)
class _Candidate:
    """Two parts that may be the same: pieces, part numbers, agreement."""

    pieces: tuple[int, int]
    parts: tuple[int, int]
    across_corner: bool
    same_label: bool
    iou: float

    def rank(self) -> tuple[bool, bool, float, tuple[int, int], tuple[int, int]]:
        """Sorts the best evidence first."""
        return self.across_corner, not self.same_label, -self.iou, self.pieces, self.parts


def same_instance(masks: InstanceCrops, labels: IntArray, tile: IntArray, grid: TileGrid) -> tuple[IntArray, IntArray]:
    """Pairs of pieces from different tiles that show the same instance.

    Args:
        masks: N pieces on tight boxes in image coordinates.
        labels: ``(N,)``.
        tile: ``(N,)`` index of the tile of each.
        grid: the tiles.

    Returns:
        ``(L,)`` first and ``(L,)`` second index of each pair; a pair may come twice.
    """
    rivals = _rivals(masks, tile)
    taken: set[tuple[int, int, int]] = set()
    partners: dict[int, set[int]] = {}
    links: list[tuple[int, int]] = []
    for pair in sorted(_candidates(masks, labels, tile, grid), key=_Candidate.rank):
        (i, j), (mine, other) = pair.pieces, pair.parts
        ends = {(i, mine, int(tile[j])), (j, other, int(tile[i]))}
        shown = {int(tile[partner]) for end in (i, j) for partner in partners.get(end, ())}
        if not taken.isdisjoint(ends) or (pair.across_corner and shown & grid.between(int(tile[i]), int(tile[j]))):
            continue
        if shown:
            around = grid.around(int(tile[i]), int(tile[j]))
            first_side, second_side = (_linked(end, partners, tile, around) for end in (i, j))
            if any(not second_side.isdisjoint(rivals.get(member, ())) for member in first_side):
                continue
        taken |= ends
        partners.setdefault(i, set()).add(j)
        partners.setdefault(j, set()).add(i)
        links.append((i, j))
    first, second = np.array(links, dtype=np.int64).reshape(-1, 2).T
    return first, second


def _rivals(masks: InstanceCrops, tile: IntArray) -> dict[int, set[int]]:
    """For every piece those of its own tile that share pixels with it."""
    rivals: dict[int, set[int]] = {}
    first, second = overlapping_boxes(masks.boxes.numpy())
    own = tile[first] == tile[second]
    for i, j in zip(first[own].tolist(), second[own].tolist(), strict=True):
        if intersection(masks, i, j):
            rivals.setdefault(i, set()).add(j)
            rivals.setdefault(j, set()).add(i)
    return rivals


def _linked(piece: int, partners: dict[int, set[int]], tile: IntArray, around: set[int]) -> set[int]:
    """The pieces that links reach from one by way of some tiles, itself among them."""
    reached, ahead = {piece}, [piece]
    while ahead:
        for partner in partners.get(ahead.pop(), ()):
            if partner not in reached and int(tile[partner]) in around:
                reached.add(partner)
                ahead.append(partner)
    return reached


def _candidates(masks: InstanceCrops, labels: IntArray, tile: IntArray, grid: TileGrid) -> Iterator[_Candidate]:
    """Parts of pieces that agree well enough."""
    tiles = grid.boxes
    first, second = overlapping_boxes(masks.boxes.numpy())
    apart = tile[first] != tile[second]
    views: dict[tuple[int, int], _View] = {}  # By piece and the other tile, which fix the area.

    def seen(piece: int, partner: int) -> _View:
        key = (piece, int(tile[partner]))
        if key not in views:
            views[key] = _view(masks, piece, _shared(tiles[tile[piece]], tiles[tile[partner]]))
        return views[key]

    for i, j in zip(first[apart].tolist(), second[apart].tolist(), strict=True):
        if not intersection(masks, i, j):
            continue
        a, b = seen(i, j), seen(j, i)
        box = (
            min(a.box[0], b.box[0]),
            min(a.box[1], b.box[1]),
            max(a.box[2], b.box[2]),
            max(a.box[3], b.box[3]),
        )
        same_label = bool(labels[i] == labels[j])
        corner = bool(grid.between(int(tile[i]), int(tile[j])))
        for mine, other, iou in _agreeing_parts(a, b, MIN_IOU if same_label else MIN_IOU_OTHER_LABEL):
            if _in_contact(a.part(mine, box), b.part(other, box), box, tiles[tile[i]], tiles[tile[j]], grid.edge):
                yield _Candidate((i, j), (mine, other), corner, same_label, iou)


def _shared(first: IntArray, second: IntArray) -> IntArray:
    """The box that two tiles share."""
    return np.concatenate([np.maximum(first[:2], second[:2]), np.minimum(first[2:], second[2:])])


def _view(masks: InstanceCrops, index: int, shared: IntArray) -> _View:
    x0, y0, x1, y1 = masks.boxes[index].tolist()
    left, top = max(x0, int(shared[0])), max(y0, int(shared[1]))
    right, bottom = max(left, min(x1, int(shared[2]))), max(top, min(y1, int(shared[3])))
    _, parts = cv2.connectedComponents(np.ascontiguousarray(window(masks, index, shared)), connectivity=8)
    return _View((left, top, right, bottom), np.asarray(parts, dtype=np.int32), np.bincount(parts.ravel(), minlength=1))


def _agreeing_parts(a: _View, b: _View, least: float) -> list[tuple[int, int, float]]:
    """Pairs of parts with an IoU of at least ``least``, and that."""
    left, top = max(a.box[0], b.box[0]), max(a.box[1], b.box[1])
    right, bottom = min(a.box[2], b.box[2]), min(a.box[3], b.box[3])
    if right <= left or bottom <= top:
        return []
    mine = a.parts[top - a.box[1] : bottom - a.box[1], left - a.box[0] : right - a.box[0]]
    other = b.parts[top - b.box[1] : bottom - b.box[1], left - b.box[0] : right - b.box[0]]
    count = len(b.areas)
    shared = np.bincount((mine * count + other).ravel(), minlength=len(a.areas) * count).reshape(-1, count)[1:, 1:]
    iou = shared / (a.areas[1:, None] + b.areas[None, 1:] - shared)
    return [(int(i) + 1, int(j) + 1, float(iou[i, j])) for i, j in np.argwhere(iou >= least)]


def _in_contact(a: BoolArray, b: BoolArray, box: Box, first: IntArray, second: IntArray, edge: int) -> bool:
    """Whether two parts, drawn on a box, cross the edges of each other's tile in the same places.

    Only edges count at which one tile ends and the other goes on. Of what either part has right at such an edge, the
    other must have half near it: within twice ``edge``, since outlines end early by up to that, at either tile.
    """
    for axis in (0, 1):
        # Turned so that the edges are rows of the arrays, counted from the box.
        (mine, other), start = ((a.T, b.T), box[0]) if axis == 0 else ((a, b), box[1])
        for side in (axis, axis + 2):
            if first[side] == second[side]:
                continue
            begins = side < 2
            line = int((max if begins else min)(first[side], second[side])) - start
            near, strip = _rows(line, edge, begins), _rows(line, 2 * edge, begins)
            if not _covered(mine[near], other[strip]) or not _covered(other[near], mine[strip]):
                return False
    return True


def _rows(line: int, depth: int, begins: bool) -> slice:
    """The rows within a depth of an edge, inside of it."""
    low, high = (line, line + depth) if begins else (line - depth, line)
    return slice(max(low, 0), max(high, 0))


def _covered(touching: BoolArray, near: BoolArray) -> bool:
    """Whether the columns in which one array has pixels are to a good part those in which another has."""
    columns = touching.any(axis=0)
    shared = np.count_nonzero(columns & near.any(axis=0))
    return bool(shared >= MIN_CONTACT * np.count_nonzero(columns))
