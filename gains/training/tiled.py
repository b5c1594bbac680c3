"""Validation and test see an image as ``gains predict`` would: whole where it fits, else in stitched tiles."""

from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from gains.contract import Detections
from gains.errors import InputError
from gains.images.raster import ArrayRaster
from gains.images.scaling import fits_tile
from gains.models.parts.full_image_masks import FullImageMasks
from gains.models.recipe import Recipe
from gains.prediction.predictor import Predictor
from gains.prediction.scale import MIN_TILE


def detect(network: nn.Module, recipe: Recipe, images: list[Tensor]) -> list[Detections]:
    """Detections of each image, those above the recipe's ``min_score``.

    Args:
        network: in evaluation mode, at the recipe's operating point.
        recipe: its ``image_side`` says what fits.
        images: ``(3, H, W)`` in [0, 1] on the network's device, sizes may differ.

    Returns:
        What the network gives for images that fit; for others boxes, labels, scores, masks and whether they were
        capped. What else a method gives of a detection (class scores, anomaly maps) belongs to its piece, and is left
        out where pieces are joined.
    """
    point = recipe.operating_point
    # All candidates: mAP ranks those below the threshold too. Images already are in [0, 1].
    everything = replace(recipe, operating_point=replace(point, score_threshold=point.min_score))
    # At the scale of training, whatever objects look like: these images are of the same kind.
    side = max(recipe.image_side, MIN_TILE)
    predictor = Predictor(network, everything, images[0].device, tile=side, intensity="full_range")
    sizes = [(int(image.shape[-2]), int(image.shape[-1])) for image in images]
    if all(fits_tile(size, predictor.tile) for size in sizes):
        whole: list[Detections] = network(images)
        return whole
    return [stitched(predictor, image) for image in images]


def stitched(predictor: Predictor, image: Tensor) -> Detections:
    """Detections of one image ``(3, H, W)`` in [0, 1], by tiles where it does not fit one."""
    # What there is to say about one image is said of the whole data set before the run.
    [(_, _, found)] = predictor.predict_many([(None, ArrayRaster(image.permute(1, 2, 0).float().cpu().numpy()))])
    if isinstance(found, InputError):
        raise found
    entries: dict[str, Any] = {
        "boxes": found.masks.boxes.float(),
        "labels": torch.from_numpy(found.labels),
        "scores": torch.from_numpy(found.scores).float(),
        "masks": FullImageMasks(found.masks),
        "capped": found.capped_tiles > 0,
    }
    return cast(Detections, entries)
