"""TIFF files: every image of its own that one holds, region by region."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gains.errors import InputError
from gains.images.options import ReadOptions
from gains.images.pixel_size import tiff_pixel_size
from gains.images.raster import Raster, planes_of, stack_rasters
from gains.images.series import copies_and_others, images_of, is_marked
from gains.images.tiff_regions import OpenTiff, TiffRegions, damaged

TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
ORIENTATION = 274


def tiff_rasters(source: Path | bytes, name: str, options: ReadOptions) -> list[Raster]:
    """The images of a TIFF file: of each series that is an image of its own every plane.

    Of a pyramid the full resolution is read. Thumbnails, labels, smaller copies and images of another kind than the
    largest are left out, and noted.

    Args:
        source: path of the file, or its bytes.
        name: what errors and notes call it.
        options: see :class:`ReadOptions`.

    Raises:
        InputError: if the file is damaged, of a kind that is not read, or its channels do not fit.
    """
    opened, series = _open(source, name)
    marked = sum(map(is_marked, opened.file.series))
    if marked and not is_marked(series[0]):
        options.notes.add(name, f"{marked} thumbnails, labels, masks or smaller copies, marked as such, are left out")
    with _quiet():
        stacks = [TiffRegions(opened, each, name, options) for each in series]
        kinds = [f"{stack.lengths['S'] * stack.lengths.get('C', 1)} x {stack.dtype.name}" for stack in stacks]
        left_out = copies_and_others(stacks, kinds)
        for position, reason in left_out.items():
            height, width = stacks[position].size
            options.notes.add(name, f"image {position + 1} of {len(stacks)} ({height}x{width}) left out: {reason}")
        rasters: list[Raster] = []
        page = 1
        for position, stack in enumerate(stacks):
            if position not in left_out:
                stack.pixel_size_um = tiff_pixel_size(opened.file, series[position])
                rasters += stack_rasters(stack, options, page)
                page += stack.planes
        _note_orientation(series[0].keyframe, name, options)
        _note_imagej(opened.file, stacks, name, options)
        if rasters:
            # The last pixel tells of a file that ends early, or claims a size it has not, before the work begins.
            height, width = rasters[-1].size
            rasters[-1].read((width - 1, height - 1, width, height))
    return rasters


def tiff_labels(source: Path | bytes, name: str, options: ReadOptions) -> Iterator[tuple[npt.NDArray[Any], str]]:
    """The planes of a file of label images one by one, values as stored, whatever colours they stand for.

    Yields:
        A plane ``(H, W)``, or ``(H, W, samples)`` where it has several; and the letters of the longer axes of its
        stack that mean something, as ``T`` and ``Z`` do and those of mere pages do not.

    Raises:
        InputError: if the file is damaged, or lacks data of a plane.
    """
    opened, series = _open(source, name)
    for each in series:
        stack = TiffRegions(opened, each, name, options, raw=True)
        axes = "".join(axis for axis, length in stack.lengths.items() if length > 1 and axis not in "SIQ")
        height, width = stack.size
        for plane in planes_of(stack):
            with _quiet():
                if stack.is_missing(plane):
                    raise InputError(f"{name} is a damaged TIFF file: it has no data of its pixels")
                pixels = stack.read(plane, (0, 0, width, height))
            yield pixels[:, :, 0] if pixels.shape[2] == 1 else pixels, axes


def _open(source: Path | bytes, name: str) -> tuple[OpenTiff, list[Any]]:
    """An open file and the series that are images."""
    with _quiet():
        try:
            opened = OpenTiff(source)
            try:
                series = images_of(opened.file.series)
            except RuntimeError:  # some pages differ, but not those that tifffile looked at to call them uniform
                opened = OpenTiff(source, is_uniform=False)
                series = images_of(opened.file.series)
        # tifffile raises whatever a damaged byte leads to.
        except Exception as error:
            raise damaged(name, error) from None
    if not series:
        raise InputError(f"{name} is a damaged TIFF file: it holds no image")
    return opened, series


def _note_orientation(page: Any, name: str, options: ReadOptions) -> None:
    value = page.tags.valueof(ORIENTATION, 1)
    if value != 1:
        options.notes.add(name, f"read as stored, its TIFF orientation {value} not applied, as in Fiji and QuPath")


def _note_imagej(file: Any, stacks: list[TiffRegions], name: str, options: ReadOptions) -> None:
    """ImageJ says first how many planes follow; a recording that was broken off has fewer."""
    said = (file.imagej_metadata or {}).get("images", 0) if file.is_imagej else 0
    found = sum(stack.planes * stack.lengths.get("C", 1) for stack in stacks)
    if isinstance(said, int) and said > found:
        options.notes.add(name, f"{said - found} of {said} planes are missing: the file ends before them")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without tifffile's log: what matters of it is noted or refused here, with the name of the file."""
    log = logging.getLogger("tifffile")
    before, log.disabled = log.disabled, True
    try:
        with np.errstate(all="ignore"):
            yield
    finally:
        log.disabled = before
