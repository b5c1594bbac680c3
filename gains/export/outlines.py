"""Outlines of masks along the edges of their pixels, so that nothing is lost: filled again they give the same mask.

Where the outline turns there is a corner. Along a row of pixel edges corners come in pairs, the ends of straight runs,
and so they do along a column; going from a corner along its row, then along the next one's column, and so on, leads
around a ring. Four pixels of which two meet at a corner alone make two corners in one place, one of each pixel: such
pixels are not connected, and belong to different polygons. A ring that comes through one place twice is cut there, so
that every ring is simple. The work is linear in the number of corners (but for a sort).
"""

from dataclasses import dataclass
from itertools import chain

import numpy as np
import shapely
from scipy import ndimage
from shapely.geometry.base import BaseGeometry

from gains.arrays import BoolArray, FloatArray, IntArray
from gains.instances import Instances


def outlines(instances: Instances) -> list[BaseGeometry]:
    """Polygon or MultiPolygon of each instance, holes included.

    Coordinates are (x, y) in pixels with (0, 0) at the top left corner of the top left pixel, as in ImageJ and QuPath.
    Its area is the mask's number of pixels; pixels that meet at a corner alone belong to different polygons, and a hole
    that closes at a corner alone is a hole.
    """
    return [outline(instances.crop(index), instances.boxes[index, :2]) for index in range(len(instances))]


def outline(mask: BoolArray, corner: IntArray) -> BaseGeometry:
    """Outline of a mask ``(h, w)`` with at least one pixel, whose top left corner lies at (x, y)."""
    padded = np.pad(mask, 1)
    parts, count = ndimage.label(padded)
    corners = _corners(padded)
    rings, inside = _rings(corners, padded.shape[1])
    lengths = np.array([len(ring) for ring in rings])
    order = np.fromiter(chain.from_iterable(rings), dtype=np.int64, count=int(lengths.sum()))
    points = np.stack([corners.x[order], corners.y[order]], axis=1)
    part = parts[tuple(np.array(inside).T)] - 1
    # Seen on the screen, shells run clockwise and holes counter-clockwise; of each part the shell comes first.
    shells_first = np.lexsort((_signed_areas(points, lengths) < 0, part))
    lines = shapely.linearrings((points + corner).astype(np.float64), indices=np.repeat(np.arange(len(rings)), lengths))
    polygons = shapely.polygons(lines[shells_first], indices=part[shells_first])
    return polygons[0] if count == 1 else shapely.multipolygons(polygons)


def rings(shape: BaseGeometry) -> list[FloatArray]:
    """All outer and inner rings ``(P, 2)`` of a polygon or several, closed (the last point is the first)."""
    found = []
    for polygon in shapely.get_parts(shape):
        found += [shapely.get_coordinates(ring) for ring in (polygon.exterior, *polygon.interiors)]
    return found


@dataclass(frozen=True)
class _Corners:
    """Corners of the outlines of a mask, ``(C,)`` each.

    Attributes:
        x: column of pixel edges.
        y: row of pixel edges.
        right: whether the run along the row leads to the right.
        down: whether the run along the column leads down.
        inside_below: whether the mask lies below the run along the row.
    """

    x: IntArray
    y: IntArray
    right: BoolArray
    down: BoolArray
    inside_below: BoolArray


def _rings(corners: _Corners, width: int) -> tuple[list[list[int]], list[tuple[int, int]]]:
    """Simple closed rings of corners, the mask on their right, each with a pixel (row, column) of its inside.

    Args:
        corners: of a mask with a border.
        width: of that.
    """
    along_row = _partners(corners.y, corners.x, corners.right).tolist()
    along_column = _partners(corners.x, corners.y, corners.down).tolist()
    places = (corners.y * width + corners.x).tolist()
    # The mask lies on the right of who walks to the right above it, or to the left below it.
    forward = (corners.right == corners.inside_below).tolist()
    rows, columns = (corners.y + corners.inside_below).tolist(), (corners.x + corners.right).tolist()
    seen = [False] * len(places)
    found: list[list[int]] = []
    inside = []
    for first in range(len(places)):
        if seen[first]:
            continue
        start = first if forward[first] else along_row[first]
        members, index = [], start
        while True:
            other = along_row[index]
            members += [index, other]
            seen[index] = seen[other] = True
            index = along_column[other]
            if index == start:
                break
        simple = _simple(members, places)
        found += [[*ring, ring[0]] for ring in simple]
        inside += [(rows[start], columns[start])] * len(simple)
    return found, inside


def _corners(padded: BoolArray) -> _Corners:
    """Corners of a mask that leaves its border free, counted without that border."""
    above_left, above_right = padded[:-1, :-1], padded[:-1, 1:]
    below_left, below_right = padded[1:, :-1], padded[1:, 1:]
    odd = above_left ^ above_right ^ below_left ^ below_right
    y, x = np.nonzero(odd)
    right, down = (above_right != below_right)[y, x], (below_left != below_right)[y, x]
    below = np.where(right, below_right[y, x], below_left[y, x])
    crossed = (above_left == below_right) & (above_right == below_left) & (above_left != above_right)
    cy, cx = np.nonzero(crossed)
    falling = above_left[cy, cx]  # the pixels lie at the top left and bottom right
    # One corner goes to the right, the other to the left; each belongs to one of the two pixels.
    to_right, to_left = np.ones(len(cy), bool), np.zeros(len(cy), bool)
    return _Corners(
        np.concatenate([x, cx, cx]),
        np.concatenate([y, cy, cy]),
        np.concatenate([right, to_right, to_left]),
        np.concatenate([down, falling, ~falling]),
        np.concatenate([below, falling, ~falling]),
    )


def _partners(line: IntArray, place: IntArray, ahead: BoolArray) -> IntArray:
    """The other end of the run of each corner along lines: on every line runs begin (``ahead``) and end in turn."""
    order = np.lexsort((ahead, place, line))  # where two corners share a place, one run ends before the next begins
    partners = np.empty(len(order), dtype=np.int64)
    partners[order[0::2]], partners[order[1::2]] = order[1::2], order[0::2]
    return partners


def _simple(members: list[int], places: list[int]) -> list[list[int]]:
    """Cut a ring of corners at every place that it comes through again."""
    if len({places[index] for index in members}) == len(members):
        return [members]
    rings, path, position = [], list[int](), dict[int, int]()
    for index in members:
        place = places[index]
        if place in position:
            loop = path[position[place] :]
            for other in loop[1:]:
                del position[places[other]]
            del path[position[place] + 1 :]
            rings.append([index, *loop[1:]])
        else:
            position[place] = len(path)
            path.append(index)
    return [*rings, path]


def _signed_areas(points: IntArray, lengths: IntArray) -> IntArray:
    """Twice the area of closed rings that lie end to end, positive for those clockwise on the screen."""
    x, y = points.T
    running = np.concatenate([[0], np.cumsum(x[:-1] * y[1:] - x[1:] * y[:-1])])
    ends = np.cumsum(lengths)
    areas: IntArray = running[ends - 1] - running[ends - lengths]
    return areas
