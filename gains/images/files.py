"""Any image file, by one set of rules: what training prepares is what prediction sees."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
import tifffile

from gains.errors import InputError
from gains.files import replacing
from gains.images.channels import choose_channels, gray_or_rgb
from gains.images.intensity import dim_note, is_dim, known_values
from gains.images.limits import check_pixels
from gains.images.listing import VENDOR_SUFFIXES
from gains.images.options import ReadOptions
from gains.images.raster import ArrayRaster, Raster
from gains.images.still import TURNED, decode_indices, decode_still
from gains.images.tiff import TIFF_MAGIC, tiff_labels, tiff_rasters
from gains.images.vendor import vendor_rasters
from gains.images.zarr_store import zarr_rasters

MOST_LABEL = 2**63
PNG_LEVEL = 3  # takes 40 % of the time of the default 6 and writes 5 % more


def open_rasters(source: Path | bytes, options: ReadOptions | None = None, name: str | None = None) -> list[Raster]:
    """The images of a file: one, or each page (time point, plane of a stack, image of a series) of it.

    TIFF files and OME-Zarr stores are read tile by tile, strip by strip or memory-mapped; other formats can only be
    read whole. Of PNG, TIFF, JPEG, WebP and BMP the content decides, not the suffix.

    Args:
        source: path of a file or of an OME-Zarr folder, or the bytes of a file.
        options: channels and limits; what there is to say is added to its notes.
        name: what errors and notes call it; None takes the path.

    Raises:
        InputError: if the file is missing, damaged, too large or no image, or its channels do not fit.
    """
    options = options or ReadOptions()
    name = name or ("image" if isinstance(source, bytes) else str(source))
    if isinstance(source, Path) and source.is_dir():
        return zarr_rasters(source, name, options)
    if isinstance(source, Path) and source.suffix.lower() in VENDOR_SUFFIXES:
        return vendor_rasters(source, name, options)
    if _magic(source, name) in TIFF_MAGIC:
        return tiff_rasters(source, name, options)
    pixels = decode_still(_bytes(source, name), name, options)
    stacked = pixels[:, :, None] if pixels.ndim == 2 else pixels
    chosen = choose_channels(options, stacked.shape[2], stacked.shape[2] == 3, name)
    return [ArrayRaster(gray_or_rgb(stacked[:, :, chosen]), name)]


def read_image(
    source: str | Path | bytes, options: ReadOptions | None = None, name: str | None = None
) -> npt.NDArray[Any]:
    """The one image of a file, whole.

    Args:
        source: path of a file, or its bytes.
        options: channels, intensity and limits; what there is to say is added to its notes.
        name: what errors and notes call it; None takes the path.

    Returns:
        ``(H, W)`` or ``(H, W, 3)``; uint8, uint16 or float32 of values that the intensity can place.

    Raises:
        InputError: as :func:`open_rasters`, or if the file holds several images, or values that the intensity cannot
            place.
    """
    options = options or ReadOptions()
    source = Path(source) if isinstance(source, str) else source
    name = name or ("image" if isinstance(source, bytes) else str(source))
    rasters = open_rasters(source, options, name)
    if len(rasters) != 1:
        raise InputError(f"{name} holds {len(rasters)} images, as pages or planes of a stack; save each as one image")
    height, width = rasters[0].size
    check_pixels((height, width), options, name)
    pixels = rasters[0].read((0, 0, width, height))
    setting = options.setting("intensity")
    if not np.isfinite(pixels).any():
        raise InputError(f"{name} holds no finite pixel value; see what wrote it")
    if rasters[0].pixel_size_um is not None:
        options.pixel_sizes[name] = rasters[0].pixel_size_um
    values = known_values(pixels, options.intensity, name, setting)
    if values.dtype == np.uint16 and is_dim(float(values.max()), values.dtype, options.intensity):
        options.notes.add(name, dim_note(setting))
    return np.ascontiguousarray(values)


def check_size(
    size: Sequence[int], annotated: Sequence[int], name: str, owner: str, options: ReadOptions | None = None
) -> None:
    """See that an image has the size that its annotations say.

    Args:
        size: height and width, as read.
        annotated: height and width.
        name: of the image.
        owner: what the annotations are called.
        options: with which it was read; they know whether it was turned.

    Raises:
        InputError: if it has not.
    """
    if tuple(size[:2]) == tuple(annotated[:2]):
        return
    turned = options is not None and options.notes.has(name, TURNED)
    hint = ""
    if turned and tuple(size[:2]) == tuple(annotated[1::-1]):
        hint = "; it was annotated unturned, so take the EXIF orientation out of the file, or turn the annotations"
    raise InputError(
        f"{name} is {size[0]}x{size[1]} pixels{' once turned upright' if turned else ''}, but {owner} says "
        f"{annotated[0]}x{annotated[1]} (height x width){hint}"
    )


def decode_labels(source: Path | bytes, name: str, options: ReadOptions | None = None) -> npt.NDArray[Any]:
    """Decode a label image, whose pixel values are instance numbers; a palette image gives its indices.

    Args:
        source: path of a file, or its bytes.
        name: what errors call it.
        options: limit the number of pixels.

    Returns:
        ``(H, W)`` integers, 0 is background.

    Raises:
        InputError: as :func:`read_image`, or if it has channels, fractions or negative values.
    """
    planes = list(islice(decode_label_planes(source, name, options), 2))
    if len(planes) > 1:
        raise InputError(f"{name} holds several planes; save each as one label image")
    return planes[0][0]


def decode_label_planes(
    source: Path | bytes, name: str, options: ReadOptions | None = None
) -> Iterator[tuple[npt.NDArray[Any], str]]:
    """As :func:`decode_labels`, but of a stack every plane, each with the axes of its stack that mean something.

    Raises:
        InputError: as :func:`decode_labels`, but for a stack.
    """
    options = options or ReadOptions()
    if _magic(source, name) in TIFF_MAGIC:
        planes = tiff_labels(source, name, options)
    else:
        planes = iter([(decode_indices(_bytes(source, name), name, options), "")])
    for plane, axes in planes:
        if plane.ndim != 2:
            raise InputError(
                f"{name} has shape {plane.shape}; a label image has one channel of instance numbers, save it in gray"
            )
        yield instance_numbers(plane, name), axes


def instance_numbers(labels: npt.NDArray[Any], name: str) -> npt.NDArray[np.int64]:
    """The instance numbers of a label image, from any type that holds them.

    Raises:
        InputError: for fractions, values that are no numbers, negative and huge ones.
    """
    if labels.dtype.kind not in "buif":
        raise InputError(f"{name} has {labels.dtype} pixels; a label image holds whole instance numbers")
    if not np.issubdtype(labels.dtype, np.integer) and (labels % 1 != 0).any():
        raise InputError(f"{name} holds fractions; a label image holds whole instance numbers")
    if labels.min() < 0:
        raise InputError(f"{name} holds negative values; a label image holds instance numbers, 0 for background")
    if int(labels.max()) >= MOST_LABEL:
        raise InputError(f"{name} holds the value {labels.max()}; instance numbers are less than 2^63")
    return labels.astype(np.int64)


def write_image(path: Path, pixels: npt.NDArray[Any]) -> None:
    """Write ``.png`` (uint8, uint16) or ``.tif`` (any type), whole or not at all.

    Args:
        path: its suffix decides.
        pixels: ``(H, W)`` or ``(H, W, 3)``.

    Raises:
        ValueError: for another suffix, or float values in PNG.
    """
    with replacing(path) as partial:
        put_image(partial, path.suffix, pixels)


def put_image(path: Path, suffix: str, pixels: npt.NDArray[Any]) -> None:
    """Write the bytes of an image, whatever the file is called; what a killed process leaves may be half of them.

    Args:
        path: of the file.
        suffix: ``.png`` or ``.tif``, see :func:`write_image`.
        pixels: ``(H, W)`` or ``(H, W, 3)``.
    """
    if suffix == ".tif":
        photometric = "rgb" if pixels.ndim == 3 else "minisblack"
        tifffile.imwrite(path, pixels, photometric=photometric, compression="zlib", metadata=None)
    elif suffix == ".png" and pixels.dtype in (np.uint8, np.uint16):
        path.write_bytes(imagecodecs.png_encode(np.ascontiguousarray(pixels), level=PNG_LEVEL))
    else:
        raise ValueError(f"cannot write {pixels.dtype} pixels as {suffix}; use .png for uint8 and uint16, else .tif")


def _magic(source: Path | bytes, name: str) -> bytes:
    """The first four bytes."""
    if isinstance(source, bytes):
        head = source[:4]
    else:
        try:
            with source.open("rb") as file:
                head = file.read(4)
        except OSError as error:
            raise InputError(f"{name} cannot be read: {error.strerror}") from None
    if not head:
        raise InputError(f"{name} is empty (0 bytes); copy or download it again")
    return head


def _bytes(source: Path | bytes, name: str) -> bytes:
    if isinstance(source, bytes):
        return source
    try:
        return source.read_bytes()
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror}") from None
