"""Images read region by region, so that memory follows the tile and not the image."""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from gains.errors import InputError
from gains.images.channels import choose_channels, gray_or_rgb
from gains.images.options import ReadOptions
from gains.rle import Box

ABSURD_SIDE = 8
"""Pixels: a stack of more planes than this, whose shorter side is no longer, is an array saved the wrong way round."""


class Raster(Protocol):
    """One two-dimensional image.

    Attributes:
        name: what an error calls it.
        size: height and width in pixels.
        page: its number in its file, from 1; planes that are missing there are counted.
        position: its index along each axis of its file but rows and columns, by letter: T, Z, ...; C is among them
            where channels are planes of their own.
        pixel_size_um: side of a pixel in micrometres; None where the file does not say.
    """

    name: str
    size: tuple[int, int]
    page: int
    position: dict[str, int]
    pixel_size_um: float | None

    def read(self, box: Box) -> npt.NDArray[Any]:
        """Pixels ``(h, w)`` or ``(h, w, 3)`` of a box, as stored."""


class Stack(Protocol):
    """Planes of one size in a file.

    Attributes:
        name: what an error calls it.
        size: height and width in pixels.
        lengths: of the other axes, by letter: S (samples of a pixel), C (channels), T, Z, I or Q (pages), ...
        is_rgb: whether the first three samples are red, green and blue.
        pixel_size_um: see :class:`Raster`.
    """

    name: str
    size: tuple[int, int]
    lengths: dict[str, int]
    is_rgb: bool
    pixel_size_um: float | None

    def read(self, plane: dict[str, int], box: Box) -> npt.NDArray[Any]:
        """Pixels ``(h, w, samples)`` of a box of the plane with these indices along the axes other than S."""

    def is_missing(self, plane: dict[str, int]) -> bool:
        """Whether the file names a plane, but has no data of it."""

    def is_elsewhere(self, plane: dict[str, int]) -> bool:
        """Whether a plane lies in another file of a set, with which it is read."""


class ArrayRaster:
    """An image that is in memory already.

    Args:
        pixels: ``(H, W)`` gray, ``(H, W, 3)`` RGB or ``(H, W, 4)`` RGBA, whose alpha is dropped; any integer, bool or
            float type.

    Raises:
        InputError: for another shape or type, or an image without pixels.
    """

    def __init__(self, pixels: npt.NDArray[Any], name: str = "image", page: int = 1) -> None:
        if pixels.ndim == 3 and pixels.shape[2] == 1:
            pixels = pixels[:, :, 0]
        if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (3, 4)):
            raise InputError(f"{name} has shape {pixels.shape}; an image is (H, W), (H, W, 3) or (H, W, 4)")
        if pixels.size == 0:
            raise InputError(f"{name} has shape {pixels.shape}: no pixels")
        if pixels.dtype.kind not in "buif":
            raise InputError(f"{name} has {pixels.dtype} pixels; use integers or floats")
        self.name = name
        self.page = page
        self.position: dict[str, int] = {}
        self.pixel_size_um: float | None = None
        self.pixels = pixels[:, :, :3] if pixels.ndim == 3 else pixels
        self.size = (int(pixels.shape[0]), int(pixels.shape[1]))

    def read(self, box: Box) -> npt.NDArray[Any]:
        """Pixels of a box, a view."""
        x0, y0, x1, y1 = box
        return self.pixels[y0:y1, x0:x1]


class ArrayStack:
    """A stack that is in memory already.

    Args:
        pixels: any integer or float type.
        axes: a letter for each of its axes, Y and X among them.
        name: what an error calls it.
        pixel_size_um: see :class:`Raster`.
    """

    is_rgb = False

    def __init__(self, pixels: npt.NDArray[Any], axes: str, name: str, pixel_size_um: float | None = None) -> None:
        self.pixel_size_um = pixel_size_um
        rest = [axis for axis in axes if axis not in "YX"]
        order = [axes.index(axis) for axis in [*rest, "Y", "X"]]
        self.pixels = pixels.transpose(order)
        self.name = name
        self.lengths = dict(zip(rest, self.pixels.shape, strict=False))
        self.size = (int(self.pixels.shape[-2]), int(self.pixels.shape[-1]))

    def read(self, plane: dict[str, int], box: Box) -> npt.NDArray[Any]:
        """Pixels of a box, a view."""
        x0, y0, x1, y1 = box
        chosen = self.pixels[tuple(plane.get(axis, slice(None)) for axis in self.lengths)][..., y0:y1, x0:x1]
        return np.moveaxis(chosen, 0, -1) if chosen.ndim == 3 else chosen[:, :, None]

    def is_missing(self, plane: dict[str, int]) -> bool:
        """Nothing is."""
        return False

    def is_elsewhere(self, plane: dict[str, int]) -> bool:
        """All is here."""
        return False


