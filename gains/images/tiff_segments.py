"""Tiles and strips of a TIFF page, decoded where they are needed and kept for a while."""

import itertools
import math
from collections import OrderedDict
from typing import Any

import numpy as np
import numpy.typing as npt

from gains.images.colour import JPEG_KINDS
from gains.images.limits import check_pixels
from gains.images.options import ReadOptions
from gains.rle import Box

PLACES = (273, 279, 324, 325)
"""Tags that say where strips and tiles lie, and how long they are."""

WHOLE_NUMBERS = (3, 4, 13, 16, 17, 18)
"""Types of tags that can: of others tifffile makes numbers in a way that differs between its versions."""

CACHE_BYTES = 256 * 2**20
"""Decoded tiles or strips kept, so that neighbouring regions do not decode them again."""


class Segments:
    """The tiles or strips of the pages of a series.

    Args:
        series: of tifffile.
        name: of the file, for errors.
        options: limit the size of a tile or strip.

    Raises:
        ValueError: if there are fewer tiles or strips than the image needs.
    """

    def __init__(self, series: Any, name: str, options: ReadOptions) -> None:
        self._pages = series.pages
        self._name = name
        self._options = options
        self._cache: OrderedDict[tuple[int, int], npt.NDArray[Any]] = OrderedDict()
        self._cached = 0
        keyframe = series.keyframe
        for tag in map(keyframe.tags.get, PLACES):
            if tag is not None and int(tag.dtype) not in WHOLE_NUMBERS:
                raise ValueError(f"its tag {tag.name} holds no whole numbers")
        if math.prod(keyframe.chunked) > len(keyframe.dataoffsets):
            raise ValueError(f"{len(keyframe.dataoffsets)} tiles or strips do not make {keyframe.shape} pixels")

    def read(self, number: int, box: Box) -> npt.NDArray[Any]:
        """A region ``(h, w, samples)`` of page ``number``, as stored; 0 where a tile was left out by the writer.

        Raises:
            InputError: for a tile or strip beyond the limit.
            Exception: whatever tifffile and its codecs raise for damaged bytes.
        """
        x0, y0, x1, y1 = box
        keyframe = self._pages[number].keyframe
        height, width = _sides(keyframe)
        across, down = -(-keyframe.imagewidth // width), -(-keyframe.imagelength // height)
        separate, contiguous = keyframe.shaped[0], keyframe.shaped[4]
        out = np.zeros((y1 - y0, x1 - x0, separate * contiguous), keyframe.dtype)
        rows, columns = range(y0 // height, -(-y1 // height)), range(x0 // width, -(-x1 // width))
        for sample, row, column in itertools.product(range(separate), rows, columns):
            segment = self._segment(number, (sample * down + row) * across + column)
            if segment is None:
                continue
            top, left = row * height, column * width
            bottom, right = min(y1, top + segment.shape[0]), min(x1, left + segment.shape[1])
            first, start = max(y0, top), max(x0, left)
            place = out[first - y0 : bottom - y0, start - x0 : right - x0]
            part = segment[first - top : bottom - top, start - left : right - left]
            place[:, :, sample * contiguous : (sample + 1) * contiguous] = part
        return out

    def _segment(self, number: int, index: int) -> npt.NDArray[Any] | None:
        """A decoded tile or strip ``(h, w, samples)``, from the cache if it was needed a moment ago."""
        key = (number, index)
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        page = self._pages[number]
        if page.databytecounts[index] == 0 or page.dataoffsets[index] == 0:
            return None
        segment = self._decode(page, index)
        self._cache[key] = segment
        self._cached += segment.nbytes
        while self._cached > CACHE_BYTES and len(self._cache) > 1:
            self._cached -= self._cache.popitem(last=False)[1].nbytes
        return segment

    def _decode(self, page: Any, index: int) -> npt.NDArray[Any]:
        keyframe = page.keyframe
        check_pixels(_sides(keyframe), self._options, self._name, keyframe.shaped[4])
        handle = page.parent.filehandle
        if handle.closed:  # tifffile closes the other files of a set
            handle.open()
        handle.seek(page.dataoffsets[index])
        encoded = handle.read(page.databytecounts[index])
        if len(encoded) < page.databytecounts[index]:
            raise ValueError("the file ends in the middle of its pixels")
        options: dict[str, Any] = {"_fullsize": bool(keyframe.is_tiled)}
        if keyframe.compression in JPEG_KINDS:  # these keep their tables in the page
            options |= {"jpegtables": page.jpegtables, "jpegheader": keyframe.jpegheader}
        decoded, _, _ = keyframe.decode(encoded, index, **options)
        segment: npt.NDArray[Any] = decoded[0]
        return segment


def _sides(keyframe: Any) -> tuple[int, int]:
    """Rows and columns of a tile or strip."""
    if keyframe.is_tiled:
        return int(keyframe.tilelength), int(keyframe.tilewidth)
    return min(int(keyframe.rowsperstrip), int(keyframe.imagelength)), int(keyframe.imagewidth)
