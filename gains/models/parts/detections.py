"""From scored boxes to the detections of an image: score cut, class-wise NMS, cap."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor
from torchvision.ops import batched_nms, clip_boxes_to_image, remove_small_boxes

from gains.contract import Detections, Rows
from gains.masks import InstanceCrops
from gains.models.parts.full_image_masks import FullImageMasks
from gains.operating_point import FIRST_IOU, OperatingPoint
from gains.suppression import mask_nms


def keep_detections(point: OperatingPoint, boxes: Tensor, probabilities: Tensor, size: tuple[int, int]) -> Rows:
    """Keep the detections of one image.

    Args:
        point: its ``min_score``, ``nms_iou``, ``max_detections`` and ``sure_places``.
        boxes: ``(R, K, 4)`` decoded box of every RoI and foreground class.
        probabilities: ``(R, K)`` foreground class probabilities.
        size: image ``(height, width)`` to clip to.

    Returns:
        ``boxes (D, 4)``, ``labels (D,)`` from 1, ``scores (D,)`` in descending order, ``roi (D,)`` the row each
        detection comes from.
    """
    roi, category = torch.where(probabilities > point.min_score)
    scores = probabilities[roi, category]
    chosen = clip_boxes_to_image(boxes[roi, category], size)
    solid = remove_small_boxes(chosen, min_size=1e-2)
    chosen, scores, category, roi = chosen[solid], scores[solid], category[solid], roi[solid]
    keep = batched_nms(chosen.float(), scores.float(), category, point.nms_iou)
    if len(keep) > point.max_detections and point.sure_places:
        keep = keep[_places(point, chosen[keep], scores[keep], category[keep])]
    keep = keep[: point.max_detections]
    return {"boxes": chosen[keep], "labels": category[keep] + 1, "scores": scores[keep], "roi": roi[keep]}


def _places(point: OperatingPoint, boxes: Tensor, scores: Tensor, category: Tensor) -> Tensor:
    """Which of more boxes than there are places are kept, in their order.

    Sure of a place are the best of those that NMS on boxes would keep: copies of one object, each a little off, would
    else take the places of others. The rest goes by score.
    """
    first = batched_nms(boxes.float(), scores.float(), category, FIRST_IOU)[: point.sure_places]
    later = torch.ones(len(boxes), dtype=torch.bool, device=boxes.device)
    later[first] = False
    return torch.cat([first, later.nonzero()[:, 0]])[: point.max_detections].sort().values


def suppress_masks(found: Detections, point: OperatingPoint) -> Detections:
    """NMS on the masks of one image's detections, if the point asks for it, and the cap after it.

    Args:
        found: detections at the point's :meth:`~gains.operating_point.OperatingPoint.candidates`, the best first.
        point: its ``nms``, ``nms_iou``, ``nms_across_categories`` and ``max_detections``.
    """
    if point.nms == "box":
        return found
    masks = found["masks"].paste()
    scores, labels = found["scores"].cpu().double().numpy(), found["labels"].cpu().numpy()
    keep = mask_nms(masks, scores, labels, point.nms_iou, point.nms_across_categories)[: point.max_detections]
    return select_detections(found, masks, keep.tolist())


def select_detections(found: Detections, masks: InstanceCrops, rows: Sequence[int]) -> Detections:
    """Some of one image's detections, whose masks are already in the image, in the order of the rows."""
    chosen = torch.tensor(list(rows), dtype=torch.int64, device=found["scores"].device)
    tensors = {name: value for name, value in found.items() if isinstance(value, Tensor)}
    selected = {name: value[chosen] for name, value in tensors.items()}
    return cast(Detections, {**selected, "masks": FullImageMasks(masks.select(rows))})


def relabel(found: Detections, categories: Sequence[str], others: Sequence[str]) -> Detections:
    """Detections under the labels that their categories have elsewhere; those of categories not there go.

    Args:
        found: of one image.
        categories: names; position + 1 is the label in ``found``.
        others: names; position + 1 is the new label.
    """
    if list(categories) == list(others):
        return found
    new = torch.tensor([0, *(others.index(name) + 1 if name in others else 0 for name in categories)])
    labels = new.to(found["labels"].device)[found["labels"]]
    return select_detections({**found, "labels": labels}, found["masks"].paste(), labels.nonzero()[:, 0].tolist())


def split_detections(detections: list[Rows]) -> tuple[list[Tensor], Tensor]:
    """Boxes ``(D, 4)`` per image, and the labels of all images joined."""
    return [found["boxes"] for found in detections], torch.cat([found["labels"] for found in detections])


def add_rows(detections: list[Rows], **joined: Tensor) -> list[Rows]:
    """Hand each image its rows of tensors that hold all images' detections one after the other."""
    counts = [found["boxes"].shape[0] for found in detections]
    parts = {name: torch.split(tensor, counts) for name, tensor in joined.items()}
    return [{**found, **{name: part[index] for name, part in parts.items()}} for index, found in enumerate(detections)]
