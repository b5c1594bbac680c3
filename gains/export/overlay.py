"""Instances drawn on their image, so that overlaps can be seen."""

from pathlib import Path

import numpy as np
import torch

from gains.drawing import Picture, draw_instances, save_image
from gains.export.export import Export
from gains.images.intensity import to_unit_rgb, value_range
from gains.images.raster import Raster
from gains.masks import InstanceCrops

MAX_SIDE = 4096
"""Longer images are drawn smaller: an overlay is to be looked at."""

READ_ROWS = 1024


def write_overlay(path: Path, export: Export) -> None:
    """PNG of the image with instances drawn on it; small images are enlarged, those above 4096 pixels made smaller."""
    assert export.image is not None
    picture, masks = view(export.instances.masks, export.image, MAX_SIDE)
    save_image(path, draw_instances(picture, masks))


def view(masks: InstanceCrops, image: Raster, max_side: int) -> tuple[Picture, InstanceCrops]:
    """Image and masks as they are shown: 8 bits, contrast by percentiles, every k-th pixel of a large image.

    Returns:
        RGB ``(h, w, 3)`` with sides up to ``max_side``, and the masks at the same scale.
    """
    height, width = image.size
    step = -(-max(height, width) // max_side)
    rows = READ_ROWS // step * step or step
    pixels = np.concatenate(
        [image.read((0, top, width, min(top + rows, height)))[::step, ::step] for top in range(0, height, rows)]
    )
    # An 8-bit image is shown as it is; what other types use of their range varies too much.
    limits = value_range(pixels, "full_range" if pixels.dtype == np.uint8 else "percentile")
    picture: Picture = (to_unit_rgb(pixels, limits) * 255).round().astype(np.uint8)
    return picture, shrink(masks, step)


def shrink(masks: InstanceCrops, step: int) -> InstanceCrops:
    """Every ``step``-th pixel of masks, in step with every ``step``-th pixel of their image."""
    if step == 1:
        return masks
    crops, boxes = [], []
    for index, (x0, y0, _, _) in enumerate(masks.boxes.tolist()):
        crop = masks.crop(index)[-y0 % step :: step, -x0 % step :: step]
        left, top = -(-x0 // step), -(-y0 // step)
        crops.append(crop)
        boxes.append([left, top, left + crop.shape[1], top + crop.shape[0]])
    size = (-(-masks.size[0] // step), -(-masks.size[1] // step))
    return InstanceCrops.from_crops(crops, torch.tensor(boxes, dtype=torch.int64).reshape(-1, 4), size)
