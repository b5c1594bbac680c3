"""The three ways in which COCO writes a mask, to one compressed RLE, checked."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from gains.errors import InputError
from gains.rle import RLE, are_sound, decode_crop

FAR = 10
"""Polygons may leave their image up to this multiple of its longer side."""
MOST = 2**31
"""Sides whose product fits 64 bits."""
LONG = 2000
"""Characters from which on a mask is checked by itself: many of them together would take much memory."""
MAX_OUTLINE = 2e6
"""Longest outline in pixels: pycocotools walks along it in fifths of a pixel and keeps each step."""


def known_sound(segmentations: Sequence[Any]) -> list[bool]:
    """Which are compressed RLE that fill the size they state and cover a pixel; of others nothing is known.

    Many together take a fraction of the time that :func:`to_rle` takes for each.
    """
    known = [False] * len(segmentations)
    rows = [row for row, each in enumerate(segmentations) if _is_compressed(each)]
    masks = [segmentations[row] for row in rows]
    if masks:
        pixels = [mask["size"][0] * mask["size"][1] for mask in masks]
        for row, sound in zip(rows, are_sound([mask["counts"] for mask in masks], pixels).tolist(), strict=True):
            known[row] = sound
    return known


def _is_compressed(segmentation: Any) -> bool:
    if not isinstance(segmentation, dict):
        return False
    size, counts = segmentation.get("size"), segmentation.get("counts")
    sides = isinstance(size, list) and len(size) == 2 and all(type(side) is int and 0 < side < MOST for side in size)
    return sides and isinstance(counts, str) and 0 < len(counts) < LONG


def to_rle(segmentation: Any, size: tuple[int, int], where: str, sound: bool = False) -> RLE:
    """Compressed RLE of a ``segmentation``: polygons, uncompressed RLE or compressed RLE.

    Args:
        segmentation: as read from json.
        size: ``(height, width)`` of the image.
        where: file and annotation, for the error.
        sound: whether it is :func:`known_sound`.

    Raises:
        InputError: if it is missing, malformed, of another image's size, or without a pixel.
    """
    if sound and segmentation["size"] == list(size):
        return {"size": list(size), "counts": segmentation["counts"]}
    if not segmentation:
        raise InputError(f"{where} has an empty segmentation; give polygons or RLE, or remove the annotation")
    rle = _rle(segmentation, size, where) if isinstance(segmentation, dict) else _polygons(segmentation, size, where)
    if coco_mask.area(rle) == 0:
        raise InputError(f"{where} has a segmentation that covers no pixel of its image; remove the annotation")
    return rle


def _polygons(polygons: Any, size: tuple[int, int], where: str) -> RLE:
    """Union of polygons ``[x0, y0, x1, y1, ...]``."""
    if not isinstance(polygons, list) or not all(isinstance(polygon, list) for polygon in polygons):
        raise InputError(f"{where} has a segmentation that is neither a list of polygons nor RLE")
    for polygon in polygons:
        if len(polygon) < 6 or len(polygon) % 2:
            raise InputError(f"{where} has a polygon of {len(polygon)} numbers; three points or more are x,y pairs")
        if not all(isinstance(value, (int, float)) for value in polygon):
            raise InputError(f"{where} has a polygon with a coordinate that is no finite number")
    _check_extent(polygons, size, where)
    merged: RLE = coco_mask.merge(coco_mask.frPyObjects(polygons, *size))
    return _text(merged)


def _check_extent(polygons: list[list[float]], size: tuple[int, int], where: str) -> None:
    """Refuse coordinates and outlines that pycocotools would crash on, or spend memory and minutes for."""
    reach, outline = FAR * max(size), 0.0
    for polygon in polygons:
        try:
            points = np.array(polygon, dtype=np.float64).reshape(-1, 2)
        except OverflowError:
            points = np.full((1, 2), np.inf)
        if not np.isfinite(points).all():
            raise InputError(f"{where} has a polygon with a coordinate that is no finite number")
        if np.abs(points).max() > reach:
            far = points.ravel()[np.abs(points).argmax()]
            raise InputError(f"{where} has a polygon with the coordinate {far:g}, far outside its image of {size}")
        outline += float(np.abs(points - np.roll(points, 1, axis=0)).max(axis=1).sum())
    if outline > MAX_OUTLINE:
        raise InputError(f"{where} has outlines of {outline:g} pixels, more than {MAX_OUTLINE:g}; give it as RLE")


def _rle(segmentation: dict[str, Any], size: tuple[int, int], where: str) -> RLE:
    """RLE as it is, once it is known to fill its image: pycocotools itself does not check."""
    if segmentation.get("size") != list(size):
        raise InputError(
            f"{where} has RLE of size {segmentation.get('size')}, but its image is {list(size)} (height, width)"
        )
    counts = segmentation.get("counts")
    try:
        if isinstance(counts, list):
            return _text(coco_mask.frPyObjects(_checked(counts, size), *size))
        if not isinstance(counts, str):
            raise ValueError("counts must be a string or a list")
        decode_crop({"size": size, "counts": counts})
    except (ValueError, IndexError, TypeError, OverflowError) as error:
        raise InputError(f"{where} has unreadable RLE: {error}") from None
    return {"size": list(size), "counts": counts}


def _checked(counts: list[Any], size: tuple[int, int]) -> RLE:
    """Uncompressed RLE whose runs fill the image.

    Raises:
        ValueError: if they do not.
    """
    if not all(isinstance(count, int) and count >= 0 for count in counts) or sum(counts) != size[0] * size[1]:
        raise ValueError(f"its runs must be whole numbers that add up to {size[0]} x {size[1]}")
    return {"size": list(size), "counts": counts}


def _text(rle: RLE) -> RLE:
    """The same RLE with ``counts`` as text, ready for json."""
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode("ascii")}
