"""Which proposals a RoI head trains on, and which ground truth each belongs to."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler, Matcher
from torchvision.ops import box_iou

from gains.contract import Target


@dataclass(frozen=True)
class RoISamples:
    """The RoIs of a batch that a head trains on, per image.

    Attributes:
        boxes: ``(R, 4)`` xyxy in network input pixels, without gradient.
        labels: ``(R,)`` int64; 0 is background.
        matched: ``(R,)`` index of the ground truth with the highest IoU (0 for background and where there is none).
        matched_boxes: ``(R, 4)`` box of that ground truth; zeros where there is none.
    """

    boxes: list[Tensor]
    labels: list[Tensor]
    matched: list[Tensor]
    matched_boxes: list[Tensor]

    def select(self, keep: list[Tensor]) -> "RoISamples":
        """The RoIs of the given indices ``(S,)`` (or boolean masks ``(R,)``) per image."""
        parts = (self.boxes, self.labels, self.matched, self.matched_boxes)
        return RoISamples(*([values[index] for values, index in zip(part, keep, strict=True)] for part in parts))

    def positives(self) -> "RoISamples":
        """Only the foreground RoIs."""
        return self.select([torch.where(labels > 0)[0] for labels in self.labels])


def match(boxes: list[Tensor], targets: list[Target], iou: float) -> RoISamples:
    """Give every box ``(R, 4)`` the ground truth of highest IoU if that reaches ``iou``, else background."""
    matcher = Matcher(iou, iou, allow_low_quality_matches=False)
    labels, matched, matched_boxes = [], [], []
    for candidates, target in zip(boxes, targets, strict=True):
        truth = target["boxes"].to(candidates.device)
        if len(truth) == 0 or len(candidates) == 0:
            labels.append(candidates.new_zeros(len(candidates), dtype=torch.int64))
            matched.append(candidates.new_zeros(len(candidates), dtype=torch.int64))
            matched_boxes.append(torch.zeros_like(candidates))
            continue
        best = matcher(box_iou(truth, candidates))
        index = best.clamp(min=0)
        labels.append(torch.where(best >= 0, target["labels"][index], 0))
        matched.append(index)
        matched_boxes.append(truth[index])
    return RoISamples(boxes, labels, matched, matched_boxes)


class RoISampler:
    """Match proposals to the ground truth and draw a balanced sample (Girshick 2015).

    Args:
        rois_per_image: size of the sample.
        positive_fraction: share of it that is foreground at most.
        iou: from which a proposal is foreground.
        add_truth: append the ground-truth boxes to the proposals, so that there are positives from the first step.
    """

    def __init__(
        self, rois_per_image: int = 512, positive_fraction: float = 0.25, iou: float = 0.5, add_truth: bool = True
    ) -> None:
        self.iou = iou
        self.add_truth = add_truth
        self.draw = BalancedPositiveNegativeSampler(rois_per_image, positive_fraction)

    def match(self, proposals: list[Tensor], targets: list[Target]) -> RoISamples:
        """Match all proposals ``(R, 4)`` of each image, with the ground truth appended where so configured."""
        boxes = [proposal.detach() for proposal in proposals]
        if self.add_truth:
            boxes = [
                torch.cat([box, target["boxes"].to(box.device)]) for box, target in zip(boxes, targets, strict=True)
            ]
        return match(boxes, targets, self.iou)

    def __call__(self, proposals: list[Tensor], targets: list[Target]) -> RoISamples:
        """Match and sample."""
        candidates = self.match(proposals, targets)
        positive, negative = self.draw(candidates.labels)
        keep = [torch.where(pos.bool() | neg.bool())[0] for pos, neg in zip(positive, negative, strict=True)]
        return candidates.select(keep)
