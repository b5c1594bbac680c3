"""From the pieces found in overlapping tiles to instances of the image, each once and whole.

Three rules, in this order:

1. A piece that its tile's edge cuts, and that another tile sees whole, is left to that tile.
2. In the area that two tiles share, pieces whose masks agree there (IoU of at least one half) are one instance; each
   piece has at most one partner in the other tile, so crossing instances stay apart.
3. Of an instance seen whole several times the best-scored mask is taken; pieces of one too large for any tile are
   joined.

An instance is seen whole somewhere if it is at least 2 * EDGE smaller than the overlap of the tiles.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from gains.masks import InstanceCrops
from gains.overlaps import overlapping_boxes, window
from gains.prediction.tiling import TileGrid

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

MIN_IOU = 0.5
MIN_CONTAINED = 0.8


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


def stitch(pieces: Pieces, grid: TileGrid) -> tuple[InstanceCrops, FloatArray, IntArray]:
    """Join the pieces of all tiles.

    Returns:
        Masks, scores ``(M,)`` in descending order and labels ``(M,)``; a joined instance has those of its best piece.
    """
    boxes = pieces.masks.boxes.numpy()
    cut = grid.cut(boxes, pieces.tile)
    left_to_others = cut & grid.fits(boxes)
    # Pieces that will be dropped still find their partners: a neighbour without one would be free for a wrong match.
    first, second = _same_instance(pieces, cut, grid.boxes)
    links = coo_array((np.ones(len(first), dtype=bool), (first, second)), shape=(len(cut), len(cut)))
    _, group = connected_components(links, directed=False)
    kept = np.flatnonzero(~left_to_others)
    # Members of a group lie together, the whole ones before the cut ones, the best score first.
    order = kept[np.lexsort((-pieces.scores[kept], cut[kept], group[kept]))]
    crops, joined_boxes, best = [], [], []
    for members in np.split(order, np.flatnonzero(np.diff(group[order])) + 1) if len(order) else []:
        used = members[cut[members] | (np.arange(len(members)) == 0)]
        crop, box = _union(pieces.masks, used)
        crops.append(crop)
        joined_boxes.append(box)
        best.append(used[np.argmax(pieces.scores[used])])
    by_score = np.argsort(-pieces.scores[best], kind="stable") if best else np.zeros(0, dtype=np.int64)
    all_boxes = torch.from_numpy(np.array(joined_boxes, dtype=np.int64).reshape(-1, 4)[by_score])
    masks = InstanceCrops.from_crops([crops[index] for index in by_score], all_boxes, grid.size)
    chosen = np.array(best, dtype=np.int64)[by_score]
    return masks, pieces.scores[chosen], pieces.labels[chosen]


def _same_instance(pieces: Pieces, cut: BoolArray, tiles: IntArray) -> tuple[IntArray, IntArray]:
    """Pairs of pieces of different tiles that show the same instance."""
    first, second = overlapping_boxes(pieces.masks.boxes.numpy())
    apart = pieces.tile[first] != pieces.tile[second]
    first, second = first[apart], second[apart]
    shared, first_area, second_area = _agreement(pieces, tiles, first, second)
    iou = shared / np.maximum(first_area + second_area - shared, 1)
    same_label = pieces.labels[first] == pieces.labels[second]
    linked = np.zeros(len(first), dtype=bool)
    taken: set[tuple[int, int]] = set()
    for pair in np.lexsort((-iou, ~same_label)):
        i, j = int(first[pair]), int(second[pair])
        mine, other = (i, int(pieces.tile[j])), (j, int(pieces.tile[i]))
        if iou[pair] >= MIN_IOU and mine not in taken and other not in taken:
            taken |= {mine, other}
            linked[pair] = True
    # The leg of a U ends at the edge of its tile, whose neighbour sees the whole U: contained in it, not equal.
    contained = shared >= MIN_CONTAINED * np.minimum(first_area, second_area)
    smaller_is_first = first_area <= second_area
    for pair in np.flatnonzero(contained & ~linked & same_label & cut[first] & cut[second] & (shared > 0)):
        i, j = int(first[pair]), int(second[pair])
        leg, whole = (i, j) if smaller_is_first[pair] else (j, i)
        if (leg, int(pieces.tile[whole])) not in taken:
            taken.add((leg, int(pieces.tile[whole])))
            linked[pair] = True
    return first[linked], second[linked]


def _agreement(
    pieces: Pieces, tiles: IntArray, first: IntArray, second: IntArray
) -> tuple[IntArray, IntArray, IntArray]:
    """In the area that both tiles of a pair see: shared pixels, and pixels of either piece."""
    boxes = pieces.masks.boxes.numpy()
    counts = np.zeros((3, len(first)), dtype=np.int64)
    for pair, (i, j) in enumerate(zip(first.tolist(), second.tolist(), strict=True)):
        both = window(pieces.masks, i, boxes[j]) & window(pieces.masks, j, boxes[i])
        counts[0, pair] = np.count_nonzero(both)
        if counts[0, pair]:
            counts[1, pair] = np.count_nonzero(window(pieces.masks, i, tiles[pieces.tile[j]]))
            counts[2, pair] = np.count_nonzero(window(pieces.masks, j, tiles[pieces.tile[i]]))
    return counts[0], counts[1], counts[2]


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
