"""Tiles of an image as the network takes them: read, brought to [0, 1], padded."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gains.images.intensity import Intensity, dim_note, is_dim, known_values, to_unit_rgb, value_range
from gains.images.notes import Notes
from gains.images.raster import Raster
from gains.images.scaling import IMAGENET_MEAN
from gains.rle import Box

SAMPLE_PIXELS = 4_000_000
"""About how many pixels of an image its percentiles are taken from."""

READ_SIDE = 512
"""Pixels: an image is read in squares of this side where only its values are looked at."""


def network_tiles(
    raster: Raster,
    boxes: npt.NDArray[np.int64],
    size: tuple[int, int],
    intensity: Intensity,
    notes: Notes,
    limits: tuple[float, float] | None = None,
) -> Iterator[Tensor]:
    """Tiles ``(3, h, w)`` in [0, 1], padded at the right and bottom where the image is smaller.

    Args:
        raster: the image.
        boxes: ``(T, 4)`` xyxy of each tile, inside the image.
        size: height and width of every tile.
        intensity: which values become 0 and 1.
        notes: get a remark about an image that is very dark throughout.
        limits: the pixel values that become 0 and 1; None finds them (:func:`value_limits`).

    Raises:
        InputError: if a part of the file is damaged, or holds values that do not fit the intensity.
    """
    limits = limits or value_limits(raster, intensity)
    height, width = size
    brightest = 0.0
    for x0, y0, x1, y1 in boxes.tolist():
        pixels = read(raster, (x0, y0, x1, y1), intensity)
        brightest = max(brightest, float(pixels.max()) if is_dim(1, pixels.dtype, intensity) else np.inf)
        values = torch.from_numpy(to_unit_rgb(pixels, limits)).permute(2, 0, 1)
        # What the network sees beyond an image of a training batch: the mean colour, its normalised zero.
        tile = torch.tensor(IMAGENET_MEAN)[:, None, None].repeat(1, height, width)
        tile[:, : values.shape[1], : values.shape[2]] = values
        yield tile
    if is_dim(brightest, np.dtype(np.uint16), intensity):
        notes.add(raster.name, dim_note())


def read(raster: Raster, box: Box, intensity: Intensity) -> npt.NDArray[Any]:
    """Pixels of a box in a type whose range is known."""
    return known_values(raster.read(box), intensity, raster.name)


def value_limits(raster: Raster, intensity: Intensity) -> tuple[float, float]:
    """The pixel values that become 0 and 1 in all of an image."""
    height, width = raster.size
    if intensity == "full_range":
        return value_range(read(raster, (0, 0, 1, 1), intensity), "full_range")
    step = max(1, int(np.ceil(np.sqrt(height * width / SAMPLE_PIXELS))))
    samples = []
    for y in range(0, height, READ_SIDE):
        for x in range(0, width, READ_SIDE):
            pixels = read(raster, (x, y, min(x + READ_SIDE, width), min(y + READ_SIDE, height)), intensity)
            samples.append(pixels[::step, ::step].reshape(-1))
    return value_range(np.concatenate(samples), intensity)
