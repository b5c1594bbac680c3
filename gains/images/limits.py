"""How much is decoded in one piece: a small file may claim any size."""

import math
from collections.abc import Sequence

from gains.errors import InputError
from gains.images.options import ReadOptions

SAMPLES = 4
"""Values per pixel that the limit allows for: colour and alpha."""


def check_pixels(size: Sequence[int], options: ReadOptions, name: str, samples: int = 1) -> None:
    """Refuse what would be decoded in one piece and is too large, before it is.

    Args:
        size: height and width, or more axes.
        options: with the limit.
        name: what the error calls it.
        samples: values per pixel.

    Raises:
        InputError: if it is too large.
    """
    pixels = math.prod(size)
    if pixels > options.max_pixels or pixels * samples > SAMPLES * options.max_pixels:
        shape, limit = "x".join(str(side) for side in size), f"{options.setting('max_pixels')}={options.max_pixels}"
        raise InputError(
            f"{name} has {shape} pixels to be decoded in one piece, more than {limit}; "
            "raise that if the memory is there, or save it as a tiled TIFF"
        )
