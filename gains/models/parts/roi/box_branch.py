"""The box branch of a two-stage detector: sample, pool, classify, refine (Girshick 2015; Lin et al. 2017)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.faster_rcnn import TwoMLPHead
from torchvision.ops import MultiScaleRoIAlign
from torchvision.ops.poolers import LevelMapper

from gains.contract import Features, Rows, Sizes, Target
from gains.models.parts.detections import keep_detections
from gains.models.parts.roi.sampling import RoISampler, RoISamples
from gains.operating_point import OperatingPoint

LEVELS = (2, 3, 4, 5)
"""Pyramid levels that RoIs are pooled from; level k has the stride 2^k."""


def roi_pooler(output_size: int) -> MultiScaleRoIAlign:
    """RoIAlign on P2..P5, each RoI on the level that fits its size.

    Strides are given: left to itself torchvision guesses them from the first image that passes, before its padding, and
    keeps them.
    """
    pooler = MultiScaleRoIAlign(["0", "1", "2", "3"], output_size=output_size, sampling_ratio=2)
    pooler.scales = [2.0**-level for level in LEVELS]
    pooler.map_levels = LevelMapper(LEVELS[0], LEVELS[-1])
    return pooler


class BoxPredictor(nn.Module):
    """Class logits ``(R, K+1)`` and box deltas ``(R, D, 4)`` from RoI vectors ``(R, width)``.

    Args:
        width: length of the RoI vectors.
        num_classes: K, without background.
        class_agnostic: one delta per RoI (D = 1) instead of one per class (D = K+1, column 0 unused).
    """

    def __init__(self, width: int, num_classes: int, class_agnostic: bool = False) -> None:
        super().__init__()
        self.cls_score = nn.Linear(width, num_classes + 1)
        self.bbox_pred = nn.Linear(width, 4 if class_agnostic else 4 * (num_classes + 1))

    def forward(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Predict for every RoI."""
        return self.cls_score(vectors), self.bbox_pred(vectors).unflatten(1, (-1, 4))


@dataclass(frozen=True)
class BoxOutput:
    """Logits ``(R, K+1)`` and deltas ``(R, D, 4)`` of all RoIs of a batch, image after image."""

    logits: Tensor
    deltas: Tensor


