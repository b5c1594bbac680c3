"""Cascade Mask R-CNN (Cai, Vasconcelos; "Cascade R-CNN", CVPR 2018 and TPAMI 2019).

One box head trained at IoU 0.5 leaves noisy boxes, one trained at 0.7 sees too few positives. Three heads in a row with
thresholds 0.5, 0.6 and 0.7 each refine the boxes of the one before (section 4 of the CVPR paper;
:mod:`gains.models.parts.roi.cascade`), so that every head meets boxes of the quality it is trained for. Two forms are
in use and differ in more than detail:

- ``model=cascade_rcnn``, the form of detectron2: RoIs are drawn once and matched anew in every stage, all stages weigh
  1, the gradient into the pyramid is divided by their number, and one plain mask head trains on the first stage's RoIs.
- ``model=cascade_rcnn_b``, the form of mmdetection and the ground HTC stands on: every stage draws its own RoIs, stages
  weigh 1, 0.5 and 0.25, and each has a mask head (:class:`CascadeMaskBranch`).

Both average class probabilities over stages (mmdetection averages logits), each stage judging the boxes it was given,
and use the L1 box loss of all methods here (mmdetection: smooth L1, beta 1). The original program has the heads of
all stages judge the third stage's boxes instead, once these are found. Training keeps 1000 proposals per image, as
everywhere here; both published forms keep 2000.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from gains.contract import Features, Rows, Sizes, Target
from gains.models.parts.detections import add_rows, split_detections
from gains.models.parts.roi.box_branch import roi_pooler
from gains.models.parts.roi.cascade import CascadeSamples
from gains.models.parts.roi.mask_head import MaskHead, mask_loss, mask_targets, own_class
from gains.models.parts.roi.sampling import RoISamples


class CascadeMaskBranch(nn.Module):
    """A mask head per stage of the cascade; a detection's mask is the mean of what all heads draw in its final box.

    Args:
        head: makes a stage's mask head.
        loss_weights: factor of the mask loss, per stage.
    """

    def __init__(self, head: Callable[[], MaskHead], loss_weights: Sequence[float] = (1.0, 0.5, 0.25)) -> None:
        super().__init__()
        self.pooler = roi_pooler(14)
        self.heads = nn.ModuleList(head() for _ in loss_weights)
        self.loss_weights = list(loss_weights)

    def stage_logits(self, pooled: Tensor, stage: int) -> Tensor:
        """Logits ``(P, K, 28, 28)`` of one stage, from 0, for RoI features ``(P, C, 14, 14)``."""
        logits: Tensor = self.heads[stage](pooled)
        return logits

    def all_logits(self, pooled: Tensor) -> list[Tensor]:
        """Logits of every stage for the same RoI features."""
        return [self.stage_logits(pooled, stage) for stage in range(len(self.heads))]

    def losses(self, features: Features, samples: RoISamples, sizes: Sizes, targets: list[Target]) -> dict[str, Tensor]:
        """Mask loss of each stage on that stage's foreground RoIs, named with the stage from 1.

        Raises:
            ValueError: if the samples do not come from a cascade of as many stages.
        """
        if not isinstance(samples, CascadeSamples) or len(samples.stages) != len(self.heads):
            raise ValueError(f"{len(self.heads)} mask heads need a CascadeBoxBranch of as many stages")
        losses = {}
        for stage, of_stage in enumerate(samples.stages):
            chosen = of_stage.positives()
            logits = self.stage_logits(self.pooler(features, chosen.boxes, sizes), stage)
            loss = mask_loss(logits, torch.cat(chosen.labels), mask_targets(chosen, targets))
            losses[f"loss_mask_{stage + 1}"] = self.loss_weights[stage] * loss
        return losses

    def predict(self, features: Features, detections: list[Rows], sizes: Sizes) -> list[Rows]:
        """Add ``mask_probabilities (D, M, M)``, the mean over stages."""
        boxes, labels = split_detections(detections)
        logits = self.all_logits(self.pooler(features, boxes, sizes))
        probabilities = torch.stack([own_class(of_stage, labels).float().sigmoid() for of_stage in logits])
        return add_rows(detections, mask_probabilities=probabilities.mean(0))
