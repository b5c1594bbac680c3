"""A detector that, like a trained network, only finds objects about as large as those it learned from."""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pycocotools import mask as coco_mask
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F

from gains.instances import Instances
from gains.masks import InstanceCrops, equivalent_diameter
from gains.models.parts.transform import ImageTransform, resize
from gains.models.recipe import LearnedSizes, Recipe
from gains.operating_point import OperatingPoint
from gains.prediction.predictor import Predictor
from gains.rle import RLE, encode_crop
from helpers.blob_finder import BlobFinder, Masks

SIDE = 128
"""Of the training images, in pixels."""

NETWORK_SIDE = 192
LEARNED = 20.0
"""Diameter in pixels of the training images of a typical object; 5 and 95 % are 0.7 and 1.4 times that."""


class SizedFinder(BlobFinder):
    """Resizes as networks do, and finds blobs of 0.4 to 1.8 times the learned diameter; others it does not see.

    The further an object is from the learned size, the lower its score. Masks are those found at the network's
    resolution, brought back to the image. ``pixels`` counts those that it has looked at, at its own resolution.
    """

    def __init__(self, categories: int = 1) -> None:
        super().__init__(categories)
        self.range = (0.4, 1.8)
        self.pixels = 0
        self.transform = ImageTransform(NETWORK_SIDE, 4 * NETWORK_SIDE)

    def find(self, image: Tensor) -> dict[str, Any]:
        size = (int(image.shape[1]), int(image.shape[2]))
        seen = self.transform.fitted(size)
        self.pixels += seen[0] * seen[1]
        found = super().find(resize(image, seen))
        masks: InstanceCrops = found["masks"].paste()
        typical = LEARNED * NETWORK_SIDE / SIDE
        relative = equivalent_diameter(masks.areas().numpy()) / typical
        kept = np.flatnonzero((relative > self.range[0]) & (relative < self.range[1]))
        dense = masks.select(kept.tolist()).dense().float()
        if len(kept):
            dense = F.interpolate(dense[None], size, mode="bilinear", align_corners=False)[0]
        solid = InstanceCrops.from_dense((dense > 0.5).reshape(-1, *size))
        scores = torch.from_numpy(np.exp(-(np.log(relative[kept]) ** 2) / 2)).float()
        order = torch.argsort(scores, descending=True)
        return {
            "boxes": solid.boxes[order].float(),
            "labels": found["labels"][torch.from_numpy(kept)][order],
            "scores": scores[order],
            "masks": Masks(solid.select(order.tolist())),
        }


def sized_recipe(pixel_size_um: float | None = None, sizes: bool = True) -> Recipe:
    source = [0.7 * LEARNED, LEARNED, 1.4 * LEARNED]
    learned = LearnedSizes({"blob": source}, {"blob": [NETWORK_SIDE / SIDE * value for value in source]}, pixel_size_um)
    point = OperatingPoint(max_detections=1000)
    plan = {"_target_": "helpers.sized_finder.SizedFinder"}
    recipe = Recipe(plan, ["blob"], SIDE, model="sized", operating_point=point)
    return replace(recipe, sizes=learned if sizes else None)


def sized_predictor(pixel_size_um: float | None = None, sizes: bool = True, **settings: Any) -> Predictor:
    recipe = sized_recipe(pixel_size_um, sizes)
    return Predictor(SizedFinder(), recipe, torch.device("cpu"), **settings)


def disks(zoom: float, size: tuple[int, int] = (300, 360), seed: int = 0) -> tuple[npt.NDArray[np.uint8], list[RLE]]:
    """Disks of about the learned size, none touching another, all drawn ``zoom`` times as large; and their masks."""
    rng = np.random.default_rng(seed)
    height, width = round(size[0] * zoom), round(size[1] * zoom)
    image = np.zeros((height, width, 3), np.uint8)
    masks = []
    for y in range(24, size[0] - 24, 46):
        for x in range(24, size[1] - 24, 46):
            radius = zoom * LEARNED / 2 * rng.uniform(0.75, 1.3)
            centre_x, centre_y = zoom * (np.array([x, y]) + rng.uniform(-6, 6, 2))
            left, top = int(centre_x - radius), int(centre_y - radius)
            right, bottom = int(centre_x + radius) + 2, int(centre_y + radius) + 2
            rows, columns = np.mgrid[top:bottom, left:right]
            mask = np.hypot(columns - centre_x, rows - centre_y) <= radius
            image[top:bottom, left:right, 0][mask] = 230
            masks.append(encode_crop(mask, (left, top, right, bottom), (height, width)))
    return image, masks


def f1(found: Instances, truth: list[RLE], least: float = 0.5) -> float:
    """By pycocotools' IoU and the best assignment."""
    if len(found) == 0:
        return 0.0
    rles: Any = found.masks.to_rle()
    iou = np.array(coco_mask.iou(rles, truth, [0] * len(truth)))  # type: ignore[arg-type]
    matched = int((iou[linear_sum_assignment(-iou)] > least).sum())
    return 2 * matched / (len(found) + len(truth))
