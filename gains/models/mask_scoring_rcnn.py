"""Mask Scoring R-CNN (Huang, Huang, Gong, Huang, Wang; CVPR 2019).

How sure a detector is of the class says little about how well the mask fits. A small head sees the RoI and the mask
that was drawn in it and estimates their IoU with the truth (section 3.2); a detection's score is then class score
times estimated IoU. Only the ranking changes, the masks are Mask R-CNN's. Nothing is left out. Different from the
paper: the estimate, which is unbounded, is clamped to [0, 1] before it multiplies the score. The release ranks boxes
by the plain class score when it computes box AP; here a detection has one score, the corrected one, for masks and
boxes alike, so that our box AP is not the published one: rank by ``class_scores``, which stay beside it, to compare
that.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gains.contract import Features, Rows, Sizes, Target
from gains.models.mask_rcnn import MaskBranch
from gains.models.parts.layers import conv_stack, he_init, normal_init, vector_stack
from gains.models.parts.roi.mask_head import MaskHead, mask_loss, mask_targets, own_class
from gains.models.parts.roi.mask_iou import mask_iou, visible_share
from gains.models.parts.roi.sampling import RoISamples


class MaskIoUHead(nn.Module):
    """Estimates how well a mask fits the object in its RoI.

    Args:
        channels_in: width of the RoI features.
        channels: width of the convolutions.
        width: of the two hidden fully connected layers.
        num_classes: K, without background.
    """

    def __init__(self, channels_in: int, channels: int, width: int, num_classes: int) -> None:
        super().__init__()
        last = nn.Conv2d(channels, channels, 3, stride=2, padding=1)
        he_init(last)
        self.convs = nn.Sequential(*conv_stack(channels_in + 1, channels, 3), last, nn.ReLU(inplace=True))
        self.vectors = vector_stack(channels * 7**2, width)
        self.predictor = nn.Linear(width, num_classes)
        normal_init(self.predictor, 0.01)

    def forward(self, pooled: Tensor, probabilities: Tensor) -> Tensor:
        """IoU per class ``(P, K)`` from RoI features ``(P, C, 14, 14)`` and mask probabilities ``(P, 28, 28)``."""
        masks = F.max_pool2d(probabilities[:, None], 2)
        vectors = self.convs(torch.cat([pooled, masks.to(pooled.dtype)], dim=1)).flatten(1)
        estimate: Tensor = self.predictor(self.vectors(vectors))
        return estimate


class MaskScoringBranch(MaskBranch):
    """Mask branch that also estimates the IoU of its masks.

    Args:
        head: class logits from RoI features.
        iou: estimates the IoU.
    """

    def __init__(self, head: MaskHead, iou: MaskIoUHead) -> None:
        super().__init__(head)
        self.iou = iou

    def roi_losses(self, pooled: Tensor, samples: RoISamples, targets: list[Target]) -> dict[str, Tensor]:
        """Mask R-CNN's ``loss_mask``, and ``loss_mask_iou``, whose gradient reaches the mask head as well."""
        labels = torch.cat(samples.labels)
        logits = self.head(pooled)
        target = mask_targets(samples, targets)
        own = own_class(logits, labels).float()
        estimate = own_class(self.iou(pooled, own.sigmoid()), labels)
        truth = mask_iou(own.detach() > 0, target, visible_share(samples, targets))
        return {"loss_mask": mask_loss(logits, labels, target), "loss_mask_iou": mask_iou_loss(estimate, truth)}

    def predict(self, features: Features, detections: list[Rows], sizes: Sizes) -> list[Rows]:
        """As Mask R-CNN's, with ``scores`` times the estimated IoU; the class score stays as ``class_scores``."""
        return [
            {**found, "scores": found["scores"] * found["mask_iou"], "class_scores": found["scores"]}
            for found in super().predict(features, detections, sizes)
        ]

    def roi_masks(self, pooled: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """As Mask R-CNN's, with the estimate ``mask_iou (D,)`` in [0, 1]."""
        masks = own_class(self.head(pooled), labels).float().sigmoid()
        return {
            "mask_probabilities": masks,
            "mask_iou": own_class(self.iou(pooled, masks), labels).float().clamp(0, 1),
        }


def mask_iou_loss(estimate: Tensor, truth: Tensor) -> Tensor:
    """Half the squared error of IoUs ``(P,)``, averaged over the masks that meet their instance at all; 0 without."""
    meets = truth > 0
    squared = (estimate.float() - truth) ** 2 * meets
    return 0.5 * squared.sum() / meets.sum().clamp(min=1)
