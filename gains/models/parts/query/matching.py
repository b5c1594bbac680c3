"""One-to-one matching of queries and instances (Carion et al., DETR, 2020), with FastInst's location cost."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F

from gains.masks import InstanceCrops
from gains.models.parts.dice import pairwise_linear_dice
from gains.models.parts.point_sampling import mask_sample, point_sample
from gains.models.parts.query.dual_path import QueryOutput
from gains.models.parts.query.proposal import Proposals

CLASS_COST, MASK_COST, DICE_COST, LOCATION_COST = 2.0, 5.0, 5.0, 1000.0
"""The location cost rules: an instance takes a query that lies inside it whenever there is one."""


@dataclass(frozen=True)
class Truth:
    """Ground truth of one image as queries see it.

    Attributes:
        classes: ``(G,)`` int64 from 0.
        masks: instances in network coordinates.
        grid: ``(G, H/8, W/8)`` uint8, masks by nearest neighbour.
        touched: ``(G, H/16, W/16)`` bool, cells that hold a pixel of the mask.
    """

    classes: Tensor
    masks: InstanceCrops
    grid: Tensor
    touched: Tensor


Match = tuple[Tensor, Tensor]
"""Indices of the matched queries (or pixels) and of their instances, both ``(P,)`` int64, P = min(Q, G)."""


def hungarian(costs: list[Tensor]) -> list[Match]:
    """Cheapest one-to-one assignment of each table ``(Q, G)``; empty where either side is."""
    # All tables leave the device together, so that it is waited for once.
    together = torch.cat([cost.detach().float().flatten() for cost in costs]).cpu()
    matches = []
    for cost, values in zip(costs, torch.split(together, [cost.numel() for cost in costs]), strict=True):
        # Not a number or infinite costs (a diverged run) must not end it inside SciPy.
        table = np.nan_to_num(values.reshape(cost.shape).numpy(), nan=1e6, posinf=1e6, neginf=-1e6)
        rows, columns = linear_sum_assignment(table)
        matches.append((torch.as_tensor(rows, device=cost.device), torch.as_tensor(columns, device=cost.device)))
    return matches


@torch.no_grad()
def match_queries(
    output: QueryOutput, locations: Tensor, truths: list[Truth], size: tuple[int, int], num_points: int
) -> list[Match]:
    """Match each image's queries to its instances by class, mask and place.

    Args:
        output: predictions of a layer.
        locations: ``(N, Q, 2)`` of the queries.
        truths: of each image.
        size: ``(height, width)`` of the padded input in pixels.
        num_points: random points on which masks are compared, the same for all queries and instances of an image.
    """
    costs = []
    scale = locations.new_tensor([size[1], size[0]])
    for logits, masks, places, truth in zip(output.logits, output.masks, locations, truths, strict=True):
        if len(truth.classes) == 0:
            costs.append(logits[:, :0])
            continue
        points = torch.rand(1, num_points, 2, device=logits.device)
        instances = torch.arange(len(truth.classes), device=logits.device)
        wanted = mask_sample(truth.masks, instances, (points * scale).expand(len(instances), -1, -1))
        inside = mask_sample(truth.masks, instances, (places * scale).expand(len(instances), -1, -1)) > 0
        predicted = point_sample(masks[None], points)[0]
        cost = CLASS_COST * -logits.float().softmax(1)[:, truth.classes]
        cost += MASK_COST * pairwise_bce(predicted, wanted) + DICE_COST * pairwise_linear_dice(
            predicted.sigmoid(), wanted
        )
        costs.append(cost - LOCATION_COST * inside.T)
    return hungarian(costs)


@torch.no_grad()
def match_pixels(proposals: Proposals, truths: list[Truth]) -> list[Match]:
    """Match each instance to the one pixel of the proposal map that shall propose it, by class and place."""
    costs = []
    for logits, truth in zip(proposals.logits, truths, strict=True):
        probability = logits.float().softmax(0)[truth.classes]
        cost = -CLASS_COST * probability - LOCATION_COST * truth.touched
        costs.append(cost.flatten(1).T)
    return hungarian(costs)


def pairwise_bce(logits: Tensor, truth: Tensor) -> Tensor:
    """Mean binary cross entropy of every row of logits ``(Q, S)`` with every row of truth ``(G, S)``: ``(Q, G)``."""
    # BCE(x, t) = softplus(x) - x t, so that one matrix product serves all pairs.
    return (F.softplus(logits).sum(1)[:, None] - logits @ truth.T) / logits.shape[1]
