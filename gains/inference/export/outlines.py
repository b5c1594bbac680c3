"""Outlines of masks along the edges of their pixels, so that nothing is lost: filled again they give the same mask."""

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry.base import BaseGeometry

from gains.inference.instances import Instances

FloatArray = npt.NDArray[np.float64]


def outline(instances: Instances, index: int) -> BaseGeometry:
    """Polygon or MultiPolygon of one instance, holes included.

    Coordinates are (x, y) in pixels with (0, 0) at the top left corner of the top left pixel, as in ImageJ and QuPath.
    Its area is the mask's number of pixels; pixels that meet at a corner alone belong to different polygons.
    """
    x0, y0 = instances.boxes[index, :2]
    crop = np.pad(instances.crop(index), ((0, 0), (1, 1))).astype(np.int8)
    change = np.diff(crop, axis=1)
    # One rectangle for every run of pixels in a row; np.nonzero lists starts and ends in the same order.
    rows, starts = np.nonzero(change == 1)
    _, ends = np.nonzero(change == -1)
    runs = shapely.box(starts + x0, rows + y0, ends + x0, rows + y0 + 1)
    # The union keeps the corners between rows that make no turn; with tolerance 0 exactly those go.
    return shapely.union_all(runs).simplify(0)


def rings(shape: BaseGeometry) -> list[FloatArray]:
    """All outer and inner rings ``(P, 2)`` of a polygon or several, closed (the last point is the first)."""
    found = []
    for polygon in shapely.get_parts(shape):
        found += [shapely.get_coordinates(ring) for ring in (polygon.exterior, *polygon.interiors)]
    return found
