"""From the numbers in an image file to the [0, 1] that a network takes."""

from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

Intensity: TypeAlias = Literal["full_range", "percentile"]
PERCENTILES = (1.0, 99.8)


def value_range(pixels: npt.NDArray[Any], intensity: Intensity) -> tuple[float, float]:
    """The pixel values that become 0 and 1.

    Args:
        pixels: the image, or a sample of its pixels.
        intensity: ``full_range`` takes the range of the data type (float images are taken to lie in [0, 1]);
            ``percentile`` takes the 1st to 99.8th percentile of the finite values, for cameras that use part of their
            range.

    Raises:
        ValueError: for an unknown intensity.
    """
    if intensity not in get_args(Intensity):
        raise ValueError(f"intensity={intensity!r} is unknown; use 'full_range' or 'percentile'")
    if intensity == "percentile":
        finite = pixels[np.isfinite(pixels)]
        if len(finite) == 0:
            return 0.0, 1.0
        low, high = np.percentile(finite.astype(np.float32), PERCENTILES)
        return float(low), float(high)
    if np.issubdtype(pixels.dtype, np.integer):
        return 0.0, float(np.iinfo(pixels.dtype).max)
    return 0.0, 1.0


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
