"""EXIF orientation: cameras store rows as the sensor lies, and every viewer and annotation tool turns them upright."""

import struct
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image

UPRIGHT = 1


def orientation_of(exif: Image.Exif) -> int:
    """The orientation 1 to 8 that EXIF data give; 1 (as stored) if they give none or nonsense."""
    value = exif.get(ExifTags.Base.Orientation)
    return value if isinstance(value, int) and 1 <= value <= 8 else UPRIGHT


def png_orientation(data: bytes) -> int:
    """As :func:`orientation_of`, from the ``eXIf`` chunk of a PNG file, wherever it lies."""
    position = 8
    while position + 12 <= len(data):
        (length,) = struct.unpack(">I", data[position : position + 4])
        if data[position + 4 : position + 8] == b"eXIf":
            exif = Image.Exif()
            try:
                exif.load(data[position + 8 : position + 8 + length])
                return orientation_of(exif)
            except (SyntaxError, ValueError, KeyError, struct.error):
                return UPRIGHT
        position += 12 + length
    return UPRIGHT


def upright(pixels: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """Turn ``(H, W)`` or ``(H, W, C)`` as the orientation says; from 5 on height and width change places."""
    if orientation >= 5:
        pixels = np.swapaxes(pixels, 0, 1)
    # What remains once rows and columns have changed places: mirrored columns, mirrored rows.
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels
