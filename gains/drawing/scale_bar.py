"""A scale bar, so that a picture says how large things are."""

import math

import numpy as np
from PIL import Image, ImageDraw

from gains.drawing import Picture, font_of

SHARE = 0.25
"""Of the width of a picture, which the bar is not to exceed."""
SMALLEST = 120
"""Pixels: a narrower picture has no room for one."""
UNITS = ((1000.0, "mm"), (1.0, "µm"), (0.001, "nm"))
"""Micrometres of a unit."""


def add_scale_bar(picture: Picture, scale: float, pixel_size_um: float | None = None) -> Picture:
    """A copy with a bar in its lower right corner, of a round length that is written above it.

    Args:
        picture: RGB ``(H, W, 3)``.
        scale: pixels of the picture to a pixel of the image.
        pixel_size_um: side of a pixel of the image in micrometres; None counts the image's pixels.
    """
    height, width = picture.shape[:2]
    if width < SMALLEST or height < SMALLEST // 2:
        return picture.copy()
    pixels, text = bar_length(SHARE * width / scale, pixel_size_um)
    thick, gap = max(3, width // 200), max(8, width // 60)
    right, bottom = width - gap, height - gap
    left = right - round(pixels * scale)
    canvas = Image.fromarray(picture)
    pen = ImageDraw.Draw(canvas)
    pen.rectangle((left - 1, bottom - thick - 1, right + 1, bottom + 1), fill="black")
    pen.rectangle((left, bottom - thick, right, bottom), fill="white")
    place = ((left + right) / 2, bottom - thick - 3)
    pen.text(place, text, fill="white", font=font_of(14), anchor="mb", stroke_width=1, stroke_fill="black")
    return np.array(canvas)


def bar_length(longest: float, pixel_size_um: float | None = None) -> tuple[float, str]:
    """Length in pixels of the image of the longest bar of 1, 2 or 5 times a power of ten, and what it says.

    Args:
        longest: in pixels of the image, above 0.
        pixel_size_um: side of one in micrometres.
    """
    if pixel_size_um is None:
        length = max(round_down(longest), 1)
        return length, f"{length:g} px"
    length = round_down(longest * pixel_size_um)
    side, unit = next((each for each in UNITS if length >= each[0]), UNITS[-1])
    return length / pixel_size_um, f"{length / side:g} {unit}"


def round_down(value: float) -> float:
    """The largest of 1, 2 and 5 times a power of ten that is not above a positive value."""
    power = 10.0 ** math.floor(math.log10(value))
    return max(factor * power for factor in (1, 2, 5) if factor * power <= value * (1 + 1e-9))
