"""From the pieces found in overlapping tiles to instances of the image, each once and whole.

1. A piece that its tile's edge cuts is left to another tile if that one sees all of it with room to spare, and more.
2. Pieces of different tiles are linked where both tiles look (:mod:`gains.prediction.seams`).
3. Linked pieces are one instance. If one of their tiles sees all of it away from its edges, that tile's mask is taken,
   the one with the most room around it; else the pieces are joined.

An instance that is at least three times ``edge`` (:class:`TileGrid`) smaller than the overlap of the tiles is seen
whole by some tile. Every decision depends only on pieces that share pixels, directly or from link to link, and none on
the order of the pieces.
"""

import zlib
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from gains.arrays import BoolArray, FloatArray, IntArray
from gains.masks import InstanceCrops
from gains.prediction.seams import same_instance
from gains.prediction.tiling import TileGrid


@dataclass(frozen=True)
class Pieces:
    """What the network found in the tiles of an image.

    Attributes:
        masks: N masks on tight boxes in image coordinates.
        scores: ``(N,)``.
        labels: ``(N,)``.
        tile: ``(N,)`` index of each piece's tile in the grid.
    """

    masks: InstanceCrops
    scores: FloatArray
    labels: IntArray
    tile: IntArray


@dataclass(frozen=True)
class Found:
    """Instances of an image, the best score first.

    Attributes:
        masks: M of them in image coordinates.
        scores: ``(M,)`` in descending order.
        labels: ``(M,)``.
        cut: ``(M,)`` whether no tile that found some of it shows it whole.
    """

    masks: InstanceCrops
    scores: FloatArray
    labels: IntArray
    cut: BoolArray


def stitch(pieces: Pieces, grid: TileGrid) -> tuple[InstanceCrops, FloatArray, IntArray]:
    """Masks, scores and labels that :func:`stitched` makes of the pieces of all tiles."""
    found = stitched(pieces, grid)
    return found.masks, found.scores, found.labels


def stitched(pieces: Pieces, grid: TileGrid) -> Found:
    """Make instances of the pieces of all tiles.

    An instance has score and label of the piece whose mask it has, a joined one those of its best piece.
    """
    return best_first(instances_of(pieces, grid))


def best_first(found: Found) -> Found:
    """The same instances, the best score first, equal ones in an order that does not depend on the given one."""
    boxes = found.masks.boxes.numpy()
    order = np.lexsort((_checks(found.masks), found.labels, *boxes.T, -found.scores))
    return Found(found.masks.select(order.tolist()), found.scores[order], found.labels[order], found.cut[order])


def instances_of(pieces: Pieces, grid: TileGrid) -> Found:
    """As :func:`stitched`, in any order; pieces that share no pixels with others, directly or from link to link, may be
    given apart from them."""
    pieces = _in_own_order(pieces)
    boxes = pieces.masks.boxes.numpy()
    # Pieces that are left to others find partners too: a neighbour without one would be free for a wrong match, and
    # they may be the only link between tiles that meet at a corner.
    first, second = same_instance(pieces.masks, pieces.labels, pieces.tile, grid)
    kept = ~grid.left_to_others(boxes, pieces.tile)
    links = coo_array((np.ones(len(first), dtype=bool), (first, second)), shape=(len(kept), len(kept)))
    _, group = connected_components(links, directed=False)
    order = np.flatnonzero(kept)[np.argsort(group[kept], kind="stable")]
    crops, joined_boxes, best, cut = [], [], [], []
    for members in np.split(order, np.flatnonzero(np.diff(group[order])) + 1) if len(order) else []:
        used, whole = _used(members, pieces, grid)
        crop, box = _union(pieces.masks, used)
        crops.append(crop)
        joined_boxes.append(box)
        best.append(used[np.argmax(pieces.scores[used])])
        cut.append(not whole)
    all_boxes = torch.from_numpy(np.array(joined_boxes, dtype=np.int64).reshape(-1, 4))
    masks = InstanceCrops.from_crops(crops, all_boxes, grid.size)
    chosen = np.array(best, dtype=np.int64)
    return Found(masks, pieces.scores[chosen], pieces.labels[chosen], np.array(cut, dtype=bool))


def _in_own_order(pieces: Pieces) -> Pieces:
    """The same pieces in an order that does not depend on the given one."""
    order = np.lexsort(
        (_checks(pieces.masks), pieces.scores, pieces.labels, *pieces.masks.boxes.numpy().T, pieces.tile)
    )
    masks = pieces.masks.select(order.tolist())
    return Pieces(masks, pieces.scores[order], pieces.labels[order], pieces.tile[order])


def _checks(masks: InstanceCrops) -> IntArray:
    """Checksum of each crop, which tells apart what has the same box."""
    return np.array([zlib.crc32(crop.numpy().tobytes()) for crop in masks.crops()], dtype=np.int64)


def _used(members: IntArray, pieces: Pieces, grid: TileGrid) -> tuple[IntArray, bool]:
    """Of the pieces of one instance the one that shows it best; all and False, if no tile sees the whole."""
    boxes = pieces.masks.boxes.numpy()[members]
    extent = np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)])
    room = grid.room(np.broadcast_to(extent, boxes.shape), pieces.tile[members])
    if room.max() < grid.edge:
        return members, False
    most = members[room == room.max()]
    best: IntArray = most[[np.argmax(pieces.scores[most])]]
    return best, True


def _union(masks: InstanceCrops, members: IntArray) -> tuple[torch.Tensor, list[int]]:
    """Union of some masks on its box."""
    if len(members) == 1:
        return masks.crop(int(members[0])), masks.boxes[int(members[0])].tolist()
    boxes = masks.boxes.numpy()[members]
    left, top = boxes[:, 0].min(), boxes[:, 1].min()
    joined = torch.zeros(int(boxes[:, 3].max() - top), int(boxes[:, 2].max() - left), dtype=torch.uint8)
    for member, (x0, y0, x1, y1) in zip(members, boxes, strict=True):
        joined[y0 - top : y1 - top, x0 - left : x1 - left] |= masks.crop(int(member))
    return joined, [int(left), int(top), int(boxes[:, 2].max()), int(boxes[:, 3].max())]
