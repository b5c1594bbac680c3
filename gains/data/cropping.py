"""Pieces of large images for training, at the scale of the image: objects, not thumbnails of them."""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from gains.images.scaling import IMAGENET_MEAN, fits_tile
from gains.masks import InstanceCrops, tighten
from gains.rle import Box

OBJECT_SHARE = 0.8
"""Share of the crops that are laid around an instance; the others lie anywhere, so that background is seen too."""

SLIVER = 0.1
"""A cut instance of which less than this share is left is dropped, unless it fills this share of the crop."""


class RandomCrop:
    """Cut images that are larger than a square of a given side down to it, as prediction lays its tiles.

    Args:
        side: in pixels; where the image is narrower, the mean colour fills the square.
    """

    def __init__(self, side: int) -> None:
        self.side = side

    def __call__(
        self, image: npt.NDArray[Any], masks: InstanceCrops, seed: int
    ) -> tuple[npt.NDArray[Any], InstanceCrops]:
        """A piece of an image ``(H, W, 3)`` and the masks of all N instances in it, empty where they are not.

        Args:
            image: pixels.
            masks: N instances.
            seed: decides where the crop lies.
        """
        if fits_tile(masks.size, self.side):
            return image, masks
        x0, y0, x1, y1 = box = self.place(masks, np.random.default_rng(seed))
        square = np.full((self.side, self.side, 3), IMAGENET_MEAN, dtype=image.dtype)
        square[: y1 - y0, : x1 - x0] = image[y0:y1, x0:x1]
        return square, replace(cut(masks, box), size=(self.side, self.side))

    def place(self, masks: InstanceCrops, rng: np.random.Generator) -> Box:
        """A crop ``(x0, y0, x1, y1)``: around an instance drawn at random, whole where it fits, or anywhere."""
        height, width = (min(length, self.side) for length in masks.size)
        held = np.flatnonzero((masks.areas() > 0).numpy())
        low, high = [0, 0], [masks.size[1] - width, masks.size[0] - height]
        if len(held) and rng.random() < OBJECT_SHARE:
            chosen = masks.boxes[rng.choice(held)].tolist()
            for axis, length in enumerate((width, height)):
                first, last = sorted((chosen[axis + 2] - length, chosen[axis]))
                low[axis], high[axis] = max(first, 0), min(last, high[axis])
        x0, y0 = (int(rng.integers(first, last, endpoint=True)) for first, last in zip(low, high, strict=True))
        return x0, y0, x0 + width, y0 + height


def cut(masks: InstanceCrops, region: Box) -> InstanceCrops:
    """Masks of all N instances in a region ``(x0, y0, x1, y1)``; what has left it, and slivers, are empty."""
    inside, kept = tighten(masks, region)
    before, after = masks.areas()[torch.from_numpy(kept)], inside.areas()
    whole = before.clamp(max=float((region[2] - region[0]) * (region[3] - region[1])))
    crops = [torch.zeros(0, 0, dtype=torch.uint8)] * len(masks)
    boxes = torch.zeros(len(masks), 4, dtype=torch.int64)
    for place in torch.nonzero(after >= SLIVER * whole)[:, 0].tolist():
        index = int(kept[place])
        crops[index], boxes[index] = inside.crop(place), inside.boxes[place]
    return InstanceCrops.from_crops(crops, boxes, inside.size)
