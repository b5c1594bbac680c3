"""Which of the images in a TIFF file are images of their own: no thumbnails, labels and smaller copies."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gains.images.raster import Stack

BESIDE = ("thumbnail", "label", "macro", "overview", "map", "preview")
"""What slide scanners call the pictures that they store beside the image."""

GUESSED = ("generic", "uniform")
"""Kinds of series whose levels tifffile takes from the sizes of pages alone."""

GRID = 8
"""Places along each side at which an image is compared with what may be its smaller copy."""

MAX_FIELD = 512
"""Pixels: longest side of a field that is read for that."""

COPY_CORRELATION = 0.7


def images_of(series: Sequence[Any]) -> list[Any]:
    """The series of a TIFF file that its writer did not mark as something else; all if that leaves none.

    Args:
        series: of tifffile; lower levels of a pyramid are inside of them already. Where nothing but half the size
            makes a page a level, it may be an image of its own, and comes along.
    """
    return [level for each in series for level in _levels(each) if not is_marked(level)] or list(series)


def is_marked(series: Any) -> bool:
    """Whether its writer marked a series as a thumbnail, label, mask or smaller copy; or as no image at all."""
    keyframe = series.keyframe
    return bool(
        str(series.name).strip().lower() in BESIDE
        or keyframe.is_reduced
        or keyframe.is_mask
        or not {"Y", "X"} <= set(series.axes)
    )


def _levels(series: Any) -> list[Any]:
    """A series, and those of its levels that may be images of their own."""
    guessed = series.levels if series.kind in GUESSED else [series]
    return [each for each in guessed if each is series or not (each.keyframe.is_reduced or each.keyframe.is_subifd)]


def copies_and_others(stacks: Sequence[Stack], kinds: Sequence[Any]) -> dict[int, str]:
    """Which images of a file to leave out, by their position, and why.

    Args:
        stacks: the images.
        kinds: what those that belong together have in common, such as the type of their values.
    """
    areas = [stack.size[0] * stack.size[1] for stack in stacks]
    main = areas.index(max(areas))
    left_out: dict[int, str] = {}
    for position, stack in enumerate(stacks):
        if position == main:
            continue
        if kinds[position] != kinds[main]:
            left_out[position] = f"{kinds[position]}, where the largest is {kinds[main]}"
        elif _could_be_copy(stack.size, stacks[main].size) and _looks_like(stack, stacks[main]):
            left_out[position] = "a smaller copy of the largest"
    return left_out


def _could_be_copy(small: tuple[int, int], large: tuple[int, int]) -> bool:
    """Whether a size is another, divided by one number from about 2 on and rounded."""
    ratio = large[1] / small[1]
    return ratio > 1.9 and abs(large[0] / ratio - small[0]) <= 1


def _looks_like(small: Stack, large: Stack) -> bool:
    """Whether two images agree at places spread over them."""
    share = min(1 / (2 * GRID), MAX_FIELD / max(large.size))
    first, second = (_samples(stack, share) for stack in (small, large))
    if first.std() == 0 or second.std() == 0:
        return bool(first.std() == second.std() and first.mean() == second.mean())
    return bool(np.corrcoef(first, second)[0, 1] > COPY_CORRELATION)


def _samples(stack: Stack, share: float) -> npt.NDArray[np.float64]:
    """Means of ``GRID`` x ``GRID`` fields of the first plane, each that share of a side."""
    height, width = stack.size
    plane = {axis: 0 for axis in stack.lengths if axis != "S"}
    rows, columns = max(1, int(height * share)), max(1, int(width * share))
    means = []
    for row in range(GRID):
        for column in range(GRID):
            y, x = (2 * row + 1) * height // (2 * GRID), (2 * column + 1) * width // (2 * GRID)
            field = stack.read(plane, (x, y, min(x + columns, width), min(y + rows, height)))
            means.append(float(np.nan_to_num(field.astype(np.float64)).mean()))
    return np.array(means)