class PlaneRaster:
    """One plane of a stack, whose channels are picked and read only where asked for.

    Args:
        stack: the open file.
        plane: index along each axis but those of rows, columns and channels.
        axis: letter of the channel axis; None if there is none.
        channels: which channels, one (gray) to three (RGB).
        page: see :class:`Raster`.
    """

    def __init__(
        self, stack: Stack, plane: dict[str, int], axis: str | None, channels: Sequence[int], page: int
    ) -> None:
        self.stack = stack
        self.plane = plane
        self.axis = axis
        self.channels = list(channels)
        self.name = stack.name
        self.size = stack.size
        self.page = page
        self.position = self.planes()[0]
        self.pixel_size_um = stack.pixel_size_um

    def read(self, box: Box) -> npt.NDArray[Any]:
        """Pixels of a box; with two channels the third is 0."""
        if self.axis in (None, "S"):
            return gray_or_rgb(self.stack.read(self.plane, box)[:, :, self.channels])
        return gray_or_rgb(np.concatenate([self.stack.read(plane, box) for plane in self.planes()], axis=2))

    def planes(self) -> list[dict[str, int]]:
        """Indices of the planes that its channels lie in."""
        if self.axis is None or self.axis == "S":
            return [self.plane]
        return [{**self.plane, self.axis: index} for index in self.channels]


def stack_rasters(stack: Stack, options: ReadOptions, first_page: int = 1) -> list[Raster]:
    """The planes of a stack, each an image with its channels; those that are missing are noted.

    Args:
        stack: an open file.
        options: say which channels, and get a note about planes that are missing.
        first_page: number of the first plane.

    Raises:
        InputError: if the choice of channels does not fit, or the planes have no sensible shape.
    """
    axis = _channel_axis(stack, options.channels)
    count = stack.lengths[axis] if axis else 1
    _check_shape(stack)
    picked = choose_channels(options, count, stack.is_rgb and axis == "S", stack.name)
    rasters: list[Raster] = []
    absent: list[int] = []
    for page, plane in enumerate(planes_of(stack, without=axis), first_page):
        raster = PlaneRaster(stack, plane, axis, picked, page)
        if any(map(stack.is_missing, raster.planes())):
            absent.append(page)
        elif not stack.is_elsewhere(raster.planes()[0]):
            rasters.append(raster)
    if absent:
        numbers = ", ".join(map(str, absent[:10])) + (", ..." if len(absent) > 10 else "")
        if not rasters:
            raise InputError(f"{stack.name} has no data of the planes it names; copy all files of its set")
        total = len(rasters) + len(absent)
        options.notes.add(stack.name, f"{len(absent)} of {total} planes are missing and left out ({numbers})")
    return rasters


def numbered_rasters(stacks: Sequence[Stack], options: ReadOptions) -> list[Raster]:
    """The planes of several stacks of a file, numbered through (see :func:`stack_rasters`)."""
    rasters: list[Raster] = []
    for stack in stacks:
        rasters += stack_rasters(stack, options, len(rasters) + 1)
    return rasters


def planes_of(stack: Stack, without: str | None = None) -> Iterator[dict[str, int]]:
    """Every combination of indices along the axes other than S, the axis ``without`` left out."""
    axes = [axis for axis in stack.lengths if axis not in ("S", without)]
    for indices in itertools.product(*(range(stack.lengths[axis]) for axis in axes)):
        yield dict(zip(axes, indices, strict=True))


def _channel_axis(stack: Stack, channels: Sequence[int] | None) -> str | None:
    """Samples or channels; pages of no known meaning become the channels where the user picks some."""
    samples, planes = stack.lengths.get("S", 1), stack.lengths.get("C", 1)
    if samples > 1 and planes > 1:
        raise InputError(f"{stack.name} has {planes} channels of {samples} colours each; save each channel as a file")
    for axis in "SC":
        if stack.lengths.get(axis, 1) > 1:
            return axis
    others = [axis for axis, length in stack.lengths.items() if length > 1]
    return others[0] if channels is not None and len(others) == 1 and others[0] in "IQ" else None


def _check_shape(stack: Stack) -> None:
    """Refuse rows and channels that took the places of pages and columns."""
    height, width = stack.size
    planes = math.prod(length for axis, length in stack.lengths.items() if axis not in "SC")
    if min(height, width) <= ABSURD_SIDE < planes:
        raise InputError(
            f"{stack.name} holds {planes} pages of {height}x{width} pixels: an array (rows, columns, channels) saved "
            "row by row; save it with the channels first, or as tifffile.imwrite(path, array, "
            "photometric='minisblack', planarconfig='contig')"
        )
