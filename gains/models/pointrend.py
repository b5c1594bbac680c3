"""PointRend (Kirillov, Wu, He, Girshick; CVPR 2020) for instance segmentation.

A mask is rendered: a coarse 7x7 grid says where the object is, and a small network, applied point by point to fine
features and the coarse prediction (section 3.2), decides where a boundary runs. It trains on points where the coarse
mask is undecided, and at inference is asked only about the undecided cells of a grid that doubles its resolution
up to 224 (section 3.1). As published, the mask branch trains on the boxes that the box branch predicts.

Nothing is left out. The first two subdivision steps are one: up to 28x28 every cell would be asked anyway.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gains.contract import Features, Rows, Sizes, Target
from gains.models.parts.detections import add_rows
from gains.models.parts.layers import he_init, normal_init, vector_stack
from gains.models.parts.point_sampling import (
    box_to_image,
    cell_centres,
    feature_sample,
    mask_sample,
    point_sample,
    sample_uncertain_points,
)
from gains.models.parts.roi.box_branch import BoxBranch, BoxOutput
from gains.models.parts.roi.mask_head import mask_loss, mask_targets, own_class
from gains.models.parts.roi.sampling import RoISamples

STRIDE = 4  # of the pyramid level "0", the only one used here
COARSE_SIDE = 7
TRAINING_POINTS = 14 * 14
INITIAL_SIDE = 28  # the doublings before it have no more cells than a step has points: every cell would be asked
FINAL_SIDE = 224
STEP_POINTS = 28 * 28
DETECTIONS_AT_ONCE = 64  # rendered together; bounds the memory of the point features

PointLogits = Callable[[Tensor], Tensor]
"""Gives the logit ``(D, P)`` of each object's class at points ``(D, P, 2)`` relative to its box."""


class PointRendBoxBranch(BoxBranch):
    """Box branch that hands its refined boxes, not the proposals, to the mask branch."""

    def for_masks(self, output: BoxOutput, samples: RoISamples) -> RoISamples:
        """The RoIs with their boxes refined for the class they train on; background stays where it is."""
        labels, boxes = torch.cat(samples.labels), torch.cat(samples.boxes)
        refined = self.head.own_boxes(output, boxes, labels)
        moved = torch.where(labels[:, None] > 0, refined, boxes)
        return replace(samples, boxes=list(torch.split(moved, [len(part) for part in samples.boxes])))


class CoarseMaskHead(nn.Module):
    """Coarse masks: 14x14 points of the finest level, one convolution that halves them, three fully connected layers.

    Args:
        channels_in: width of the pyramid level.
        channels: width of the convolution.
        width: of the two hidden fully connected layers.
        num_classes: K, without background.
    """

    def __init__(self, channels_in: int, channels: int, width: int, num_classes: int) -> None:
        super().__init__()
        reduce = nn.Conv2d(channels_in, channels, 2, stride=2)
        he_init(reduce)
        self.num_classes = num_classes
        self.reduce = nn.Sequential(reduce, nn.ReLU(inplace=True))
        self.vectors = vector_stack(channels * COARSE_SIDE**2, width)
        self.predictor = nn.Linear(width, num_classes * COARSE_SIDE**2)
        normal_init(self.predictor, 0.001)

    def forward(self, level: Tensor, boxes: list[Tensor]) -> Tensor:
        """Class logits ``(P, K, 7, 7)`` of boxes ``(P, 4)`` per image on a level ``(N, C, H, W)``."""
        grid = cell_centres(2 * COARSE_SIDE, level.device)
        points = [box_to_image(grid.expand(len(box), -1, -1), box) for box in boxes]
        sampled = feature_sample(level, points, STRIDE)
        reduced = self.reduce(sampled.reshape(*sampled.shape[:2], 2 * COARSE_SIDE, 2 * COARSE_SIDE))
        logits: Tensor = self.predictor(self.vectors(reduced.flatten(1)))
        return logits.reshape(len(logits), self.num_classes, COARSE_SIDE, COARSE_SIDE)


