"""A network that knows the truth: it finds every part of every instance that its tile shows, overlapping or not."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from gains.masks import InstanceCrops, tighten
from gains.models.recipe import Recipe
from gains.operating_point import OperatingPoint
from gains.prediction.predictor import Predictor


class Found:
    def __init__(self, masks: InstanceCrops) -> None:
        self.masks = masks

    def paste(self) -> InstanceCrops:
        return self.masks


class Oracle(nn.Module):
    """Reads from a tile's first pixel where in the image it lies, and cuts the known masks there.

    Args:
        masks: of the image.
        scores: of each; a part has the score of the whole.
    """

    def __init__(self, masks: InstanceCrops, scores: list[float]) -> None:
        super().__init__()
        self.masks = masks
        self.scores = torch.tensor(scores)

    def forward(self, images: list[Tensor]) -> list[dict[str, Any]]:
        return [self.find(image) for image in images]

    def find(self, image: Tensor) -> dict[str, Any]:
        x, y = (round(float(value) * 65535) for value in image[:2, 0, 0])
        height, width = self.masks.size
        right, bottom = min(x + image.shape[2], width), min(y + image.shape[1], height)
        masks, kept = tighten(self.masks, (x, y, right, bottom))
        masks = InstanceCrops(masks.values, masks.boxes, (image.shape[1], image.shape[2]))
        scores = self.scores[kept]
        order = torch.argsort(scores, descending=True)
        return {
            "boxes": masks.boxes[order].float(),
            "labels": torch.ones(len(kept), dtype=torch.int64),
            "scores": scores[order],
            "masks": Found(masks.select(order.tolist())),
        }


def map_of_positions(size: tuple[int, int]) -> npt.NDArray[np.uint16]:
    """The image for an :class:`Oracle`: red is the column, green the row."""
    rows, columns = np.mgrid[: size[0], : size[1]].astype(np.uint16)
    return np.stack([columns, rows, np.zeros_like(rows)], axis=2)


def oracle_predictor(masks: InstanceCrops, tile: int, overlap: int) -> Predictor:
    scores = np.linspace(0.99, 0.6, max(len(masks), 1)).tolist()[: len(masks)]
    recipe = Recipe({}, ["bar"], tile, operating_point=OperatingPoint(max_detections=10000))
    return Predictor(Oracle(masks, scores), recipe, torch.device("cpu"), tile=tile, overlap=overlap)
