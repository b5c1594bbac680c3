"""Regions of a TIFF file: memory-mapped where it is stored plainly, else only the tiles or strips that are needed."""

import itertools
import math
import weakref
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from gains.errors import InputError
from gains.rle import Box

CACHE_BYTES = 256 * 2**20
"""Decoded tiles or strips kept, so that neighbouring regions do not decode them again."""


class TiffRegions:
    """The first series of a TIFF file at full resolution.

    Attributes:
        size: height and width.
        lengths: length of each axis by tifffile's letter: Y, X, S (samples), C (channels), T, Z, and I or Q (pages).

    Raises:
        InputError: if the file is damaged or holds no image.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = tifffile.TiffFile(path)
            self._series = self._file.series[0]
            self._axes: str = self._series.axes
            self.lengths: dict[str, int] = dict(zip(self._axes, self._series.shape, strict=True))
            self.size = (self.lengths["Y"], self.lengths["X"])
            self._mapped = tifffile.memmap(path, series=0, mode="r") if self._plain() else None
            keyframe = self._series.keyframe
            if math.prod(keyframe.chunked) > len(keyframe.dataoffsets):
                raise ValueError(f"{len(keyframe.dataoffsets)} tiles or strips do not make {self.size} pixels")
            self._whole: npt.NDArray[Any] | None = None
        # tifffile raises whatever a damaged byte leads to.
        except Exception as error:
            raise InputError(f"{path} is a damaged TIFF file, or holds no image: {error!r}") from None
        if 0 in self._series.shape:
            raise InputError(f"{path} has shape {self._series.shape}: no pixels")
        if self._series.dtype.kind not in "buif":
            raise InputError(f"{path} has {self._series.dtype} pixels; use integers or floats")
        # The planes of a file share it, so it is closed when the last of them is forgotten.
        weakref.finalize(self, self._file.close)
        self._cache: OrderedDict[tuple[int, int], npt.NDArray[Any]] = OrderedDict()
        self._cached = 0

    def planes(self, without: str | None = None) -> Iterator[dict[str, int]]:
        """Every combination of indices along the axes other than Y, X and S, the axis ``without`` left out."""
        axes = [axis for axis in self._axes if axis not in "YXS" and axis != without]
        for indices in itertools.product(*(range(self.lengths[axis]) for axis in axes)):
            yield dict(zip(axes, indices, strict=True))

    def read(self, plane: dict[str, int], box: Box) -> npt.NDArray[Any]:
        """One region.

        Args:
            plane: index along each axis other than Y, X and S.
            box: pixels ``(x0, y0, x1, y1)``, inside the image.

        Returns:
            ``(h, w, samples)``, as stored.

        Raises:
            InputError: if that part of the file is damaged.
        """
        try:
            if self._mapped is not None:
                return self._slice(self._mapped, plane, box)
            page = self._page(plane)
            if page is not None:
                return self._decode(page, box)
            if self._whole is None:
                self._whole = self._series.asarray()
            return self._slice(self._whole, plane, box)
        except Exception as error:
            raise InputError(f"{self.path} is a damaged TIFF file: {error!r}") from None

    def _plain(self) -> bool:
        """Whether the values lie in the file one after the other, as in memory."""
        if self._series.dataoffset is None:
            return False
        end = self._series.dataoffset + self._series.nbytes
        if end > self._file.filehandle.size:
            raise ValueError(f"the file ends after {self._file.filehandle.size} of {end} bytes")
        return bool(self._series.keyframe.is_memmappable)

    def _slice(self, stored: npt.NDArray[Any], plane: dict[str, int], box: Box) -> npt.NDArray[Any]:
        x0, y0, x1, y1 = box
        spans: dict[str, slice | int] = {**plane, "Y": slice(y0, y1), "X": slice(x0, x1)}
        part = np.asarray(stored[tuple(spans.get(axis, slice(None)) for axis in self._axes)])
        rest = [axis for axis in self._axes if axis in "YXS"]
        return part[:, :, None] if "S" not in rest else part.transpose([rest.index(axis) for axis in "YXS"])

    def _page(self, plane: dict[str, int]) -> int | None:
        """Number of the page that holds a plane; None where pages and planes do not correspond one to one."""
        leading = [axis for axis in self._axes if axis not in "YXS"]
        shape = [self.lengths[axis] for axis in leading]
        keyframe = self._series.keyframe
        fits = int(np.prod(shape)) == len(self._series.pages) and keyframe.shaped[1] == 1
        samples = keyframe.shaped[0] * keyframe.shaped[4]
        if not fits or keyframe.shaped[2:4] != self.size or samples != self.lengths.get("S", 1):
            return None
        index = [plane[axis] for axis in leading]
        return int(np.ravel_multi_index(index, shape)) if leading else 0

    def _decode(self, page_number: int, box: Box) -> npt.NDArray[Any]:
        """Join the parts of a page's tiles or strips."""
        x0, y0, x1, y1 = box
        keyframe = self._series.keyframe
        height = keyframe.tilelength if keyframe.is_tiled else keyframe.rowsperstrip
        width = keyframe.tilewidth if keyframe.is_tiled else self.size[1]
        across, down = -(-self.size[1] // width), -(-self.size[0] // height)
        separate, contiguous = keyframe.shaped[0], keyframe.shaped[4]
        out = np.zeros((y1 - y0, x1 - x0, separate * contiguous), keyframe.dtype)
        for sample in range(separate):
            for row, column in itertools.product(
                range(y0 // height, -(-y1 // height)), range(x0 // width, -(-x1 // width))
            ):
                segment = self._segment(page_number, (sample * down + row) * across + column)
                if segment is None:
                    continue
                top, left = row * height, column * width
                bottom, right = min(y1, top + segment.shape[0]), min(x1, left + segment.shape[1])
                rows, columns = slice(max(y0, top), bottom), slice(max(x0, left), right)
                out[
                    rows.start - y0 : rows.stop - y0,
                    columns.start - x0 : columns.stop - x0,
                    sample * contiguous : (sample + 1) * contiguous,
                ] = segment[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
        return out

    def _segment(self, page_number: int, index: int) -> npt.NDArray[Any] | None:
        """A decoded tile or strip ``(h, w, samples)``, from the cache if it was needed a moment ago."""
        key = (page_number, index)
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        page: Any = self._series.pages[page_number]
        if page is None or page.databytecounts[index] == 0:
            return None
        handle = self._file.filehandle
        handle.seek(page.dataoffsets[index])
        encoded = handle.read(page.databytecounts[index])
        if len(encoded) < page.databytecounts[index]:
            raise ValueError("the file ends in the middle of its pixels")
        options: dict[str, Any] = {"_fullsize": bool(page.keyframe.is_tiled)}
        if page.keyframe.compression in (6, 7, 34892, 33007):  # the JPEG kinds keep their tables in the page
            options |= {"jpegtables": page.jpegtables, "jpegheader": page.keyframe.jpegheader}
        decoded, _, _ = page.keyframe.decode(encoded, index, **options)
        segment: npt.NDArray[Any] = decoded[0]
        self._cache[key] = segment
        self._cached += segment.nbytes
        while self._cached > CACHE_BYTES and len(self._cache) > 1:
            self._cached -= self._cache.popitem(last=False)[1].nbytes
        return segment
