"""Dice losses (Milletari et al. 2016) in the two forms in use, which are not interchangeable."""

import torch
from torch import Tensor


def squared_dice(probabilities: Tensor, truth: Tensor) -> Tensor:
    """``1 - 2 sum(p t) / (sum(p^2) + sum(t^2) + 1e-5)`` of each row (CondInst, equation 3).

    Args:
        probabilities: ``(P, ...)`` in [0, 1].
        truth: same shape, in {0, 1}.

    Returns:
        ``(P,)`` in [0, 1]; close to 1 for an empty truth, whatever the prediction.
    """
    p, t = probabilities.flatten(1), truth.flatten(1).to(probabilities)
    return 1 - 2 * (p * t).sum(1) / (p.square().sum(1) + t.square().sum(1) + 1e-5)


def linear_dice(probabilities: Tensor, truth: Tensor) -> Tensor:
    """``1 - (2 sum(p t) + 1) / (sum(p) + sum(t) + 1)`` of each row (MaskFormer family).

    Args:
        probabilities: ``(P, S)`` in [0, 1].
        truth: same shape, in [0, 1].

    Returns:
        ``(P,)``; 0 where both are empty.
    """
    truth = truth.to(probabilities)
    return 1 - (2 * (probabilities * truth).sum(1) + 1) / (probabilities.sum(1) + truth.sum(1) + 1)


def pairwise_linear_dice(probabilities: Tensor, truth: Tensor) -> Tensor:
    """:func:`linear_dice` of every row ``(Q, S)`` with every row ``(G, S)``: ``(Q, G)``."""
    truth = truth.to(probabilities)
    both = torch.einsum("qs,gs->qg", probabilities, truth)
    return 1 - (2 * both + 1) / (probabilities.sum(1)[:, None] + truth.sum(1)[None] + 1)
