"""Region proposal network, torchvision's, with the settings that methods share spelt out."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops import box_iou

ANCHORS_PER_IMAGE = 256  # in the loss, at most half of them positive
PER_DETECTION = 3
"""Proposals at inference for each detection that may be kept; fewer would be a cap of their own."""

IOU_BLOCK = 16  # ground-truth boxes compared with all anchors at a time


class Anchors(AnchorGenerator):  # type: ignore[misc]
    """torchvision's anchors, in float32 whatever the precision of the features.

    bfloat16 has 8 bits of mantissa: coordinates above 256 would be whole multiples of 2, above 512 of 4.
    """

    def set_cell_anchors(self, dtype: torch.dtype, device: torch.device) -> None:
        """Keep the anchors of one location on the device, in float32."""
        super().set_cell_anchors(torch.float32, device)


class ProposalHead(RPNHead):  # type: ignore[misc]
    """torchvision's RPN head, its scores and box deltas in float32: proposals are decoded in the precision of these."""

    def forward(self, x: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Objectness ``(N, A, H, W)`` and deltas ``(N, 4A, H, W)`` of every level."""
        logits, deltas = super().forward(x)
        return [level.float() for level in logits], [level.float() for level in deltas]


class ProposalNetwork(RegionProposalNetwork):  # type: ignore[misc]
    """torchvision's RPN, which at inference proposes enough boxes for as many detections as may be kept.

    Attributes:
        detections: how many that are; it proposes at least three times as many.
    """

    detections = 0

    def pre_nms_top_n(self) -> int:
        """Proposals kept per level before NMS."""
        return self._enough(super().pre_nms_top_n())

    def post_nms_top_n(self) -> int:
        """Proposals kept per image after NMS."""
        return self._enough(super().post_nms_top_n())

    def _enough(self, count: int) -> int:
        return count if self.training else max(count, PER_DETECTION * self.detections)


def build_rpn(
    channels: int,
    anchor_sizes: Sequence[int] = (32, 64, 128, 256, 512),
    aspect_ratios: Sequence[float] = (0.5, 1.0, 2.0),
    pre_nms: tuple[int, int] | list[int] = (2000, 1000),
    post_nms: tuple[int, int] | list[int] = (1000, 1000),
    nms: float = 0.7,
) -> ProposalNetwork:
    """RPN on pyramid levels P2..P6 (Ren et al. 2015).

    Args:
        channels: width of the pyramid levels.
        anchor_sizes: side in pixels of the square anchor, one per level.
        aspect_ratios: height / width of the anchors at every location.
        pre_nms: proposals kept per level before NMS, (training, test).
        post_nms: proposals kept per image after NMS, (training, test).
        nms: IoU above which the lower-scored of two proposals is dropped.
    """
    generator = Anchors(tuple((size,) for size in anchor_sizes), (tuple(aspect_ratios),) * len(anchor_sizes))
    rpn = ProposalNetwork(
        generator,
        ProposalHead(channels, generator.num_anchors_per_location()[0]),
        fg_iou_thresh=0.7,
        bg_iou_thresh=0.3,
        batch_size_per_image=ANCHORS_PER_IMAGE,
        positive_fraction=0.5,
        pre_nms_top_n={"training": pre_nms[0], "testing": pre_nms[1]},
        post_nms_top_n={"training": post_nms[0], "testing": post_nms[1]},
        nms_thresh=nms,
    )
    rpn.box_similarity = anchor_iou
    return rpn


def anchor_iou(truth: Tensor, anchors: Tensor) -> Tensor:
    """IoU ``(N, A)`` of boxes ``(N, 4)`` and ``(A, 4)``, xyxy, some rows at a time.

    ``box_iou`` holds six times its result, which for 400 instances and the anchors of a large image is gigabytes.
    """
    iou = truth.new_empty(len(truth), len(anchors))
    for rows, boxes in zip(torch.split(iou, IOU_BLOCK), torch.split(truth, IOU_BLOCK), strict=True):
        rows.copy_(box_iou(boxes, anchors))
    return iou
