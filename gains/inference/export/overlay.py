"""Instances drawn on their image, so that overlaps can be seen."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch

from gains.data.intensity import to_unit_rgb, value_range
from gains.files import replacing
from gains.inference.instances import Instances
from gains.inference.overlaps import overlapping_boxes
from gains.inference.raster import Raster
from gains.masks import InstanceCrops

Picture = npt.NDArray[np.uint8]

MAX_SIDE = 4096
"""Longer images are drawn smaller: an overlay is to be looked at."""

PALETTE = np.array(
    [
        [255, 89, 94], [25, 130, 196], [255, 202, 58], [138, 201, 38], [180, 110, 235],
        [255, 146, 76], [54, 214, 199], [255, 119, 188], [120, 170, 255], [214, 232, 90],
    ],
    dtype=np.uint8,
)  # fmt: skip
FILL = 0.22
READ_ROWS = 1024


def write_overlay(path: Path, instances: Instances, image: Raster) -> None:
    """PNG of the image with instances drawn on it, at most 4096 pixels a side."""
    picture, masks = view(instances.masks, image, MAX_SIDE)
    encoded = cv2.imencode(".png", draw(picture, masks)[:, :, ::-1])[1]
    with replacing(path) as temporary:
        temporary.write_bytes(encoded.tobytes())


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
    finite = np.nan_to_num(pixels) if pixels.dtype.kind == "f" else pixels
    # An 8-bit image is shown as it is; what other types use of their range varies too much.
    limits = value_range(finite, "full_range" if pixels.dtype == np.uint8 else "percentile")
    picture = (to_unit_rgb(finite, limits) * 255).round().astype(np.uint8)
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


def colours(boxes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Palette index ``(N,)`` of each instance: those whose boxes overlap differ while the palette lasts."""
    first, second = overlapping_boxes(boxes)
    near: dict[int, list[int]] = {}
    for i, j in zip(first.tolist(), second.tolist(), strict=True):
        near.setdefault(j, []).append(i)
    chosen = np.zeros(len(boxes), dtype=np.int64)
    for index in range(len(boxes)):
        used = {int(chosen[other]) for other in near.get(index, [])}
        # Beginning at a different colour each time keeps neighbours that do not touch apart as well.
        order = (np.arange(len(PALETTE)) + index * 3) % len(PALETTE)
        chosen[index] = next((int(colour) for colour in order if int(colour) not in used), int(order[0]))
    return chosen


def draw(picture: Picture, masks: InstanceCrops, thickness: int | None = None) -> Picture:
    """Draw masks as translucent areas with solid outlines; where they overlap, both colours and outlines show.

    Args:
        picture: RGB ``(H, W, 3)``; not changed.
        masks: of an image of that size.
        thickness: of outlines in pixels; by default it grows with the picture.
    """
    shown: npt.NDArray[Any] = picture.copy()
    palette = PALETTE[colours(masks.boxes.numpy())]
    thickness = thickness or max(1, round(max(picture.shape[:2]) / 900))
    for index, (x0, y0, x1, y1) in enumerate(masks.boxes.tolist()):
        region, mask = shown[y0:y1, x0:x1], masks.crop(index).numpy() != 0
        region[mask] = ((1 - FILL) * region[mask] + FILL * palette[index]).astype(np.uint8)
    for index, (x0, y0, _, _) in enumerate(masks.boxes.tolist()):
        crop = np.ascontiguousarray(masks.crop(index).numpy())
        if crop.size:
            outlines, _ = cv2.findContours(crop, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE, offset=(x0, y0))
            cv2.drawContours(shown, outlines, -1, palette[index].tolist(), thickness, cv2.LINE_8)
    return shown
