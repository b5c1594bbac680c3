"""Outlines of masks along the edges of their pixels, so that nothing is lost: filled again they give the same mask."""

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry.base import BaseGeometry

from gains.instances import Instances

FloatArray = npt.NDArray[np.float64]


def outlines(instances: Instances) -> list[BaseGeometry]:
    """Polygon or MultiPolygon of each instance, holes included.

    Coordinates are (x, y) in pixels with (0, 0) at the top left corner of the top left pixel, as in ImageJ and QuPath.
    Its area is the mask's number of pixels; pixels that meet at a corner alone belong to different polygons.
    """
    return [_outline(instances.crop(index), instances.boxes[index, :2]) for index in range(len(instances))]


def _outline(crop: npt.NDArray[np.bool_], corner: npt.NDArray[np.int64]) -> BaseGeometry:
    """Outline of a mask ``(h, w)`` whose top left corner lies at (x, y)."""
    padded = np.pad(crop, 1)
    # Every edge between a pixel inside and one outside is a line of length 1: upright ones, then level ones.
    y, x = np.nonzero(padded[:, 1:] != padded[:, :-1])
    upright = np.stack([x, y - 1, x, y], axis=1)
    y, x = np.nonzero(padded[1:] != padded[:-1])
    level = np.stack([x - 1, y, x, y], axis=1)
    edges = np.concatenate([upright, level]).reshape(-1, 2, 2) + corner
    area = shapely.build_area(shapely.geometrycollections(shapely.linestrings(edges)))
    # With tolerance 0 exactly the points go at which the outline makes no turn.
    return area.simplify(0)


def rings(shape: BaseGeometry) -> list[FloatArray]:
    """All outer and inner rings ``(P, 2)`` of a polygon or several, closed (the last point is the first)."""
    found = []
    for polygon in shapely.get_parts(shape):
        found += [shapely.get_coordinates(ring) for ring in (polygon.exterior, *polygon.interiors)]
    return found
