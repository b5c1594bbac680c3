"""From the numbers in an image file to the [0, 1] that a network takes: one rule for every command."""

from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from gains.errors import InputError

Intensity: TypeAlias = Literal["full_range", "percentile"]
PERCENTILES = (1.0, 99.8)

TOLERANCE = 0.01
"""How far beyond [0, 1] floats may lie: resampling leaves such values."""

DIM = 0.4
"""A 16-bit image whose brightest pixel is below this share of the range is worth a remark."""


def check_intensity(intensity: str, setting: str = "intensity") -> None:
    """Refuse an unknown intensity.

    Raises:
        InputError: if it is one.
    """
    if intensity not in get_args(Intensity):
        raise InputError(f"{setting}={intensity} is unknown; use full_range or percentile")


def known_values(
    pixels: npt.NDArray[Any], intensity: Intensity, name: str, setting: str = "intensity"
) -> npt.NDArray[Any]:
    """Pixels in one of the three types that the application knows, their values unchanged.

    Bits become 0 and 255. Signed integers without negative values are the unsigned ones of their width; wider integers
    that fit into 16 bits are a 16-bit image in a larger container; floats lie in [0, 1]. With ``percentile`` any other
    values are floats of any range.

    Args:
        pixels: any shape; bool, integer or float.
        intensity: as in :func:`value_range`.
        name: of the image, for the error.
        setting: name of the setting that chooses the intensity.

    Returns:
        The same shape; uint8, uint16 or float32 in the machine's byte order.

    Raises:
        InputError: for values that ``full_range`` cannot place, instead of a white or a black image.
    """
    if pixels.dtype == np.bool_:
        return pixels.astype(np.uint8) * np.uint8(255)
    if pixels.dtype.kind == "u" and pixels.dtype.itemsize <= 2:
        return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    if pixels.dtype.kind not in "iuf":
        raise InputError(f"{name} has {pixels.dtype} pixels; use integers or floats")
    finite = pixels[np.isfinite(pixels)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    if pixels.dtype.kind in "iu" and low >= 0:
        if pixels.dtype.itemsize == 1:
            return pixels.astype(np.uint8)
        if high <= np.iinfo(np.uint16).max:
            return pixels.astype(np.uint16)
    within = pixels.dtype.kind == "f" and low >= -TOLERANCE and high <= 1 + TOLERANCE
    if not within and intensity != "percentile":
        expected = "0 to 1" if pixels.dtype.kind == "f" else "0 to 65535"
        raise InputError(
            f"{name} has {pixels.dtype.name} pixels from {low:g} to {high:g}, expected {expected}; scale them by "
            f"{setting}=percentile, or save the image with 8 or 16 bits"
        )
    with np.errstate(over="ignore"):
        return pixels.astype(np.float32)


def value_range(pixels: npt.NDArray[Any], intensity: Intensity) -> tuple[float, float]:
    """The pixel values that become 0 and 1.

    Args:
        pixels: the image, or a sample of its pixels, of a type that :func:`known_values` gives.
        intensity: ``full_range`` takes the range of the data type (float images lie in [0, 1]);
            ``percentile`` takes the 1st to 99.8th percentile of the finite values, for cameras that use part of their
            range.

    Raises:
        InputError: for an unknown intensity.
    """
    check_intensity(intensity)
    if intensity == "percentile":
        finite = pixels[np.isfinite(pixels)]
        if len(finite) == 0:
            return 0.0, 1.0
        low, high = np.percentile(finite.astype(np.float32), PERCENTILES)
        return float(low), float(high)
    if np.issubdtype(pixels.dtype, np.integer):
        return 0.0, float(np.iinfo(pixels.dtype).max)
    return 0.0, 1.0


def is_dim(brightest: float, dtype: np.dtype[Any], intensity: Intensity) -> bool:
    """Whether an image uses so little of its 16 bits that ``full_range`` shows a network next to nothing."""
    return intensity == "full_range" and dtype == np.uint16 and 0 < brightest < DIM * np.iinfo(np.uint16).max


def dim_note(setting: str = "intensity") -> str:
    """What to say about images that are dim."""
    return (
        f"uses less than {DIM:.0%} of its 16 bits and looks dark to the network; "
        f"{setting}=percentile scales each image to what it uses"
    )


def to_unit_rgb(pixels: npt.NDArray[Any], limits: tuple[float, float]) -> npt.NDArray[np.float32]:
    """Scale and clip ``(H, W)`` or ``(H, W, 3)`` to RGB float32 ``(H, W, 3)`` in [0, 1]; NaN becomes 0.

    Args:
        pixels: of any type.
        limits: the values that become 0 and 1, see :func:`value_range`.
    """
    low, high = limits
    values = pixels.astype(np.float32)
    if low:
        values -= np.float32(low)
    values /= np.float32(max(high - low, 1e-6))
    values = np.nan_to_num(values).clip(0, 1)
    return np.repeat(values[:, :, None], 3, axis=2) if values.ndim == 2 else values


def to_shown(pixels: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Any image as people are shown it: RGB uint8 ``(H, W, 3)``, contrast by percentiles.

    An 8-bit image stays as it is, unless it is so dim that little would be seen. What other types use of their range
    varies too much.
    """
    limits = value_range(pixels, "percentile")
    if pixels.dtype == np.uint8 and limits[1] >= DIM * 255:
        limits = (0.0, 255.0)
    shown: npt.NDArray[np.uint8] = (to_unit_rgb(pixels, limits) * 255).round().astype(np.uint8)
    return shown
