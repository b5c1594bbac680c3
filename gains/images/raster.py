"""Images read region by region, so that memory follows the tile and not the image."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from gains.errors import InputError
from gains.images.files import IMAGE_SUFFIXES, TIFF_MAGIC, read_image
from gains.images.tiff_regions import TiffRegions
from gains.rle import Box

MAX_CHANNELS = 3


class Raster(Protocol):
    """One two-dimensional image.

    Attributes:
        name: what an error calls it.
        size: height and width in pixels.
    """

    name: str
    size: tuple[int, int]

    def read(self, box: Box) -> npt.NDArray[Any]:
        """Pixels ``(h, w)`` or ``(h, w, 3)`` of a box, as stored."""


class ArrayRaster:
    """An image that is in memory already.

    Args:
        pixels: ``(H, W)`` gray, ``(H, W, 3)`` RGB or ``(H, W, 4)`` RGBA, whose alpha is dropped; any integer, bool or
            float type.

    Raises:
        InputError: for another shape or type, or an image without pixels.
    """

    def __init__(self, pixels: npt.NDArray[Any], name: str = "image") -> None:
        if pixels.ndim == 3 and pixels.shape[2] == 1:
            pixels = pixels[:, :, 0]
        if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (3, 4)):
            raise InputError(f"{name} has shape {pixels.shape}; an image is (H, W), (H, W, 3) or (H, W, 4)")
        if pixels.size == 0:
            raise InputError(f"{name} has shape {pixels.shape}: no pixels")
        if pixels.dtype.kind not in "buif":
            raise InputError(f"{name} has {pixels.dtype} pixels; use integers or floats")
        self.name = name
        self.pixels = pixels[:, :, :3] if pixels.ndim == 3 else pixels
        self.size = (int(pixels.shape[0]), int(pixels.shape[1]))

    def read(self, box: Box) -> npt.NDArray[Any]:
        """Pixels of a box, a view."""
        x0, y0, x1, y1 = box
        return self.pixels[y0:y1, x0:x1]


class TiffRaster:
    """One plane of a TIFF file, whose channels are picked and read only where asked for.

    Args:
        regions: the open file.
        plane: index along each axis but rows, columns and the channels'.
        axis: letter of the channel axis; None if there is none.
        channels: which channels, one (gray) to three (RGB).
    """

    def __init__(self, regions: TiffRegions, plane: dict[str, int], axis: str | None, channels: Sequence[int]) -> None:
        self.regions = regions
        self.plane = plane
        self.axis = axis
        self.channels = list(channels)
        self.name = str(regions.path)
        self.size = regions.size

    def read(self, box: Box) -> npt.NDArray[Any]:
        """Pixels of a box; with two channels the third is 0."""
        if self.axis in (None, "S"):
            stacked = self.regions.read(self.plane, box)[:, :, self.channels]
        else:
            assert self.axis is not None
            planes = [self.regions.read({**self.plane, self.axis: index}, box) for index in self.channels]
            stacked = np.concatenate(planes, axis=2)
        return _as_gray_or_rgb(stacked)


def open_rasters(path: Path, channels: Sequence[int] | None = None) -> list[Raster]:
    """The images of a file: one, or each page (time point, plane of a stack) of a TIFF file.

    TIFF files are read tile by tile, strip by strip or memory-mapped, of a pyramid the full resolution; other formats
    can only be read whole.

    Args:
        path: PNG, TIFF, JPEG or BMP.
        channels: indices from 0 of one to three channels; None takes gray or RGB as it is.

    Raises:
        InputError: if the file is missing, damaged or no image, or its channels do not fit.
    """
    if channels is not None and not 1 <= len(channels) <= MAX_CHANNELS:
        raise InputError(f"channels={list(channels)} must name one channel (gray) to three (red, green, blue)")
    try:
        with path.open("rb") as file:
            is_tiff = file.read(4) in TIFF_MAGIC
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    return _tiff_rasters(path, channels) if is_tiff else [_whole_raster(path, channels)]


def is_image(path: Path) -> bool:
    """Whether a file in a folder is to be read, by its suffix."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def _whole_raster(path: Path, channels: Sequence[int] | None) -> Raster:
    try:
        pixels = read_image(path)
    except MemoryError:
        raise InputError(
            f"{path} does not fit into memory, or its size is damaged; a TIFF file would be read tile by tile"
        ) from None
    return ArrayRaster(_pick(pixels, channels, path), str(path))


def _tiff_rasters(path: Path, channels: Sequence[int] | None) -> list[Raster]:
    regions = TiffRegions(path)
    axis = _channel_axis(regions, channels)
    count = regions.lengths[axis] if axis else 1
    picked = _checked(channels, count, path) if channels is not None else _default_channels(axis, count, path)
    rasters = [TiffRaster(regions, plane, axis, picked) for plane in regions.planes(without=axis)]
    # The last pixel tells of a file that ends early, or claims a size it has not, before the work begins.
    height, width = regions.size
    rasters[-1].read((width - 1, height - 1, width, height))
    return [*rasters]


def _channel_axis(regions: TiffRegions, channels: Sequence[int] | None) -> str | None:
    """Samples or channels; a stack without either becomes the channels where the user picks some."""
    for axis in "SC":
        if axis in regions.lengths:
            return axis
    others = [axis for axis, length in regions.lengths.items() if axis not in "YX" and length > 1]
    return others[0] if channels is not None and len(others) == 1 else None


def _default_channels(axis: str | None, count: int, path: Path) -> list[int]:
    if axis is None or count == 1 or (axis == "S" and count == 2):
        return [0]
    if count == 3 or (axis == "S" and count == 4):
        return [0, 1, 2]
    raise InputError(f"{path} has {count} channels; choose one to three of them, such as channels=[0]")


def _checked(channels: Sequence[int], count: int, path: Path) -> list[int]:
    outside = [index for index in channels if not 0 <= index < count]
    if outside:
        raise InputError(f"channels={list(channels)}: {path} has {count} channels, counted from 0 to {count - 1}")
    return list(channels)


def _pick(pixels: npt.NDArray[Any], channels: Sequence[int] | None, path: Path) -> npt.NDArray[Any]:
    if channels is None:
        return pixels
    stacked = pixels[:, :, None] if pixels.ndim == 2 else pixels
    return _as_gray_or_rgb(stacked[:, :, _checked(channels, stacked.shape[2], path)])


def _as_gray_or_rgb(stacked: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """``(h, w, 1 to 3)`` as ``(h, w)`` or ``(h, w, 3)``."""
    if stacked.shape[2] == 1:
        return stacked[:, :, 0]
    if stacked.shape[2] == 2:
        return np.concatenate([stacked, np.zeros_like(stacked[:, :, :1])], axis=2)
    return stacked
