"""To which size an image is brought before the network sees it: in training, testing and prediction alike."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
"""RGB in [0, 1] that the network sees as nothing: its normalised zero, with which images are padded."""

MAX_ASPECT = 4
"""Longer and narrower images are padded to a tile: resizing their short side would blow them up."""


def fits_tile(size: tuple[int, int], side: int) -> bool:
    """Whether an image ``(height, width)`` is seen whole, as it is, where tiles or crops have a side in pixels."""
    return max(size) <= side and max(size) <= MAX_ASPECT * min(size)


def fitted_size(size: tuple[int, int], short_side: float, long_side: float) -> tuple[int, int]:
    """``(height, width)`` in pixels of an image whose short side is brought to a length.

    Args:
        size: height and width of the image.
        short_side: wanted length of the shorter one in pixels.
        long_side: upper limit of the longer one; wins where both cannot be met.
    """
    scale = min(short_side / min(size), long_side / max(size))
    return max(round(size[0] * scale), 1), max(round(size[1] * scale), 1)
