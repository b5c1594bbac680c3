"""COCO run-length encoding of masks that are held as crops, without ever building a full-size mask.

COCO stores a mask column by column (Fortran order) as alternating run lengths of zeros and ones, the first of
zeros; the *compressed* form packs these lengths into a string. pycocotools encodes and decodes full images only, so
a 20 x 20 nucleus on a 2048 x 2048 image costs four million pixels. Here both directions touch the crop's columns only.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

RLE: TypeAlias = dict[str, Any]
"""COCO compressed RLE: ``{"size": [height, width], "counts": bytes or str}``."""

Box: TypeAlias = tuple[int, int, int, int]
"""Pixel box ``(x0, y0, x1, y1)``, the end exclusive."""


def encode_crop(crop: npt.NDArray[Any], box: Box, size: tuple[int, int]) -> RLE:
    """Encode a mask given on its box.

    Args:
        crop: ``(y1-y0, x1-x0)`` bool or 0/1.
        box: where the crop lies in the image, wholly inside it.
        size: image ``(height, width)``.

    Returns:
        Compressed RLE of the full image, ``counts`` as ``str`` (ready for json).
    """
    height, width = size
    x0, y0, _, _ = box
    columns = np.zeros((crop.shape[1], crop.shape[0] + 2), dtype=np.int8)
    columns[:, 1:-1] = crop.T != 0
    edges = np.diff(columns, axis=1)
    # One row per image column, so np.nonzero lists runs in COCO's column-major order.
    start_column, start_row = np.nonzero(edges == 1)
    _, end_row = np.nonzero(edges == -1)
    origin = (start_column.astype(np.int64) + x0) * height + y0
    starts, ends = origin + start_row, origin + end_row
    # A run that reaches the bottom of one column and goes on at the top of the next is one run for COCO.
    joined = starts[1:] == ends[:-1]
    starts = starts[np.concatenate([[True], ~joined])] if len(starts) else starts
    ends = ends[np.concatenate([~joined, [True]])] if len(ends) else ends
    bounds = np.stack([starts, ends], axis=1).ravel()
    counts = np.diff(np.concatenate([[0], bounds, [height * width]]))
    if counts[-1] == 0 and len(counts) > 1:
        counts = counts[:-1]
    rle: RLE = coco_mask.frPyObjects({"size": [height, width], "counts": counts.tolist()}, height, width)
    return {"size": [height, width], "counts": rle["counts"].decode("ascii")}


MOST_DIGITS = 12
"""Of five bits each: more than any image has pixels, and what 64 bits hold."""


def run_lengths(rle: RLE) -> npt.NDArray[np.int64]:
    """Run lengths of an RLE, zeros first, whether it is compressed (``str``, ``bytes``) or a plain list.

    Raises:
        ValueError: if the compressed form is malformed: pycocotools would read behind its end.
    """
    counts = rle["counts"]
    if not isinstance(counts, (str, bytes)):
        return np.asarray(counts, dtype=np.int64)
    values, _ = _stored(_bytes(counts))
    # From the fourth on, a number is stored as its difference to the one two before.
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values


def _bytes(counts: str | bytes) -> bytes:
    """Text that is not ASCII becomes bytes that no run length has."""
    return counts.encode("utf-8", "surrogatepass") if isinstance(counts, str) else counts


def _stored(packed: bytes) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """The numbers of the compressed form, and which of its characters end one.

    Raises:
        ValueError: if it is malformed.
    """
    digits = np.frombuffer(packed, dtype=np.uint8).astype(np.int64) - 48
    if len(digits) == 0:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=bool)
    if digits.min() < 0 or digits.max() > 63:
        raise ValueError("its counts hold a character that no run length has")
    if digits[-1] & 0x20:
        raise ValueError("its counts end in the middle of a number")
    # Each number is a little-endian string of 5-bit digits; bit 5 says that more follow, bit 4 of the last is the sign.
    last = (digits & 0x20) == 0
    first_index = np.concatenate([[0], np.nonzero(last)[0][:-1] + 1])
    lengths = np.diff(np.concatenate([first_index, [len(digits)]]))
    if lengths.max() > MOST_DIGITS:
        raise ValueError(f"its counts hold a number of {lengths.max()} digits")
    place = np.arange(len(digits)) - np.repeat(first_index, lengths)
    values = np.add.reduceat((digits & 0x1F) << (5 * place), first_index)
    negative = (digits[last] & 0x10) != 0
    return values - (negative.astype(np.int64) << (5 * lengths)), last


def are_sound(texts: Sequence[str], pixels: Sequence[int]) -> npt.NDArray[np.bool_]:
    """Which compressed masks have runs that fill their image, and cover a pixel of it: in bulk, and without decoding.

    Args:
        texts: ``counts`` of each mask, none of them empty.
        pixels: of each mask's image.

    Returns:
        ``(N,)``; where any of the texts is malformed, False for all.
    """
    unknown = np.zeros(len(texts), dtype=bool)
    packed = [_bytes(text) for text in texts]
    ends = np.cumsum([len(text) for text in packed], dtype=np.int64)
    try:
        values, last = _stored(b"".join(packed))
    except ValueError:
        return unknown
    if not last[ends - 1].all():
        return unknown
    numbers = np.diff(np.cumsum(last)[ends - 1], prepend=0)
    first = np.cumsum(numbers) - numbers
    place = np.arange(len(values)) - np.repeat(first, numbers)
    for parity in (0, 1):
        chain = np.flatnonzero((place > 0) & (place % 2 == parity))
        stored = values[chain]
        sums = np.cumsum(stored)
        begins = place[chain] <= 2
        values[chain] = sums - (sums - stored)[begins][np.cumsum(begins) - 1]
    most = np.asarray(pixels, dtype=np.int64)
    possible = np.logical_and.reduceat((values >= 0) & (values <= np.repeat(most, numbers)), first)
    covered = np.add.reduceat(values * (place % 2), first)
    sound: npt.NDArray[np.bool_] = possible & (np.add.reduceat(values, first) == most) & (covered > 0)
    return sound


def decode_crop(rle: RLE) -> tuple[npt.NDArray[np.bool_], Box]:
    """Decode an RLE onto its tight bounding box.

    Returns:
        The mask on the box, ``(y1-y0, x1-x0)`` bool, and the box; an empty mask gives a ``(0, 0)`` array at the origin.

    Raises:
        ValueError: if the run lengths do not add up to height x width.
    """
    height, width = (int(side) for side in rle["size"])
    counts = run_lengths(rle)
    bounds = np.cumsum(counts)
    total = int(bounds[-1]) if len(bounds) else 0
    if total != height * width or (counts < 0).any():
        raise ValueError(f"RLE runs cover {total} pixels, but its size {height}x{width} has {height * width}")
    starts, ends = bounds[0:-1:2], bounds[1::2]
    keep = ends > starts
    starts, ends = starts[keep], ends[keep]
    if len(starts) == 0:
        return np.zeros((0, 0), dtype=bool), (0, 0, 0, 0)
    x0, x1 = int(starts[0]) // height, (int(ends[-1]) - 1) // height + 1
    marks = np.zeros((x1 - x0) * height + 1, dtype=np.int8)
    marks[starts - x0 * height] = 1
    marks[ends - x0 * height] -= 1
    strip = np.cumsum(marks[:-1], dtype=np.int8).reshape(x1 - x0, height).astype(bool)
    rows = np.nonzero(strip.any(axis=0))[0]
    y0, y1 = int(rows[0]), int(rows[-1]) + 1
    return np.ascontiguousarray(strip[:, y0:y1].T), (x0, y0, x1, y1)
