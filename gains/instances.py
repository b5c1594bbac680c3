"""The instances of one image: masks with scores and categories, data only."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from gains.arrays import FloatArray, IntArray
from gains.masks import InstanceCrops


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
