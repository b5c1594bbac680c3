"""Cascaded box refinement: box heads in a row, each starting from the boxes of the last (Cai, Vasconcelos 2018)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.ops import clip_boxes_to_image

from gains.contract import Features, Rows, Sizes, Target
from gains.models.parts.roi.box_branch import BoxHead, filter_boxes
from gains.models.parts.roi.sampling import RoISampler, RoISamples, match
from gains.operating_point import OperatingPoint


@dataclass(frozen=True)
class CascadeSamples(RoISamples):
    """RoIs of a cascade: itself the first stage's, as any mask branch takes them.

    Attributes:
        stages: the RoIs on which the mask head of each stage trains, for mask branches with several.
    """

    stages: list[RoISamples]


class _ScaleGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * ctx.factor, None


def scale_gradient(values: Tensor, factor: float) -> Tensor:
    """The same values, whose gradient on the way back is multiplied by a factor."""
    if factor == 1:
        return values
    scaled: Tensor = _ScaleGradient.apply(values, factor)
    return scaled


class CascadeBoxBranch(nn.Module):
    """Box heads in a row, with a higher IoU threshold and finer deltas in each.

    Scores are the mean over stages of the class probabilities, each stage judging its own input boxes; the boxes are
    the last stage's.

    Args:
        head: makes a stage's box head from its ``delta_weights``; deltas must be class-agnostic, for a stage cannot
            know which class's box to hand on.
        sampler: makes a stage's sampler from its ``iou``.
        ious: IoU from which a RoI is foreground, per stage.
        delta_weights: per stage, see :class:`BoxHead`.
        loss_weights: factor of the losses, per stage.
        resample: every stage draws a new sample from the refined boxes, with the ground truth appended again (True), or
            matches anew all RoIs that the first stage drew (False).
        gradient_scale: factor of the gradient that box heads send into the pyramid.
        interleaved: mask heads train on the RoIs that their stage's box head has refined instead of on those it was
            given (HTC).

    Raises:
        ValueError: if the settings differ in their number of stages, or deltas are per class.
    """

    def __init__(
        self,
        head: Callable[..., BoxHead],
        sampler: Callable[..., RoISampler],
        ious: Sequence[float] = (0.5, 0.6, 0.7),
        delta_weights: Sequence[Sequence[float]] = ((10, 10, 5, 5), (20, 20, 10, 10), (30, 30, 15, 15)),
        loss_weights: Sequence[float] = (1.0, 1.0, 1.0),
        resample: bool = False,
        gradient_scale: float = 1 / 3,
        interleaved: bool = False,
    ) -> None:
        super().__init__()
        if not len(ious) == len(delta_weights) == len(loss_weights):
            raise ValueError(
                f"a cascade needs ious, delta_weights and loss_weights of one length, "
                f"got {len(ious)}, {len(delta_weights)} and {len(loss_weights)}"
            )
        self.heads = nn.ModuleList(head(delta_weights=tuple(weights)) for weights in delta_weights)
        if any(stage.predictor.bbox_pred.out_features != 4 for stage in self.heads):  # type: ignore[union-attr]
            raise ValueError("the heads of a cascade need class_agnostic=true")
        self.samplers = [sampler(iou=iou) for iou in ious]
        self.loss_weights = list(loss_weights)
        self.resample = resample
        self.gradient_scale = gradient_scale
        self.interleaved = interleaved

    def losses(
        self, features: Features, proposals: list[Tensor], sizes: Sizes, targets: list[Target]
    ) -> tuple[dict[str, Tensor], CascadeSamples]:
        """Box losses of all stages, each named with its stage from 1, and the RoIs for the mask branch."""
        losses: dict[str, Tensor] = {}
        given, for_masks = [], []
        boxes = proposals
        for stage, (head, sampler) in enumerate(zip(self.heads, self.samplers, strict=True)):
            assert isinstance(head, BoxHead)
            samples = match(boxes, targets, sampler.iou) if stage and not self.resample else sampler(boxes, targets)
            output = head(scale_gradient(head.pool(features, samples.boxes, sizes), self.gradient_scale))
            for name, loss in head.losses(output, samples).items():
                losses[f"{name}_{stage + 1}"] = self.loss_weights[stage] * loss
            boxes = self._hand_on(head.decode(output, samples.boxes), samples, sizes)
            given.append(samples)
            for_masks.append(sampler(boxes, targets) if self.interleaved else samples)
        first = given[0]
        return losses, CascadeSamples(first.boxes, first.labels, first.matched, first.matched_boxes, for_masks)

    def _hand_on(self, decoded: list[Tensor], samples: RoISamples, sizes: Sizes) -> list[Tensor]:
        """Refined boxes ``(R', 4)`` per image, without gradient, for the next stage's training.

        Boxes refined to nothing are dropped, and where the next stage appends the ground truth again, so are those that
        came from it (they equal the box they are matched with).
        """
        boxes = []
        for index, size in enumerate(sizes):
            refined = clip_boxes_to_image(decoded[index][:, 0].detach(), size)
            keep = (refined[:, 2:] > refined[:, :2]).all(1)
            if self.resample:
                was_truth = (samples.boxes[index] == samples.matched_boxes[index]).all(1)
                keep &= ~(was_truth & (samples.labels[index] > 0))
            boxes.append(refined[keep])
        return boxes

    def detect(self, features: Features, proposals: list[Tensor], sizes: Sizes, point: OperatingPoint) -> list[Rows]:
        """Detections of each image, see :func:`filter_boxes`; no box is dropped between stages."""
        boxes, decoded, probabilities = proposals, [], []
        for head in self.heads:
            assert isinstance(head, BoxHead)
            output = head(head.pool(features, boxes, sizes))
            probabilities.append(output.logits.float().softmax(-1))
            decoded = head.decode(output, boxes)
            boxes = [clip_boxes_to_image(refined[:, 0], size) for refined, size in zip(decoded, sizes, strict=True)]
        return filter_boxes(point, decoded, torch.stack(probabilities).mean(0), sizes)
