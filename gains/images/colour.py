"""Colour models of TIFF files: from stored samples to the gray or RGB that other programs show."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gains.errors import InputError

Pixels = npt.NDArray[Any]
Convert = Callable[[Pixels], Pixels]

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, MASK, CMYK, YCBCR, CIELAB, ICCLAB = 0, 1, 2, 3, 4, 5, 6, 8, 9
JPEG_KINDS = (6, 7, 34892, 33007)
"""TIFF compressions whose decoder gives RGB already."""

CMYK_INKS = 1
D50 = (0.96422, 1.0, 0.82521)
"""White of the Lab that TIFF files hold."""

LAB_DELTA = 6 / 29

D50_TO_SRGB = np.array(
    [[3.1338561, -1.6168667, -0.4906146], [-0.9787684, 1.9161415, 0.0334540], [0.0719453, -0.2289914, 1.4052427]]
)
"""XYZ under D50 to linear sRGB (whose own white is D65), adapted after Bradford."""

YCBCR_WEIGHTS = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Colour:
    """What the samples of a pixel become.

    Attributes:
        samples: how many there are then, alpha left out.
        is_rgb: whether the first three are red, green and blue.
        convert: stored ``(h, w, s)`` to ``(h, w, samples)``; None leaves them.
    """

    samples: int
    is_rgb: bool
    convert: Convert | None = None


def colour_of(page: Any, name: str) -> Colour:
    """The colour model of a page of a TIFF file.

    Args:
        page: of tifffile.
        name: of the file, for the error.

    Raises:
        InputError: for a model without known colours, or one whose samples are not as they have to be.
    """
    model, count = int(page.photometric), int(page.samplesperpixel)
    bits, unsigned = int(page.bitspersample), page.dtype is not None and page.dtype.kind in "bu"
    shown = _without_alpha(count, [int(kind) for kind in page.extrasamples])
    if not shown or (bits < 8 and int(page.predictor) != 1):
        model = -1  # no colour left, or differences of values that no program writes
    if model == YCBCR and int(page.compression) in JPEG_KINDS:
        model = RGB
    if model in (BLACK_IS_ZERO, MASK):
        return Colour(len(shown), False, _then(_picked(shown, count), _spread(bits)))
    if model == RGB and len(shown) >= 3:
        # What is called alpha may be a fourth channel, as some programs write it: it stays, to be chosen or left out.
        return Colour(count, True, _spread(bits))
    if model == WHITE_IS_ZERO and unsigned:
        inverted = _then(_picked(shown, count), lambda pixels: _inverted(pixels, bits))
        return Colour(len(shown), False, _then(inverted, _spread(bits)))
    if model == PALETTE and unsigned and count == 1 and bits in (1, 2, 4, 8, 16) and _is_table(page.colormap, bits):
        table = _palette(page.colormap)
        return Colour(3, True, lambda pixels: table[pixels[:, :, 0].astype(np.int64)])
    if bits in (8, 16) and unsigned:
        if model == CMYK and len(shown) == 4 and int(page.tags.valueof("InkSet", CMYK_INKS)) == CMYK_INKS:
            return Colour(3, True, _cmyk)
        if model == YCBCR and count == 3 and int(page.compression) not in (33003, 33004, 33005, 34712):
            weights = _weights(page.tags.valueof("YCbCrCoefficients", None))
            return Colour(3, True, lambda pixels: _ycbcr(pixels, weights))
        if model in (CIELAB, ICCLAB) and count == 3:
            return Colour(3, True, lambda pixels: _lab(pixels, signed=model == CIELAB))
    label = getattr(page.photometric, "name", page.photometric)
    raise InputError(
        f"{name} has the colour model {label} with {count} samples of {bits} bits, which is not read; "
        "save it as gray or RGB"
    )


def _without_alpha(count: int, extra: Sequence[int]) -> list[int]:
    """Samples that are not alpha (1 and 2 among the kinds of extra samples, which come last)."""
    first = count - len(extra)
    return [index for index in range(count) if index < first or extra[index - first] not in (1, 2)]


def _picked(shown: list[int], count: int) -> Convert | None:
    return None if len(shown) == count else lambda pixels: pixels[:, :, shown]


def _spread(bits: int) -> Convert | None:
    """Two and four bits over the range of eight, as other readers do; single bits are bool, and stay."""
    return None if bits not in (2, 4) else lambda pixels: (pixels * (255 // (2**bits - 1))).astype(np.uint8)


def _then(first: Convert | None, second: Convert | None) -> Convert | None:
    if first is None or second is None:
        return first or second
    return lambda pixels: second(first(pixels))


def _inverted(pixels: Pixels, bits: int) -> Pixels:
    return ~pixels if pixels.dtype == np.bool_ else (2**bits - 1 - pixels.astype(np.int64)).astype(pixels.dtype)


def _is_table(colormap: Any, bits: int) -> bool:
    return isinstance(colormap, np.ndarray) and colormap.dtype == np.uint16 and colormap.shape == (3, 2**bits)


def _palette(colormap: Pixels) -> Pixels:
    """``(n, 3)`` uint8; the 16 bits of the file's table, unless its writer put 8 into them."""
    table = np.asarray(colormap).T
    return (table if table.max() < 256 else table >> 8).astype(np.uint8)


