"""Regions of a TIFF file: memory-mapped where it is stored plainly, else only the tiles or strips that are needed."""

import io
import math
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from gains.errors import InputError
from gains.images.colour import Colour, colour_of
from gains.images.limits import check_pixels
from gains.images.options import ReadOptions
from gains.images.tiff_segments import Segments
from gains.rle import Box


class OpenTiff:
    """A TIFF file that is closed when nothing reads it any more.

    Args:
        source: its path, or its bytes.
        flags: ``is_KIND`` of tifffile, to read it as another kind.

    Raises:
        Exception: whatever tifffile raises for damaged bytes.
    """

    def __init__(self, source: Path | bytes, **flags: bool) -> None:
        kinds: dict[str, Any] = dict(flags)
        self.file: Any = tifffile.TiffFile(io.BytesIO(source) if isinstance(source, bytes) else source, **kinds)
        weakref.finalize(self, self.file.close)


class TiffRegions:
    """One series of a TIFF file at full resolution, a :class:`gains.images.raster.Stack`.

    Attributes:
        dtype: of the stored values.
        planes: how many there are, the channels of one taken together.

    Args:
        opened: the file.
        series: of tifffile, one of the file's.
        name: of the file, for errors.
        options: limit what is decoded in one piece.
        raw: give samples as stored, as label images need them, not as gray or RGB.

    Raises:
        InputError: if the file is damaged, has an unknown colour model, or values that are no numbers.
    """

    def __init__(self, opened: OpenTiff, series: Any, name: str, options: ReadOptions, raw: bool = False) -> None:
        self.name = name
        self._opened = opened
        self._series = series
        self._options = options
        self._axes: str = series.axes
        self._stored: dict[str, int] = dict(zip(self._axes, series.shape, strict=True))
        if not {"Y", "X"} <= self._stored.keys() or 0 in series.shape:
            raise InputError(f"{name} has pixels of shape {series.shape} ({self._axes}); without rows and columns")
        if series.dtype.kind not in "buif":
            raise InputError(f"{name} has {series.dtype} pixels; use integers or floats")
        self.size = (self._stored["Y"], self._stored["X"])
        colour = None if raw else self._colour()
        self._convert = None if colour is None else colour.convert
        self.is_rgb = colour is not None and colour.is_rgb
        self.pixel_size_um: float | None = None
        self.lengths = {axis: length for axis, length in self._stored.items() if axis not in "YXS"}
        self.lengths["S"] = self._stored.get("S", 1) if colour is None else colour.samples
        self.dtype = series.dtype
        self.planes = math.prod(length for axis, length in self.lengths.items() if axis not in "SC")
        self._whole: npt.NDArray[Any] | None = None
        try:
            self._mapped = self._map()
            self._segments = Segments(series, name, options)
        # tifffile raises whatever a damaged byte leads to.
        except Exception as error:
            raise damaged(name, error) from None

    def _colour(self) -> Colour:
        try:
            return colour_of(self._series.keyframe, self.name)
        except InputError:
            raise
        # Tags of another type or count than they have to be.
        except (TypeError, ValueError, AttributeError) as error:
            raise damaged(self.name, error) from None

    def is_missing(self, plane: dict[str, int]) -> bool:
        """Whether the file names a plane, but has no data of it."""
        number = self._page(plane)
        if self._mapped is not None or number is None:
            return False
        page = self._series.pages[number]
        return page is None or not any(page.databytecounts) or not any(page.dataoffsets)

    def is_elsewhere(self, plane: dict[str, int]) -> bool:
        """Whether a plane lies in another file of a set, with which it is read."""
        number = self._page(plane)
        page = None if number is None else self._series.pages[number]
        return page is not None and page.parent is not self._opened.file

    def read(self, plane: dict[str, int], box: Box) -> npt.NDArray[Any]:
        """One region.

        Args:
            plane: index along each axis other than Y, X and S.
            box: pixels ``(x0, y0, x1, y1)``, inside the image.

        Returns:
            ``(h, w, samples)``, colours as gray or RGB, without alpha.

        Raises:
            InputError: if that part of the file is damaged, or too large to be decoded in one piece.
        """
        try:
            stored = self._read(plane, box)
            return stored if self._convert is None else self._convert(stored)
        except InputError:
            raise
        except Exception as error:
            raise damaged(self.name, error) from None

    def _read(self, plane: dict[str, int], box: Box) -> npt.NDArray[Any]:
        """Mapped, decoded or, where planes and pages do not correspond, from the whole."""
        if self._mapped is not None:
            return self._slice(self._mapped, plane, box)
        page = self._page(plane)
        if page is not None:
            return self._segments.read(page, box)
        if self._whole is None:
            check_pixels(self._series.shape, self._options, self.name)
            self._whole = self._series.asarray()
        return self._slice(self._whole, plane, box)

    def _map(self) -> npt.NDArray[Any] | None:
        """The series where its values lie in a file one after the other, as in memory; else None."""
        series, handle = self._series, self._opened.file.filehandle
        if series.is_multifile or series.transform is not None or not series.dataoffset:
            return None
        end = series.dataoffset + series.nbytes
        if end > handle.size:
            raise ValueError(f"the file ends after {handle.size} of {end} bytes")
        if not handle.is_file or not series.keyframe.is_memmappable:
            return None
        dtype = series.dtype.newbyteorder(self._opened.file.byteorder)
        mapped: npt.NDArray[Any] = handle.memmap_array(dtype, series.shape, offset=series.dataoffset)
        return mapped

    def _slice(self, stored: npt.NDArray[Any], plane: dict[str, int], box: Box) -> npt.NDArray[Any]:
        x0, y0, x1, y1 = box
        spans: dict[str, slice | int] = {**plane, "Y": slice(y0, y1), "X": slice(x0, x1)}
        part = np.asarray(stored[tuple(spans.get(axis, slice(None)) for axis in self._axes)])
        rest = [axis for axis in self._axes if axis in "YXS"]
        return part[:, :, None] if "S" not in rest else part.transpose([rest.index(axis) for axis in "YXS"])

    def _page(self, plane: dict[str, int]) -> int | None:
        """Number of the page that holds a plane; None where pages and planes do not correspond one to one."""
        leading = [axis for axis in self._axes if axis not in "YXS"]
        shape = [self._stored[axis] for axis in leading]
        keyframe = self._series.keyframe
        samples = keyframe.shaped[0] * keyframe.shaped[4]
        as_pages = math.prod(shape) == len(self._series.pages) and self._series.transform is None
        if not as_pages or keyframe.shaped[1:4] != (1, *self.size) or samples != self._stored.get("S", 1):
            return None
        return int(np.ravel_multi_index([plane[axis] for axis in leading], shape)) if leading else 0


def damaged(name: str, error: Exception) -> InputError:
    """The error for whatever tifffile and its codecs raise."""
    if isinstance(error, MemoryError):
        return InputError(f"{name} does not fit into memory, or its size is damaged")
    text = " ".join(str(error).split()) or type(error).__name__
    return InputError(f"{name} is a damaged TIFF file, or of a kind that is not read: {text[:200]}")
