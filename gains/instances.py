"""The instances of one image: masks with scores and categories, data only."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
import numpy.typing as npt
import torch

from gains.masks import InstanceCrops

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Instances:
    """Instances of one image, the highest score first. Masks are whole where they overlap.

    Attributes:
        masks: N masks on tight, non-empty boxes.
        scores: ``(N,)`` in [0, 1], descending.
        labels: ``(N,)`` category of each, from 1.
        categories: category names; position + 1 is the label.
        capped_tiles: tiles in which the network found as many instances as it may; some may be missing there.
    """

    masks: InstanceCrops
    scores: FloatArray
    labels: IntArray
    categories: list[str] = field(default_factory=lambda: ["instance"])
    capped_tiles: int = 0

    def __len__(self) -> int:
        return len(self.masks)

    @property
    def size(self) -> tuple[int, int]:
        """Image height and width in pixels."""
        return self.masks.size

    @property
    def boxes(self) -> IntArray:
        """Tight boxes ``(N, 4)`` xyxy in pixels, the end exclusive."""
        boxes: IntArray = self.masks.boxes.numpy()
        return boxes

    def mask(self, index: int) -> npt.NDArray[np.bool_]:
        """Full-size mask ``(H, W)`` of one instance."""
        full = np.zeros(self.size, dtype=bool)
        x0, y0, x1, y1 = self.boxes[index]
        full[y0:y1, x0:x1] = self.crop(index)
        return full

    def crop(self, index: int) -> npt.NDArray[np.bool_]:
        """Mask of one instance on its box, ``(h, w)``."""
        crop: npt.NDArray[np.bool_] = self.masks.crop(index).numpy().astype(bool)
        return crop

    def select(self, indices: Sequence[int]) -> Self:
        """The instances of the given indices."""
        chosen = np.asarray(indices, dtype=np.int64)
        masks = self.masks.select(chosen.tolist())
        return replace(self, masks=masks, scores=self.scores[chosen], labels=self.labels[chosen])


def tighten(masks: InstanceCrops, region: tuple[int, int, int, int]) -> tuple[InstanceCrops, IntArray]:
    """Cut masks to a region and to their own tight boxes; empty ones are dropped.

    Args:
        masks: of the larger image.
        region: ``(x0, y0, x1, y1)`` of that image; boxes of the result count from its corner.

    Returns:
        The remaining masks, and their indices ``(N,)`` among the given ones.
    """
    left, top, right, bottom = region
    crops, boxes, kept = [], [], []
    for index, (x0, y0, _, _) in enumerate(masks.boxes.tolist()):
        crop = masks.crop(index).numpy()[max(top - y0, 0) : max(bottom - y0, 0), max(left - x0, 0) : max(right - x0, 0)]
        rows, columns = np.flatnonzero(crop.any(1)), np.flatnonzero(crop.any(0))
        if len(rows) == 0:
            continue
        x, y = max(x0, left) - left, max(y0, top) - top
        tight = crop[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        crops.append(torch.from_numpy(np.ascontiguousarray(tight)))
        boxes.append([x + columns[0], y + rows[0], x + columns[-1] + 1, y + rows[-1] + 1])
        kept.append(index)
    box_array = torch.from_numpy(np.array(boxes, dtype=np.int64).reshape(-1, 4))
    return InstanceCrops.from_crops(crops, box_array, (bottom - top, right - left)), np.array(kept, dtype=np.int64)
