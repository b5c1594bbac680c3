"""Areas drawn on an image, as masks: a pixel is inside where its centre is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gains.errors import InputError
from gains.rle import RLE, encode_crop

FAR = 1e6
"""Pixels; no image reaches there."""


NUDGE = 1e-8
"""Pixels by which ImageJ moves edges to the right, so that its rule for centres on an edge stands rounding."""

Ring = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Drawn:
    """One drawn object.

    Attributes:
        category: its name; empty where the file gives none.
        polygons: parts, each of rings ``(K, 2)`` of (x, y) in pixels, (0, 0) being the corner of the first pixel; rings
            inside others are holes.
        pixels: further parts as masks ``(h, w)`` with the (x, y) of their first pixel.
        plane: slice and time point of a stack that it lies on; None where it says none.
        imagej: whether a centre that lies on an edge is inside at the right and lower ends, as in ImageJ, and not at
            the left and upper ends, as in Java, QuPath's drawing and this program.
        remarks: what there is to say about it.
        image: height and width of the image it was drawn on; None where the file does not say.
    """

    category: str
    polygons: Sequence[Sequence[Ring]]
    pixels: Sequence[tuple[npt.NDArray[np.bool_], tuple[int, int]]] = ()
    plane: tuple[int, int] | None = None
    imagej: bool = False
    remarks: Sequence[str] = ()
    image: tuple[int, int] | None = None


def ring(points: object, where: str) -> npt.NDArray[np.float64]:
    """A ring of three points or more from what a file holds.

    Raises:
        InputError: if it is none, or a coordinate is no number that lies near an image.
    """
    try:
        array = np.array(points, dtype=np.float64)
    except (ValueError, TypeError, OverflowError):
        raise InputError(f"{where} has a polygon that is no list of points (x, y)") from None
    if array.ndim != 2 or array.shape[1] < 2 or len(array) < 3:
        raise InputError(f"{where} has a polygon of shape {array.shape}; it needs three points (x, y) or more")
    if not (np.abs(array) < FAR).all():
        raise InputError(f"{where} has a polygon with a coordinate that is no number, or far outside of any image")
    return array[:, :2]


def ellipse(centre: tuple[float, float], radii: tuple[float, float], where: str) -> Ring:
    """The ring around all pixels whose centres lie in or on an ellipse with upright axes.

    Args:
        centre: (x, y).
        radii: along x and y.
        where: for the error.

    Raises:
        InputError: if it covers no pixel centre, or reaches far beyond any image.
    """
    (x, y), (a, b) = centre, radii
    if not max(abs(x) + a, abs(y) + b) < FAR:
        raise InputError(f"{where} has a coordinate that is no number, or far outside of any image")
    rows = np.arange(np.floor(y - b), np.ceil(y + b)) if min(a, b) > 0 else np.empty(0)
    half = a * np.sqrt(np.clip(1 - ((rows + 0.5 - y) / max(b, 1e-9)) ** 2, 0, None))
    inside = np.abs(rows + 0.5 - y) <= b
    left, last = np.ceil(x - half - 0.5 - NUDGE), np.floor(x + half - 0.5 + NUDGE)
    ends = [((column + 0.5 - x) ** 2 / (a * a) + (rows + 0.5 - y) ** 2 / (b * b)) > 1 for column in (left, last)]
    left, right = left + ends[0], last + 1 - ends[1]
    inside &= left < right
    if not inside.any():
        raise InputError(f"{where} covers no pixel centre; remove it")
    rows, left, right = rows[inside], left[inside], right[inside]
    down = np.stack([np.repeat(right, 2), np.stack([rows, rows + 1], axis=1).ravel()], axis=1)
    up = np.stack([np.repeat(left, 2), np.stack([rows, rows + 1], axis=1).ravel()], axis=1)[::-1]
    return np.concatenate([down, up])


def to_mask(drawn: Drawn, size: tuple[int, int], where: str) -> RLE:
    """RLE of the union of an object's parts, what lies outside the image cut off.

    Raises:
        InputError: if it covers no pixel centre.
    """
    corners = [[(x, y), (x + mask.shape[1], y + mask.shape[0])] for mask, (x, y) in drawn.pixels]
    points = np.concatenate([*(each for rings in drawn.polygons for each in rings), *map(np.array, corners)])
    x0, y0 = np.clip(np.floor(points.min(axis=0)), 0, size[::-1]).astype(int)
    x1, y1 = np.clip(np.ceil(points.max(axis=0)), 0, size[::-1]).astype(int)
    crop = np.zeros((y1 - y0, x1 - x0), dtype=bool)
    for rings in drawn.polygons:
        crop |= _inside([each - (x0, y0) for each in rings], crop.shape, drawn.imagej)
    for mask, (x, y) in drawn.pixels:
        left, top = max(x, 0), max(y, 0)
        part = mask[top - y : size[0] - y, left - x : size[1] - x]
        crop[top - y0 : top - y0 + part.shape[0], left - x0 : left - x0 + part.shape[1]] |= part
    if not crop.any():
        raise InputError(f"{where} covers no pixel of its image of {size[0]}x{size[1]}; remove it")
    return encode_crop(crop, (int(x0), int(y0), int(x1), int(y1)), size)


def _inside(rings: Sequence[Ring], shape: tuple[int, ...], imagej: bool) -> npt.NDArray[np.bool_]:
    """Pixels ``shape`` whose centres the rings enclose an odd number of times."""

    def first_from(places: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The first pixel whose centre is not before a place."""
        return np.floor(places + 0.5) if imagej else np.ceil(places - 0.5)

    height, width = shape
    starts = np.concatenate(rings)
    ends = np.concatenate([np.roll(each, -1, axis=0) for each in rings])
    first, last = (
        np.clip(first_from(edge(starts[:, 1], ends[:, 1])), 0, height).astype(np.int64)
        for edge in (np.minimum, np.maximum)
    )
    counts = last - first
    edges = np.repeat(np.arange(len(starts)), counts)
    rows = np.arange(len(edges)) - np.repeat(np.cumsum(counts) - counts, counts) + first[edges]
    slopes = (ends[edges, 0] - starts[edges, 0]) / (ends[edges, 1] - starts[edges, 1])
    crossings = starts[edges, 0] + (rows + 0.5 - starts[edges, 1]) * slopes
    columns = np.clip(first_from(crossings + NUDGE * imagej), 0, width).astype(np.int64)
    marks = np.zeros((height, width + 1), dtype=np.int32)
    np.add.at(marks, (rows, columns), 1)
    inside: npt.NDArray[np.bool_] = np.cumsum(marks, axis=1)[:, :-1] % 2 == 1
    return inside
