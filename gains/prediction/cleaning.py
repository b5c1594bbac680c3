"""Specks, loose parts and holes of predicted masks, removed where a user asks for it; once, after stitching."""

from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from scipy import ndimage

from gains.arrays import BoolArray
from gains.errors import InputError
from gains.masks import InstanceCrops, tighten
from gains.prediction.result import Prediction


@dataclass(frozen=True)
class Cleaning:
    """What is done to each mask, in this order. Pixels that meet at a corner alone are not connected, as in outlines.

    Attributes:
        largest_part: only the largest connected part is kept, of equal ones the upper left.
        fill_holes: pixels that the mask encloses join it; where two masks overlap, each for itself.
        min_area: an instance of fewer pixels is left out.

    Raises:
        InputError: if the area is no whole number from 0, or a switch neither true nor false.
    """

    largest_part: bool = False
    fill_holes: bool = False
    min_area: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.min_area, bool) or not isinstance(self.min_area, int) or self.min_area < 0:
            raise InputError(f"min_area={self.min_area} must be a whole number of pixels, 0 keeps all")
        for name in ("largest_part", "fill_holes"):
            if not isinstance(getattr(self, name), bool):
                raise InputError(f"{name}={getattr(self, name)} must be true or false")

    def __call__(self, found: Prediction) -> tuple[Prediction, list[str]]:
        """The instances with clean masks, and a remark for each step that changed something."""
        remarks = []
        if self.largest_part or self.fill_holes:
            masks, changed = self._masks(found.masks)
            found = replace(found, masks=masks)
            remarks = [f"instances have lost parts or holes ({self._names()})"] if changed else []
        large = np.flatnonzero(found.masks.areas().numpy() >= self.min_area)
        if len(large) < len(found):
            remarks.append(f"instances of fewer than {self.min_area} pixels are left out (min_area)")
            found = found.select(large.tolist())
        return found, remarks

    def _names(self) -> str:
        return ", ".join(name for name in ("largest_part", "fill_holes") if getattr(self, name))

    def _masks(self, masks: InstanceCrops) -> tuple[InstanceCrops, bool]:
        """The masks on tight boxes, and whether any is another."""
        crops = []
        for before in masks.crops():
            mask: BoolArray = before.numpy().astype(bool)
            if self.largest_part:
                mask = largest_part(mask)
            if self.fill_holes:
                mask = ndimage.binary_fill_holes(mask)
            crops.append(torch.from_numpy(mask.view(np.uint8)))
        cleaned = InstanceCrops.from_crops(crops, masks.boxes, masks.size)
        height, width = masks.size
        tight, _ = tighten(cleaned, (0, 0, width, height))
        return tight, not torch.equal(cleaned.values, masks.values)


def largest_part(mask: BoolArray) -> BoolArray:
    """The largest 4-connected part of a mask ``(h, w)``."""
    parts, count = ndimage.label(mask)
    if count < 2:
        return mask
    sizes = np.bincount(parts.ravel())[1:]
    largest: BoolArray = parts == np.argmax(sizes) + 1
    return largest


SETTINGS = tuple(field.name for field in fields(Cleaning))
"""Names of the settings, the same wherever predictions are made."""
