"""OME-Zarr (NGFF 0.1 to 0.5): images, collections of images and plates, chunk by chunk."""

import string
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gains.errors import InputError
from gains.images.limits import check_pixels
from gains.images.options import ReadOptions
from gains.images.pixel_size import ngff_pixel_size
from gains.images.raster import Raster, numbered_rasters
from gains.rle import Box

try:
    import zarr
except ImportError:  # an extra, as it brings 40 MB of codecs
    zarr = None

DEFAULT_AXES = ("t", "c", "z", "y", "x")
"""Of the versions that did not write them down."""

LETTERS = {"time": "T", "channel": "C"}
"""By the type of an axis, which counts more than its name."""


def zarr_rasters(path: Path, name: str, options: ReadOptions) -> list[Raster]:
    """The images of a store, each with its planes; of a pyramid the full resolution.

    Label images that lie beside an image in a store are no images.

    Args:
        path: folder of the store.
        name: what errors and notes call it.
        options: see :class:`ReadOptions`.

    Raises:
        InputError: if zarr is not installed, the folder is no OME-Zarr or damaged, or its channels do not fit.
    """
    if zarr is None:
        raise InputError(f"{name} is a Zarr store; to read it: pip install 'gains[zarr]'")
    try:
        stacks = [ZarrStack(group, scales, name, options) for group, scales in _images(_open(path), name)]
    except InputError:
        raise
    # zarr raises whatever a damaged byte leads to.
    except Exception as error:
        raise _damaged(name, error) from None
    return numbered_rasters(stacks, options)


class ZarrStack:
    """One image of a store, a :class:`gains.images.raster.Stack`.

    Args:
        group: of zarr, that holds the image.
        scales: its entry of ``multiscales``.
        name: of the store, for errors.
        options: limit the size of a chunk.
    """

    is_rgb = False

    def __init__(self, group: Any, scales: Mapping[str, Any], name: str, options: ReadOptions) -> None:
        self.name = name
        self._array = group[str(scales["datasets"][0]["path"])]
        self._axes = _letters(scales.get("axes") or DEFAULT_AXES)
        lengths = dict(zip(self._axes, self._array.shape, strict=True))
        if not {"Y", "X"} <= lengths.keys() or 0 in self._array.shape:
            raise InputError(f"{name} has pixels of shape {self._array.shape} ({self._axes}), without rows and columns")
        if self._array.dtype.kind not in "buif":
            raise InputError(f"{name} has {self._array.dtype} pixels; use integers or floats")
        check_pixels(self._array.chunks, options, name)
        self.size = (int(lengths["Y"]), int(lengths["X"]))
        self.pixel_size_um = ngff_pixel_size(scales, self._axes)
        self.lengths = {axis: int(length) for axis, length in lengths.items() if axis not in "YX"}

    def read(self, plane: dict[str, int], box: Box) -> npt.NDArray[Any]:
        """Pixels ``(h, w, 1)`` of a box, from the chunks that it touches.

        Raises:
            InputError: if one of them is damaged.
        """
        x0, y0, x1, y1 = box
        spans: dict[str, slice | int] = {**plane, "Y": slice(y0, y1), "X": slice(x0, x1)}
        try:
            pixels = np.asarray(self._array[tuple(spans[axis] for axis in self._axes)])
        except Exception as error:
            raise _damaged(self.name, error) from None
        return (pixels if self._axes.index("Y") < self._axes.index("X") else pixels.T)[:, :, None]

    def is_missing(self, plane: dict[str, int]) -> bool:
        """Never: a chunk that is not there is one of the fill value."""
        return False

    def is_elsewhere(self, plane: dict[str, int]) -> bool:
        """All is here."""
        return False


def _open(path: Path) -> Any:
    if not path.exists():
        raise InputError(f"{path} cannot be read: no such folder")
    return zarr.open_group(str(path), mode="r")


def _images(group: Any, name: str) -> Iterator[tuple[Any, Mapping[str, Any]]]:
    """Every image below a group: its own, those of a collection as Bio-Formats writes it, those of a plate."""
    ome = _ome(group)
    if "multiscales" in ome:
        yield group, ome["multiscales"][0]
    elif "plate" in ome:
        for well in ome["plate"]["wells"]:
            for image in _ome(group[well["path"]])["well"]["images"]:
                yield from _images(group[f"{well['path']}/{image['path']}"], name)
    elif "bioformats2raw.layout" in ome:
        listed = _ome(group["OME"]).get("series") if "OME" in group else None
        numbered = sorted((key for key in group.group_keys() if key.isdecimal()), key=int)
        for key in listed or numbered:
            yield from _images(group[key], name)
    else:
        raise InputError(f"{name} has no multiscales entry: it is no OME-Zarr image, but another kind of Zarr store")


def _ome(group: Any) -> dict[str, Any]:
    """The metadata, which lie one level deeper from version 0.5 on."""
    attributes = group.attrs.asdict()
    deeper = attributes.get("ome", attributes)
    return deeper if isinstance(deeper, dict) else attributes


def _letters(axes: Any) -> str:
    """A letter for each axis: Y, X, C, T, Z, or one of the others for whatever else there is."""
    letters = ""
    for axis in axes:
        entry = axis if isinstance(axis, Mapping) else {"name": axis}
        letter = LETTERS.get(str(entry.get("type")), str(entry["name"]).upper())
        if len(letter) != 1 or letter in letters or letter == "S":
            letter = next(other for other in string.ascii_uppercase if other not in letters + "CIQSTXYZ")
        letters += letter
    return letters


def _damaged(name: str, error: Exception) -> InputError:
    text = " ".join(str(error).split()) or type(error).__name__
    return InputError(f"{name} is a damaged Zarr store, or not one: {text[:200]}")
