"""From scored boxes to the detections of an image: score cut, class-wise NMS, cap."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import batched_nms, clip_boxes_to_image, remove_small_boxes

from gains.contract import Rows


@dataclass(frozen=True)
class DetectionFilter:
    """What counts as a detection.

    Attributes:
        min_score: class probability a detection must exceed.
        nms: IoU of boxes of one class above which the lower-scored is dropped.
        max_detections: the best that many are kept per image.
    """

    min_score: float = 0.05
    nms: float = 0.5
    max_detections: int = 100

    def __call__(self, boxes: Tensor, probabilities: Tensor, size: tuple[int, int]) -> Rows:
        """Keep the detections of one image.

        Args:
            boxes: ``(R, K, 4)`` decoded box of every RoI and foreground class.
            probabilities: ``(R, K)`` foreground class probabilities.
            size: image ``(height, width)`` to clip to.

        Returns:
            ``boxes (D, 4)``, ``labels (D,)`` from 1, ``scores (D,)`` in descending order, ``roi (D,)`` the row each
            detection comes from.
        """
        roi, category = torch.where(probabilities > self.min_score)
        scores = probabilities[roi, category]
        chosen = clip_boxes_to_image(boxes[roi, category], size)
        solid = remove_small_boxes(chosen, min_size=1e-2)
        chosen, scores, category, roi = chosen[solid], scores[solid], category[solid], roi[solid]
        keep = batched_nms(chosen.float(), scores.float(), category, self.nms)[: self.max_detections]
        return {"boxes": chosen[keep], "labels": category[keep] + 1, "scores": scores[keep], "roi": roi[keep]}


def split_detections(detections: list[Rows]) -> tuple[list[Tensor], Tensor]:
    """Boxes ``(D, 4)`` per image, and the labels of all images joined."""
    return [found["boxes"] for found in detections], torch.cat([found["labels"] for found in detections])


def add_rows(detections: list[Rows], **joined: Tensor) -> list[Rows]:
    """Hand each image its rows of tensors that hold all images' detections one after the other."""
    counts = [found["boxes"].shape[0] for found in detections]
    parts = {name: torch.split(tensor, counts) for name, tensor in joined.items()}
    return [{**found, **{name: part[index] for name, part in parts.items()}} for index, found in enumerate(detections)]