class PointHead(nn.Module):
    """The same small network at every point; each of its layers sees the coarse prediction anew.

    Args:
        channels_in: width of the fine features.
        channels: width of the three hidden layers.
        num_classes: K, without background.
    """

    def __init__(self, channels_in: int, channels: int, num_classes: int) -> None:
        super().__init__()
        widths = [channels_in, channels, channels]
        layers = [nn.Conv1d(width + num_classes, channels, 1) for width in widths]
        for layer in layers:
            he_init(layer)
        self.hidden = nn.ModuleList(layers)
        self.predictor = nn.Conv1d(channels + num_classes, num_classes, 1)
        normal_init(self.predictor, 0.001)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """Class logits ``(R, K, P)`` from fine features ``(R, C, P)`` and coarse logits ``(R, K, P)``."""
        values = fine
        for layer in self.hidden:
            values = F.relu(layer(torch.cat([values, coarse.to(values.dtype)], dim=1)), inplace=True)
        logits: Tensor = self.predictor(torch.cat([values, coarse.to(values.dtype)], dim=1))
        return logits


class PointRendMaskBranch(nn.Module):
    """Coarse masks, refined at points.

    Args:
        head: draws the coarse masks.
        point: decides at points.
    """

    def __init__(self, head: CoarseMaskHead, point: PointHead) -> None:
        super().__init__()
        self.head = head
        self.point = point

    def losses(self, features: Features, samples: RoISamples, sizes: Sizes, targets: list[Target]) -> dict[str, Tensor]:
        """``loss_mask`` of the coarse masks and ``loss_point`` of the refined points of the foreground RoIs."""
        samples = samples.positives()
        labels = torch.cat(samples.labels)
        coarse = self.head(features["0"], samples.boxes)
        points = sample_uncertain_points(own_class(coarse, labels).detach(), TRAINING_POINTS)
        parts = torch.split(points, [len(boxes) for boxes in samples.boxes])
        located = [box_to_image(part, boxes) for part, boxes in zip(parts, samples.boxes, strict=True)]
        logits = self.point(feature_sample(features["0"], located, STRIDE), point_sample(coarse, points))
        truth = torch.cat(
            [
                mask_sample(target["masks"], matched, part)
                for target, matched, part in zip(targets, samples.matched, located, strict=True)
            ]
        )
        coarse_truth = mask_targets(samples, targets, size=COARSE_SIDE)
        return {
            "loss_mask": mask_loss(coarse, labels, coarse_truth),
            "loss_point": mask_loss(logits, labels, truth),
        }

    def predict(self, features: Features, detections: list[Rows], sizes: Sizes) -> list[Rows]:
        """Add ``mask_probabilities (D, 224, 224)`` of the detected class to each image's detections."""
        rendered = []
        for level, found in zip(features["0"], detections, strict=True):
            parts = zip(
                torch.split(found["boxes"], DETECTIONS_AT_ONCE),
                torch.split(found["labels"], DETECTIONS_AT_ONCE),
                strict=True,
            )
            rendered += [self._render(level[None], boxes, labels) for boxes, labels in parts]
        return add_rows(detections, mask_probabilities=torch.cat(rendered).sigmoid())

    def _render(self, level: Tensor, boxes: Tensor, labels: Tensor) -> Tensor:
        """Mask logits ``(D, 224, 224)`` of one image's detections."""
        coarse = self.head(level, [boxes])

        def logits_at(points: Tensor) -> Tensor:
            fine = feature_sample(level, [box_to_image(points, boxes)], STRIDE)
            return own_class(self.point(fine, point_sample(coarse, points)), labels).float()

        return render(logits_at, len(boxes), level.device)


def render(logits_at: PointLogits, count: int, device: torch.device | None = None) -> Tensor:
    """Adaptive subdivision: every cell of a 28x28 grid, then the undecided cells of grids twice as fine.

    Args:
        logits_at: the point head on ``count`` objects.
        count: number of objects D.
        device: where to compute.

    Returns:
        Logits ``(D, 224, 224)``.
    """
    grid = cell_centres(INITIAL_SIDE, device).expand(count, -1, -1)
    logits = logits_at(grid).reshape(count, INITIAL_SIDE, INITIAL_SIDE)
    while logits.shape[-1] < FINAL_SIDE:
        logits = subdivide(logits, logits_at)
    return logits


def subdivide(logits: Tensor, logits_at: PointLogits, points: int = STEP_POINTS) -> Tensor:
    """Double the resolution of logits ``(D, S, S)``: bilinear, and asked anew in the cells closest to 0."""
    finer = F.interpolate(logits[:, None], scale_factor=2, mode="bilinear", align_corners=False)[:, 0]
    side = finer.shape[-1]
    cells = finer.flatten(1)
    undecided = cells.abs().topk(points, dim=1, largest=False).indices
    asked = logits_at(cell_centres(side, logits.device)[undecided])
    return cells.scatter(1, undecided, asked).reshape(-1, side, side)
