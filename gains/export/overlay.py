"""Instances drawn on their image, so that overlaps can be seen."""

from pathlib import Path

import numpy as np
import torch

from gains.drawing import Picture, draw_instances, save_image
from gains.drawing.scale_bar import add_scale_bar
from gains.export.export import Export
from gains.images.intensity import to_shown
from gains.images.raster import Raster
from gains.masks import InstanceCrops

MAX_SIDE = 4096
"""Longer images are drawn smaller: an overlay is to be looked at."""

READ_ROWS = 1024


def write_overlay(path: Path, export: Export) -> None:
    """PNG of the image with instances and a scale bar; small images are enlarged, those above 4096 pixels shrunk."""
    assert export.image is not None
    picture, masks = view(export.instances.masks, export.image, MAX_SIDE)
    drawn = draw_instances(picture, masks)
    save_image(path, add_scale_bar(drawn, drawn.shape[1] / export.image.size[1], export.pixel_size_um))


def view(masks: InstanceCrops, image: Raster, max_side: int) -> tuple[Picture, InstanceCrops]:
    """Image and masks as they are shown (:func:`gains.images.intensity.to_shown`), every k-th pixel of a large one.

    Returns:
        RGB ``(h, w, 3)`` with sides up to ``max_side``, and the masks at the same scale.
    """
    height, width = image.size
    step = -(-max(height, width) // max_side)
    rows = READ_ROWS // step * step or step
    pixels = np.concatenate(
        [image.read((0, top, width, min(top + rows, height)))[::step, ::step] for top in range(0, height, rows)]
    )
    return to_shown(pixels), shrink(masks, step)


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
