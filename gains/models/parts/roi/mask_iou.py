"""IoU of predicted masks with instances of which the RoI may show only a part (Huang et al. 2019)."""

import torch
from torch import Tensor

from gains.contract import Target
from gains.masks import InstanceCrops
from gains.models.parts.roi.sampling import RoISamples


def area_inside(masks: InstanceCrops, instance: Tensor, rois: Tensor) -> Tensor:
    """Pixels of each RoI's instance whose centre lies in the RoI.

    Running sums along the flat crops make the sum over a stretch of a row the difference of two entries, so no RoI
    is cut out.

    Args:
        masks: the instances of one image.
        instance: ``(R,)`` instance of each RoI.
        rois: ``(R, 4)`` xyxy in pixels, on the device of the masks.

    Returns:
        ``(R,)`` int64.
    """
    boxes = masks.boxes.to(rois.device, non_blocking=True)
    sides = boxes[:, 2:] - boxes[:, :2]
    width, height = sides[instance].unbind(1)
    begin = (sides.prod(1).cumsum(0) - sides.prod(1))[instance]
    corner = boxes[instance, :2].repeat(1, 2)
    inside = torch.ceil(rois - 0.5).long() - corner
    left, right = inside[:, 0].clamp(min=0), torch.minimum(inside[:, 2], width)
    top, bottom = inside[:, 1].clamp(min=0), torch.minimum(inside[:, 3], height)
    running = torch.cat([masks.values.new_zeros(1, dtype=torch.int64), masks.values.long().cumsum(0)])
    tallest = int((masks.boxes[:, 3] - masks.boxes[:, 1]).max()) if len(masks) else 0
    row = torch.arange(tallest, device=rois.device)
    used = (row >= top[:, None]) & (row < bottom[:, None]) & (right > left)[:, None]
    start = begin[:, None] + row * width[:, None]
    stretch = (
        running[torch.where(used, start + right[:, None], 0)] - running[torch.where(used, start + left[:, None], 0)]
    )
    return stretch.sum(1)


def visible_share(samples: RoISamples, targets: list[Target]) -> Tensor:
    """Share of each foreground RoI's instance that lies in the RoI, ``(P,)`` float32 in [0, 1], images in order."""
    shares = []
    for boxes, matched, target in zip(samples.boxes, samples.matched, targets, strict=True):
        masks: InstanceCrops = target["masks"]
        shares.append(area_inside(masks, matched, boxes) / masks.areas()[matched].clamp(min=1))
    return torch.cat(shares).float()


def mask_iou(predicted: Tensor, target: Tensor, share: Tensor) -> Tensor:
    """IoU of each RoI's predicted mask with its whole instance.

    The part of the instance outside the RoI, where nothing can be predicted, counts in the union.

    Args:
        predicted: ``(P, S, S)`` bool.
        target: ``(P, S, S)`` in {0, 1}, the part of the instance in the RoI.
        share: ``(P,)`` share of the instance which that part is.

    Returns:
        ``(P,)`` float32 in [0, 1].
    """
    whole = target.sum((1, 2)) / share.clamp(1e-10, 1)
    shared = (predicted * target).sum((1, 2))
    return shared / (predicted.sum((1, 2)) + whole - shared).clamp(min=1)
