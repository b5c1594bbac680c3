"""Images on their way through the network, and what it has found in their tiles so far."""

from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from gains.errors import InputError
from gains.images.raster import Raster
from gains.masks import InstanceCrops, tighten
from gains.operating_point import OperatingPoint
from gains.prediction.blocks import joined, joined_crops
from gains.prediction.scale import View
from gains.prediction.stitching import Found, Pieces
from gains.prediction.tiling import TileGrid
from gains.suppression import mask_nms

Key = TypeVar("Key")


@dataclass
class Pass:
    """One image at one scale.

    Attributes:
        view: how the image is cut.
        grid: the tiles.
        tiles: indices of those that are looked at.
        finished: tiles that the network has seen.
        capped: those of them in which it found as many instances as it may.
        found: masks in image coordinates, scores, labels and the tile, of each tile.
    """

    view: View
    grid: TileGrid
    tiles: npt.NDArray[np.int64]
    finished: int = 0
    capped: int = 0
    found: list[tuple[InstanceCrops, npt.NDArray[np.float64], npt.NDArray[np.int64], int]] = field(default_factory=list)

    @classmethod
    def of(cls, size: tuple[int, int], view: View, tiles: npt.NDArray[np.int64] | None = None) -> "Pass":
        """A pass over an image ``(height, width)``, or over some of its tiles."""
        grid = view.grid(size)
        return cls(view, grid, np.arange(len(grid), dtype=np.int64) if tiles is None else tiles)

    def add(self, index: int, prediction: dict[str, Any], min_score: float, most: int) -> None:
        """Keep what was found in one tile, in image coordinates."""
        self.finished += 1
        x0, y0, x1, y1 = self.grid.boxes[index].tolist()
        scores = prediction["scores"].double().cpu().numpy()
        labels = prediction["labels"].cpu().numpy()
        kept = np.flatnonzero(scores >= min_score)
        self.capped += int(len(kept) == len(scores) >= most)
        masks, solid = tighten(prediction["masks"].paste().select(kept.tolist()), (0, 0, x1 - x0, y1 - y0))
        kept = kept[solid]
        shifted = masks.boxes + torch.tensor([x0, y0, x0, y0])
        self.found.append(
            (InstanceCrops(masks.values, shifted, self.grid.size), scores[kept], labels[kept].astype(np.int64), index)
        )

    def pieces(self) -> Pieces:
        """All that was found."""
        masks = joined_crops([found for found, _, _, _ in self.found])
        tile = np.repeat([index for _, _, _, index in self.found], [len(found) for found, _, _, _ in self.found])
        scores = np.concatenate([scores for _, scores, _, _ in self.found])
        labels = np.concatenate([labels for _, _, labels, _ in self.found])
        return Pieces(masks, scores, labels, tile.astype(np.int64))


def together(several: list[Found], point: OperatingPoint) -> Found:
    """What several passes found: of one thing seen at two scales the better stays, told by their masks."""
    if len(several) == 1:
        return several[0]
    found = joined(several)
    kept = mask_nms(found.masks, found.scores, found.labels, point.nms_iou, point.nms_across_categories)
    return Found(found.masks.select(kept.tolist()), found.scores[kept], found.labels[kept], found.cut[kept])


@dataclass
class Job(Generic[Key]):
    """One image.

    Attributes:
        key: whatever identifies it.
        raster: its pixels.
        passes: over it, one for each scale.
        limits: the pixel values that become 0 and 1; None finds them.
        error: that its pixels led to.
    """

    key: Key
    raster: Raster
    passes: list[Pass] = field(default_factory=list)
    limits: tuple[float, float] | None = None
    error: InputError | None = None

    @property
    def tiles(self) -> int:
        """How many there are in all passes."""
        return sum(len(each.tiles) for each in self.passes)

    @property
    def done(self) -> bool:
        """Whether nothing of it is left to run."""
        return self.error is not None or all(each.finished == len(each.tiles) for each in self.passes)
