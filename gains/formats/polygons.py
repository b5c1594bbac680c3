"""Polygons drawn on an image, as masks: a pixel is inside where its centre is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gains.errors import InputError
from gains.rle import RLE, encode_crop

FAR = 1e6
"""Pixels; no image reaches there."""


@dataclass(frozen=True)
class Drawn:
    """One drawn object.

    Attributes:
        category: its name; empty where the file gives none.
        polygons: parts, each of rings ``(K, 2)`` of (x, y) in pixels, (0, 0) being the corner of the first pixel; rings
            inside others are holes.
    """

    category: str
    polygons: Sequence[Sequence[npt.NDArray[np.float64]]]


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


def to_mask(drawn: Drawn, size: tuple[int, int], where: str) -> RLE:
    """RLE of the union of an object's parts, what lies outside the image cut off.

    Raises:
        InputError: if it covers no pixel centre.
    """
    points = np.concatenate([each for rings in drawn.polygons for each in rings])
    x0, y0 = np.clip(np.floor(points.min(axis=0)), 0, size[::-1]).astype(int)
    x1, y1 = np.clip(np.ceil(points.max(axis=0)), 0, size[::-1]).astype(int)
    crop = np.zeros((y1 - y0, x1 - x0), dtype=bool)
    for rings in drawn.polygons:
        crop |= _inside([each - (x0, y0) for each in rings], crop.shape)
    if not crop.any():
        raise InputError(f"{where} covers no pixel of its image of {size[0]}x{size[1]}; remove it")
    return encode_crop(crop, (int(x0), int(y0), int(x1), int(y1)), size)


def _inside(rings: Sequence[npt.NDArray[np.float64]], shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """Pixels ``shape`` whose centres the rings enclose an odd number of times."""
    height, width = shape
    starts = np.concatenate(rings)
    ends = np.concatenate([np.roll(each, -1, axis=0) for each in rings])
    first, last = (
        np.clip(np.ceil(edge(starts[:, 1], ends[:, 1]) - 0.5), 0, height).astype(np.int64)
        for edge in (np.minimum, np.maximum)
    )
    counts = last - first
    edges = np.repeat(np.arange(len(starts)), counts)
    rows = np.arange(len(edges)) - np.repeat(np.cumsum(counts) - counts, counts) + first[edges]
    slopes = (ends[edges, 0] - starts[edges, 0]) / (ends[edges, 1] - starts[edges, 1])
    crossings = starts[edges, 0] + (rows + 0.5 - starts[edges, 1]) * slopes
    columns = np.clip(np.ceil(crossings - 0.5), 0, width).astype(np.int64)
    marks = np.zeros((height, width + 1), dtype=np.int32)
    np.add.at(marks, (rows, columns), 1)
    inside: npt.NDArray[np.bool_] = np.cumsum(marks, axis=1)[:, :-1] % 2 == 1
    return inside
