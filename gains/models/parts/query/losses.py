"""Losses of matched queries: class, mask and dice (Mask2Former family), and of the proposal map (FastInst)."""

import torch
from torch import Tensor
from torch.nn import functional as F

from gains.models.parts.dice import linear_dice
from gains.models.parts.normaliser import over_processes
from gains.models.parts.point_sampling import mask_sample, point_sample, sample_uncertain_points
from gains.models.parts.query.dual_path import QueryOutput
from gains.models.parts.query.matching import Match, Truth

NO_OBJECT_WEIGHT = 0.1


def wanted_classes(shape: tuple[int, int], no_object: int, truths: list[Truth], matches: list[Match]) -> Tensor:
    """Class ``(N, Q)`` of each query (or pixel): its instance's, or no-object."""
    device = matches[0][0].device
    classes = torch.full(shape, no_object, dtype=torch.int64, device=device)
    for row, truth, (queries, instances) in zip(classes, truths, matches, strict=True):
        row[queries] = truth.classes[instances]
    return classes


def class_loss(output: QueryOutput, truths: list[Truth], matches: list[Match]) -> Tensor:
    """Cross entropy over all queries, those without instance weighing a tenth; mean by weight."""
    logits = output.logits.float()
    no_object = logits.shape[2] - 1
    weight = torch.ones(no_object + 1, device=logits.device)
    weight[no_object] = NO_OBJECT_WEIGHT
    wanted = wanted_classes((logits.shape[0], logits.shape[1]), no_object, truths, matches)
    summed = F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), weight=weight, reduction="sum")
    return summed / over_processes(weight[wanted].sum(), NO_OBJECT_WEIGHT, summed)


def proposal_loss(logits: Tensor, truths: list[Truth], matches: list[Match]) -> Tensor:
    """Plain mean cross entropy over all pixels of the proposal map ``(N, K+1, h, w)``."""
    flat = logits.float().flatten(2)
    wanted = wanted_classes((flat.shape[0], flat.shape[2]), flat.shape[1] - 1, truths, matches)
    return F.cross_entropy(flat, wanted, reduction="sum") / over_processes(wanted.numel(), 1, flat)


def mask_losses(
    output: QueryOutput, truths: list[Truth], matches: list[Match], size: tuple[int, int], num_points: int
) -> tuple[Tensor, Tensor]:
    """Binary cross entropy and dice of the matched masks on points, most of them where the prediction is undecided.

    Args:
        output: predictions of a layer.
        truths: of each image.
        matches: likewise.
        size: ``(height, width)`` of the padded input in pixels.
        num_points: points per mask.

    Returns:
        Both summed over matched pairs and divided by the number of instances in the batch of all processes (at least
        1). Without pairs zeros that keep the graph.
    """
    logits = torch.cat([masks[queries] for masks, (queries, _) in zip(output.masks, matches, strict=True)]).float()
    count = over_processes(sum(len(truth.classes) for truth in truths), 1, logits)
    if len(logits) == 0:
        nothing = output.masks.float().sum() * 0
        return nothing, nothing
    points = sample_uncertain_points(logits, num_points)
    predicted = point_sample(logits[:, None], points)[:, 0]
    pixels = torch.split(points * points.new_tensor([size[1], size[0]]), [len(queries) for queries, _ in matches])
    wanted = torch.cat(
        [
            mask_sample(truth.masks, instances, located)
            for truth, (_, instances), located in zip(truths, matches, pixels, strict=True)
        ]
    )
    crossed = F.binary_cross_entropy_with_logits(predicted, wanted, reduction="none").mean(1)
    return crossed.sum() / count, linear_dice(predicted.sigmoid(), wanted).sum() / count
