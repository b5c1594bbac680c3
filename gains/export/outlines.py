"""Outlines of masks along the edges of their pixels, so that nothing is lost: filled again they give the same mask.

Where the outline turns there is a corner. Along a row of pixel edges corners come in pairs, the ends of straight runs,
and so they do along a column; going from a corner along its row, then along the next one's column, and so on, leads
around a ring. Four pixels of which two meet at a corner alone make two corners in one place, one of each pixel: such
pixels are not connected, and belong to different polygons. A ring that comes through one place twice is cut there, so
that every ring is simple. The work is linear in the number of corners (but for a sort).
"""

import numpy as np
import numpy.typing as npt
import shapely
from scipy import ndimage
from shapely.geometry.base import BaseGeometry

from gains.instances import Instances

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


def outlines(instances: Instances) -> list[BaseGeometry]:
    """Polygon or MultiPolygon of each instance, holes included.

    Coordinates are (x, y) in pixels with (0, 0) at the top left corner of the top left pixel, as in ImageJ and QuPath.
    Its area is the mask's number of pixels; pixels that meet at a corner alone belong to different polygons, and a hole
    that closes at a corner alone is a hole.
    """
    return [outline(instances.crop(index), instances.boxes[index, :2]) for index in range(len(instances))]


def outline(mask: BoolArray, corner: IntArray) -> BaseGeometry:
    """Outline of a mask ``(h, w)`` whose top left corner lies at (x, y)."""
    padded = np.pad(mask, 1)
    parts, count = ndimage.label(padded)
    shells: list[FloatArray] = [np.zeros((0, 2))] * count
    holes: list[list[FloatArray]] = [[] for _ in range(count)]
    for ring, inside in _rings(padded):
        part = int(parts[inside]) - 1
        points = np.append(ring, ring[:1], axis=0) + corner.astype(np.float64)
        # Seen on the screen, shells run clockwise and holes counter-clockwise.
        if _signed_area(ring) > 0:
            shells[part] = points
        else:
            holes[part].append(points)
    polygons = [shapely.Polygon(shell, inner) for shell, inner in zip(shells, holes, strict=True)]
    return polygons[0] if count == 1 else shapely.MultiPolygon(polygons)


def rings(shape: BaseGeometry) -> list[FloatArray]:
    """All outer and inner rings ``(P, 2)`` of a polygon or several, closed (the last point is the first)."""
    found = []
    for polygon in shapely.get_parts(shape):
        found += [shapely.get_coordinates(ring) for ring in (polygon.exterior, *polygon.interiors)]
    return found


def _rings(padded: BoolArray) -> list[tuple[FloatArray, tuple[int, int]]]:
    """Simple rings ``(P, 2)`` of (x, y), the mask on their right, each with a pixel (row, column) of its inside."""
    x, y, right, down, inside_below = _corners(padded)
    along_row = _partners(y, x, right)
    along_column = _partners(x, y, down)
    partner_row, partner_column = along_row.tolist(), along_column.tolist()
    places = (y * padded.shape[1] + x).tolist()
    seen = np.zeros(len(x), dtype=bool).tolist()
    found = []
    for first in range(len(x)):
        if seen[first]:
            continue
        # The mask lies on the right of who walks to the right above it, or to the left below it.
        start = first if bool(right[first]) == bool(inside_below[first]) else partner_row[first]
        row = int(y[start]) + (1 if inside_below[start] else 0)
        column = int(x[start]) + (1 if right[start] else 0)
        members, index = [], start
        while True:
            members += [index, partner_row[index]]
            seen[index] = seen[partner_row[index]] = True
            index = partner_column[partner_row[index]]
            if index == start:
                break
        for ring in _simple(members, places):
            found.append((np.stack([x[ring], y[ring]], axis=1).astype(np.float64), (row, column)))
    return found


def _corners(padded: BoolArray) -> tuple[IntArray, IntArray, BoolArray, BoolArray, BoolArray]:
    """Corners of the outlines of a mask that leaves its border free.

    Returns:
        ``x`` and ``y`` in pixel edges of the mask without its border; whether the run along the row leads to the right,
        that along the column down; and whether the mask lies below the run along the row.
    """
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
    return (
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


def _signed_area(ring: FloatArray) -> float:
    """Area in pixels, positive for a ring that runs clockwise on the screen (y points down)."""
    x, y = ring[:, 0], ring[:, 1]
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum()) / 2
