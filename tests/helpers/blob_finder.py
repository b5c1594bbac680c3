"""A network that finds bright blobs, and images of such blobs whose instances are known."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor, nn

from gains.masks import InstanceCrops
from gains.models.recipe import Recipe
from gains.operating_point import OperatingPoint
from gains.prediction.predictor import Predictor
from gains.rle import RLE


class Masks:
    """The least that a model's masks must offer."""

    def __init__(self, masks: InstanceCrops) -> None:
        self.masks = masks

    def __len__(self) -> int:
        return len(self.masks)

    def paste(self) -> InstanceCrops:
        return self.masks

    def to_rle(self) -> list[RLE]:
        return self.masks.to_rle()


class BlobFinder(nn.Module):
    """Connected parts of each channel: red ones are of category 1, green ones of category 2.

    Red and green may overlap, so two channels make overlapping instances. The score is a function of the mean
    intensity of the whole blob, hence the same in every tile that shows all of it.
    """

    def __init__(self, categories: int = 2) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))
        self.categories = categories
        self.batches: list[int] = []

    def forward(self, images: list[Tensor]) -> list[dict[str, Any]]:
        self.batches.append(len(images))
        return [self.find(image) for image in images]

    def find(self, image: Tensor) -> dict[str, Any]:
        pixels = image.numpy()
        crops, boxes, labels, scores = [], [], [], []
        for label in range(1, self.categories + 1):
            # The padding of a batch has the value 0.485 or less; blobs are brighter.
            parts, _ = ndimage.label(pixels[label - 1] > 0.5, structure=np.ones((3, 3)))
            for index, (rows, columns) in enumerate(ndimage.find_objects(parts), 1):
                mask = parts[rows, columns] == index
                crops.append(torch.from_numpy(mask.astype(np.uint8)))
                boxes.append([columns.start, rows.start, columns.stop, rows.stop])
                labels.append(label)
                scores.append(float(pixels[label - 1][rows, columns][mask].mean()))
        order = np.argsort(-np.array(scores), kind="stable")
        box_tensor = torch.tensor(boxes, dtype=torch.int64).reshape(-1, 4)[order]
        masks = InstanceCrops.from_crops([crops[index] for index in order], box_tensor, pixels.shape[1:])
        return {
            "boxes": box_tensor.float(),
            "labels": torch.tensor(labels, dtype=torch.int64)[order],
            "scores": torch.tensor(scores)[order],
            "masks": Masks(masks),
        }


def blob_recipe(categories: int = 2, **point: Any) -> Recipe:
    names = ["nucleus", "cytoplasm"][:categories]
    network = {"_target_": "helpers.blob_finder.BlobFinder", "categories": categories}
    return Recipe(
        network, names, 512, model="blobs", operating_point=OperatingPoint(**{"max_detections": 1000} | point)
    )


def blob_predictor(categories: int = 2, score_threshold: float = 0.5, **settings: Any) -> Predictor:
    recipe = blob_recipe(categories, score_threshold=score_threshold)
    return Predictor(BlobFinder(categories), recipe, torch.device("cpu"), **settings)


def draw_disks(
    size: tuple[int, int],
    disks: list[tuple[float, float, float]],
    channel: int = 0,
    start: npt.NDArray[Any] | None = None,
) -> tuple[npt.NDArray[np.uint8], list[npt.NDArray[np.bool_]]]:
    """Disks ``(x, y, radius)`` in one channel of an RGB image, each of its own brightness, and their masks."""
    image = np.zeros((*size, 3), np.uint8) if start is None else start.copy()
    rows, columns = np.mgrid[: size[0], : size[1]]
    masks = []
    for index, (x, y, radius) in enumerate(disks):
        mask = (columns - x) ** 2 + (rows - y) ** 2 <= radius**2
        image[mask, channel] = 255 - index % 100
        masks.append(mask)
    return image, masks
