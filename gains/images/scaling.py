"""To which size an image is brought before the network sees it: in training, testing and prediction alike."""


def fitted_size(size: tuple[int, int], short_side: float, long_side: float) -> tuple[int, int]:
    """``(height, width)`` in pixels of an image whose short side is brought to a length.

    Args:
        size: height and width of the image.
        short_side: wanted length of the shorter one in pixels.
        long_side: upper limit of the longer one; wins where both cannot be met.
    """
    scale = min(short_side / min(size), long_side / max(size))
    return max(round(size[0] * scale), 1), max(round(size[1] * scale), 1)