class BoxHead(nn.Module):
    """RoIs to class logits and box deltas: 7x7 RoIAlign, two fully connected layers, two linear outputs.

    Args:
        channels: width of the pyramid levels.
        num_classes: K, without background.
        width: of the two hidden layers.
        class_agnostic: see :class:`BoxPredictor`.
        delta_weights: scale of (dx, dy, dw, dh); larger for later cascade stages, whose corrections are smaller.
    """

    def __init__(
        self,
        channels: int,
        num_classes: int,
        width: int = 1024,
        class_agnostic: bool = False,
        delta_weights: tuple[float, float, float, float] = (10.0, 10.0, 5.0, 5.0),
    ) -> None:
        super().__init__()
        self.pooler = roi_pooler(7)
        self.head = TwoMLPHead(channels * 7**2, width)
        self.predictor = BoxPredictor(width, num_classes, class_agnostic)
        self.coder = BoxCoder(delta_weights)

    def pool(self, features: Features, boxes: list[Tensor], sizes: Sizes) -> Tensor:
        """RoI features ``(R, C, 7, 7)`` of all images' boxes."""
        pooled: Tensor = self.pooler(features, boxes, sizes)
        return pooled

    def forward(self, pooled: Tensor) -> BoxOutput:
        """Predict from RoI features ``(R, C, 7, 7)``."""
        return BoxOutput(*self.predictor(self.head(pooled)))

    def decode(self, output: BoxOutput, boxes: list[Tensor]) -> list[Tensor]:
        """Refined boxes ``(R, D, 4)`` per image."""
        joined = torch.cat(boxes)
        count = output.deltas.shape[1]
        flat = self.coder.decode_single(output.deltas.flatten(1).float(), joined)
        return list(flat.reshape(-1, count, 4).split([box.shape[0] for box in boxes]))

    def own_deltas(self, output: BoxOutput, labels: Tensor) -> Tensor:
        """Deltas ``(R, 4)`` of each RoI's own class ``(R,)`` (the only ones where deltas are class-agnostic)."""
        if output.deltas.shape[1] == 1:
            return output.deltas[:, 0]
        return output.deltas[torch.arange(len(labels), device=labels.device), labels]

    @torch.no_grad()
    def own_boxes(self, output: BoxOutput, boxes: Tensor, labels: Tensor) -> Tensor:
        """Boxes ``(R, 4)`` refined by the deltas of each RoI's own class ``(R,)``, without gradient."""
        refined: Tensor = self.coder.decode_single(self.own_deltas(output, labels).float(), boxes)
        return refined

    def regression_residual(self, output: BoxOutput, samples: RoISamples) -> Tensor:
        """Absolute error of the deltas ``(P, 4)`` of the foreground RoIs, in sample order."""
        labels = torch.cat(samples.labels)
        foreground = torch.where(labels > 0)[0]
        truth = self.coder.encode_single(
            torch.cat(samples.matched_boxes)[foreground], torch.cat(samples.boxes)[foreground]
        )
        predicted = self.own_deltas(output, labels)[foreground].float()
        return F.l1_loss(predicted, truth, reduction="none")

    def losses(self, output: BoxOutput, samples: RoISamples) -> dict[str, Tensor]:
        """Cross entropy averaged over all R RoIs, and L1 of the foreground deltas, summed and divided by R."""
        labels = torch.cat(samples.labels)
        count = max(len(labels), 1)
        return {
            "loss_classifier": F.cross_entropy(output.logits.float(), labels, reduction="sum") / count,
            "loss_box_reg": self.regression_residual(output, samples).sum() / count,
        }


class BoxBranch(nn.Module):
    """The box stage of Faster R-CNN: trains on a sample of the proposals, refines all of them at inference.

    Args:
        head: predicts classes and deltas.
        sampler: draws the RoIs that the box and mask branches train on.
    """

    def __init__(self, head: BoxHead, sampler: RoISampler) -> None:
        super().__init__()
        self.head = head
        self.sampler = sampler

    def losses(
        self, features: Features, proposals: list[Tensor], sizes: Sizes, targets: list[Target]
    ) -> tuple[dict[str, Tensor], RoISamples]:
        """Box losses of the batch, and the RoIs on which the mask branch is to train."""
        samples = self.sampler(proposals, targets)
        output = self.head(self.head.pool(features, samples.boxes, sizes))
        return self.head.losses(output, samples), self.for_masks(output, samples)

    def for_masks(self, output: BoxOutput, samples: RoISamples) -> RoISamples:
        """The RoIs on which the mask branch is to train: those that the box branch has trained on."""
        return samples

    def detect(self, features: Features, proposals: list[Tensor], sizes: Sizes, point: OperatingPoint) -> list[Rows]:
        """Detections of each image, see :func:`keep_detections`."""
        output = self.head(self.head.pool(features, proposals, sizes))
        return filter_boxes(point, self.head.decode(output, proposals), output.logits.float().softmax(-1), sizes)


def filter_boxes(point: OperatingPoint, decoded: list[Tensor], probabilities: Tensor, sizes: Sizes) -> list[Rows]:
    """Detections of a batch from all its refined boxes.

    Args:
        point: what counts as a detection.
        decoded: ``(R, D, 4)`` per image; D = K+1 with background in column 0, or 1 box for all classes.
        probabilities: ``(sum R, K+1)`` class probabilities of all images' RoIs in order.
        sizes: of the images.
    """
    parts = torch.split(probabilities, [boxes.shape[0] for boxes in decoded])
    return [
        keep_detections(
            point,
            boxes[:, 1:] if boxes.shape[1] > 1 else boxes.expand(-1, scores.shape[1] - 1, 4),
            scores[:, 1:],
            size,
        )
        for boxes, scores, size in zip(decoded, parts, sizes, strict=True)
    ]
