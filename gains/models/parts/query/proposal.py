"""Instance-activation-guided queries (FastInst, section 3.3): queries begin as the most instance-like pixels."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Proposals:
    """Queries of a batch, and the map they were chosen from.

    Attributes:
        features: ``(N, Q, C)`` content, with gradient.
        positions: ``(N, Q, C)`` position embeddings.
        locations: ``(N, Q, 2)`` (x, y) relative to the padded input, in [0, 1].
        logits: ``(N, K+1, h, w)`` class logits of all pixels, the last channel no-object.
    """

    features: Tensor
    positions: Tensor
    locations: Tensor
    logits: Tensor


class QueryProposal(nn.Module):
    """Classifies every pixel and takes the most instance-like.

    Args:
        channels: width C.
        num_classes: K, without no-object.
        queries: wanted Q; a map with fewer pixels gives one query per pixel.
    """

    def __init__(self, channels: int, num_classes: int, queries: int = 100) -> None:
        super().__init__()
        self.queries = queries
        self.classify = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, num_classes + 1, 1),
        )

    def forward(self, features: Tensor, positions: Tensor) -> Proposals:
        """Choose queries.

        Args:
            features: ``(N, C, h, w)`` E4.
            positions: ``(1, C, h, w)`` its position embedding.
        """
        logits = self.classify(features)
        height, width = features.shape[-2:]
        scores = activation(logits.detach().float().softmax(1)[:, :-1]).flatten(1)
        chosen = scores.topk(min(self.queries, height * width), dim=1).indices
        row, column = chosen // width, chosen % width
        # Corner-aligned, as in the release, although pixel centres would be half a pixel further in.
        locations = torch.stack([column / max(width - 1, 1), row / max(height - 1, 1)], dim=2)
        index = chosen[:, None].expand(-1, features.shape[1], -1)
        return Proposals(
            features.flatten(2).gather(2, index).transpose(1, 2),
            positions.flatten(2).expand(len(features), -1, -1).gather(2, index).transpose(1, 2),
            locations,
            logits,
        )


def activation(probabilities: Tensor) -> Tensor:
    """How much each pixel deserves to be a query: its best class probability, plus 1 on a local maximum.

    A pixel counts for its best class only. It is a local maximum if none of its eight neighbours counts more for the
    same class, and it counts at least 1e-6.

    Args:
        probabilities: ``(N, K, h, w)`` of the foreground classes.

    Returns:
        ``(N, h, w)``.
    """
    best, category = probabilities.max(dim=1, keepdim=True)
    planes = torch.zeros_like(probabilities).scatter_(1, category, best)
    highest = F.max_pool2d(planes, 3, stride=1, padding=1).gather(1, category)
    return (best + ((best >= highest) & (best >= 1e-6)))[:, 0]
