"""PNG, JPEG, WebP and BMP, each by the library that is strict about it: read whole, upright, without alpha."""

import io
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from gains.errors import InputError
from gains.images.limits import check_pixels
from gains.images.options import ReadOptions
from gains.images.orientation import UPRIGHT, orientation_of, png_orientation, upright

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
PNG_PALETTE = b"\x03"  # the colour type, stored in byte 25
PILLOW_FORMATS = ("JPEG", "BMP", "WEBP")
TURNED = "turned upright as its EXIF orientation says, like in viewers and annotation tools"
READABLE = "PNG, TIFF, JPEG, WebP or BMP"


def decode_still(data: bytes, name: str, options: ReadOptions) -> npt.NDArray[Any]:
    """An image as viewers show it, ``(H, W)`` or ``(H, W, 3)``.

    Palettes and CMYK become RGB, alpha is dropped, fewer than 8 bits are spread over the range of 8. The EXIF
    orientation is applied, and noted.

    Args:
        data: bytes of the file.
        name: what errors and notes call it.
        options: limit the number of pixels; channels are not chosen here.

    Raises:
        InputError: if it is damaged, too large, or no image.
    """
    pixels, orientation = _png(data, name, options) if data.startswith(PNG_MAGIC) else _pillow(data, name, options)
    if orientation != UPRIGHT:
        pixels = upright(pixels, orientation)
        options.notes.add(name, TURNED)
    if pixels.ndim == 3:
        # Two channels are gray and alpha, four are RGB and alpha.
        pixels = pixels[:, :, 0] if pixels.shape[2] <= 2 else pixels[:, :, :3]
    return pixels


def decode_indices(data: bytes, name: str, options: ReadOptions) -> npt.NDArray[Any]:
    """As :func:`decode_still`, but a palette PNG gives its indices: in label images they are the numbers."""
    if not (data.startswith(PNG_MAGIC) and data[25:26] == PNG_PALETTE):
        pixels, orientation = _png(data, name, options) if data.startswith(PNG_MAGIC) else _pillow(data, name, options)
    else:
        pixels, orientation = _pillow(data, name, options, formats=("PNG",))
    return upright(pixels, orientation)


def _png(data: bytes, name: str, options: ReadOptions) -> tuple[npt.NDArray[Any], int]:
    """Pixels as stored, and their orientation."""
    if len(data) < 33:
        raise InputError(f"{name} is a damaged PNG file: it ends in its header")
    width, height = struct.unpack(">II", data[16:24])
    check_pixels((height, width), options, name)
    try:
        return imagecodecs.png_decode(data), png_orientation(data)
    except (imagecodecs.PngError, ValueError, RuntimeError, MemoryError) as error:
        raise InputError(f"{name} is a damaged PNG file: {error}") from None


def _pillow(
    data: bytes, name: str, options: ReadOptions, formats: tuple[str, ...] = PILLOW_FORMATS
) -> tuple[npt.NDArray[Any], int]:
    """Pixels as stored, and their orientation. Pillow refuses cut-off files, where others return grey stripes."""
    try:
        with _unlimited(), Image.open(io.BytesIO(data), formats=formats) as image:
            check_pixels((image.height, image.width), options, name)
            frames = getattr(image, "n_frames", 1)
            if frames > 1 and image.format != "MPO":
                raise InputError(f"{name} is an animation of {frames} frames; save each as one image")
            orientation = orientation_of(image.getexif())
            if image.mode == "CMYK" or (image.mode == "P" and image.format != "PNG"):
                return np.asarray(image.convert("RGB")), orientation
            return np.asarray(image), orientation
    except UnidentifiedImageError:
        raise InputError(f"{name} is not an image file that is read; use {READABLE}") from None
    except InputError:
        raise
    # Pillow's plugins raise whatever a damaged byte leads to.
    except Exception as error:
        raise InputError(f"{name} is a damaged image file: {error}") from None


@contextmanager
def _unlimited() -> Iterator[None]:
    """Pillow's own limit off: ours is checked before a pixel is decoded, and can be raised."""
    limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit
