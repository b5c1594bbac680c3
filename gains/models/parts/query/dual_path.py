"""FastInst's dual-path decoder (section 3.4): pixels learn from the queries, then queries from the pixels."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

HEADS = 8


@dataclass(frozen=True)
class QueryOutput:
    """What the queries say after some layer.

    Attributes:
        logits: ``(N, Q, K+1)`` class logits, the last no-object.
        masks: ``(N, Q, H/8, W/8)`` mask logits.
    """

    logits: Tensor
    masks: Tensor


class Attention(nn.Module):
    """Multi-head attention with residual and layer norm after it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(channels, HEADS, batch_first=True)
        self.norm = nn.LayerNorm(channels)

    def forward(
        self, values: Tensor, position: Tensor, source: Tensor, source_position: Tensor, blocked: Tensor | None = None
    ) -> Tensor:
        """Update values ``(N, A, C)`` from a source ``(N, B, C)``.

        Args:
            values: what attends.
            position: its position embedding.
            source: what is attended to.
            source_position: its position embedding, part of the key only.
            blocked: ``(N * heads, A, B)`` bool, True where attention is not allowed.
        """
        update, _ = self.attention(
            values + position, source + source_position, source, attn_mask=blocked, need_weights=False
        )
        result: Tensor = self.norm(values + update)
        return result


class FeedForward(nn.Module):
    """Two linear layers with residual and layer norm after them; the hidden one is four times as wide."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(channels, 4 * channels), nn.ReLU(inplace=True), nn.Linear(4 * channels, channels)
        )
        self.norm = nn.LayerNorm(channels)

    def forward(self, values: Tensor) -> Tensor:
        """``(N, A, C)`` to the same shape."""
        result: Tensor = self.norm(values + self.layers(values))
        return result


class DualPathLayer(nn.Module):
    """One decoder layer of width ``channels``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pixels_from_queries = Attention(channels)
        self.pixels_feed_forward = FeedForward(channels)
        self.queries_from_pixels = Attention(channels)
        self.queries_from_queries = Attention(channels)
        self.queries_feed_forward = FeedForward(channels)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(
        self, pixels: Tensor, queries: Tensor, pixel_position: Tensor, query_position: Tensor, blocked: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Update pixels with the old queries, then queries with the new pixels.

        Args:
            pixels: ``(N, M, C)``.
            queries: ``(N, Q, C)``.
            pixel_position: ``(1, M, C)``.
            query_position: ``(N, Q, C)``.
            blocked: ``(N * heads, Q, M)`` bool, True where a query must not look.
        """
        pixels = self.pixels_from_queries(pixels, pixel_position, queries, query_position)
        pixels = self.pixels_feed_forward(pixels)
        queries = self.queries_from_pixels(queries, query_position, pixels, pixel_position, blocked)
        queries = self.queries_from_queries(queries, query_position, queries, query_position)
        return pixels, self.queries_feed_forward(queries)


def mlp(channels: int, outputs: int) -> nn.Sequential:
    """Three linear layers with ReLU between them."""
    return nn.Sequential(
        nn.Linear(channels, channels),
        nn.ReLU(inplace=True),
        nn.Linear(channels, channels),
        nn.ReLU(inplace=True),
        nn.Linear(channels, outputs),
    )


class QueryHead(nn.Module):
    """Class and mask of each query.

    Args:
        channels: width of queries and pixels.
        num_classes: K, without no-object.
    """

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.logits = mlp(channels, num_classes + 1)
        self.mask_embedding = mlp(channels, channels)
        self.pixel_embedding = nn.Linear(channels, channels)

    def forward(self, queries: Tensor, pixels: Tensor, grid: tuple[int, int]) -> QueryOutput:
        """Predict from queries ``(N, Q, C)`` and pixels ``(N, h * w, C)`` of a grid ``(h, w)``."""
        queries = self.norm(queries)
        masks = self.mask_embedding(queries) @ self.pixel_embedding(pixels).transpose(1, 2)
        return QueryOutput(self.logits(queries), masks.unflatten(2, grid))


def attention_block(outside: Tensor, total: int) -> Tensor:
    """Turn regions into an attention mask.

    Args:
        outside: ``(N, Q, h, w)`` bool, True where a query must not look. Queries that might look nowhere may look
            everywhere, since a softmax over nothing is not a number.
        total: number of queries, of which those after the first Q (the auxiliary ones) may look everywhere.

    Returns:
        ``(N * heads, total, h * w)`` bool without gradient.
    """
    blocked = outside.detach().flatten(2)
    blocked = blocked & ~blocked.all(2, keepdim=True)
    free = blocked.new_zeros(len(blocked), total - blocked.shape[1], blocked.shape[2])
    return torch.cat([blocked, free], dim=1).repeat_interleave(HEADS, dim=0)