def _rounded(values: Pixels, dtype: np.dtype[Any]) -> Pixels:
    rounded: Pixels = np.rint(values).astype(dtype)
    return rounded


def _cmyk(pixels: Pixels) -> Pixels:
    """Ink subtracted from white, as Pillow and libtiff do without a colour profile."""
    top = np.iinfo(pixels.dtype).max
    left = top - pixels[:, :, :4].astype(np.float64)
    return _rounded(left[:, :, :3] * left[:, :, 3:] / top, pixels.dtype)


def _weights(stored: Any) -> tuple[float, float, float]:
    """Weights of red, green and blue in the luma, given as three fractions."""
    if stored is None or len(stored) != 6 or not all(stored[1::2]):
        return YCBCR_WEIGHTS
    red, green, blue = (stored[index] / stored[index + 1] for index in (0, 2, 4))
    return (red, green, blue) if green else YCBCR_WEIGHTS


def _ycbcr(pixels: Pixels, weights: tuple[float, float, float]) -> Pixels:
    red_weight, green_weight, blue_weight = weights
    top = np.iinfo(pixels.dtype).max
    values = pixels.astype(np.float64)
    luma, blue, red = values[:, :, 0], values[:, :, 1] - (top + 1) // 2, values[:, :, 2] - (top + 1) // 2
    red = luma + (2 - 2 * red_weight) * red
    blue = luma + (2 - 2 * blue_weight) * blue
    green = (luma - red_weight * red - blue_weight * blue) / green_weight
    return _rounded(np.stack([red, green, blue], axis=2).clip(0, top), pixels.dtype)


def _lab(pixels: Pixels, signed: bool) -> Pixels:
    """L as 0 to 100 over the whole range; a and b as signed bytes (with a fraction in 16 bits), or shifted by 128."""
    wide = pixels.dtype.itemsize == 2
    top = np.iinfo(pixels.dtype).max
    chroma = pixels[:, :, 1:]
    if signed:
        opponent = chroma.astype(pixels.dtype.newbyteorder("=")).view(np.int16 if wide else np.int8).astype(np.float64)
    else:
        opponent = chroma.astype(np.float64) - (top + 1) // 2
    opponent /= 256 if wide else 1
    lightness = (pixels[:, :, 0] / top * 100 + 16) / 116
    steps = np.stack([lightness + opponent[:, :, 0] / 500, lightness, lightness - opponent[:, :, 1] / 200], axis=2)
    xyz = np.where(steps > LAB_DELTA, steps**3, 3 * LAB_DELTA**2 * (steps - 4 / 29)) * D50
    linear = (xyz @ D50_TO_SRGB.T).clip(0, 1)
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return _rounded(srgb * top, pixels.dtype)
