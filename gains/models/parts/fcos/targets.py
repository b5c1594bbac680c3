"""Which location of which pyramid level is responsible for which instance (Tian et al., FCOS; CondInst's variant)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gains.models.parts.fcos.dynamic_mask_head import cell_positions

STRIDES = (8, 16, 32, 64, 128)
"""Of P3..P7."""

RADIUS = 1.5
"""Half the side of the square of positive locations around a centroid, in strides."""


@dataclass(frozen=True)
class Locations:
    """All locations of the pyramid, level after level.

    Attributes:
        points: ``(M, 2)`` (x, y) in input pixels.
        strides: ``(M,)`` of each location's level.
        levels: number of locations per level.
    """

    points: Tensor
    strides: Tensor
    levels: list[int]

    @classmethod
    def of(cls, sizes: list[tuple[int, int]], device: torch.device) -> "Locations":
        """Locations of levels P3.. with the given ``(height, width)`` in cells."""
        points = [
            cell_positions(height, width, stride, device).flatten(1).T
            for (height, width), stride in zip(sizes, STRIDES, strict=True)
        ]
        levels = [len(level) for level in points]
        strides = [level.new_full((len(level),), stride) for level, stride in zip(points, STRIDES, strict=True)]
        return cls(torch.cat(points), torch.cat(strides), levels)

    @property
    def extents(self) -> Tensor:
        """Largest object size in pixels ``(M,)`` that a location's level is meant for: 64 on P3, 128 on P4, ..."""
        return 8 * self.strides


@dataclass(frozen=True)
class LocationTargets:
    """What each location shall predict.

    Attributes:
        labels: ``(M,)`` int64, 0 is background.
        instance: ``(M,)`` index of the ground truth; 0 for background.
        distances: ``(M, 4)`` to the left, top, right and bottom of its box in strides; zeros for background.
    """

    labels: Tensor
    instance: Tensor
    distances: Tensor


def assign(locations: Locations, boxes: Tensor, labels: Tensor, centres: Tensor) -> LocationTargets:
    """Give locations their instance.

    A location is positive for an instance if it lies inside the instance's box, within 1.5 strides of the mask's
    centroid, and the farthest side of the box is a distance away that its level is meant for: (-1, 64) pixels on P3,
    (64, 128) on P4, and so on without upper end on the last. Where several instances claim it, the smallest box wins.

    Args:
        locations: of the pyramid.
        boxes: ``(G, 4)`` xyxy.
        labels: ``(G,)`` from 1.
        centres: ``(G, 2)`` centroids of the masks.

    Returns:
        Targets of all M locations.
    """
    if len(boxes) == 0:
        count = len(locations.points)
        none = torch.zeros(count, dtype=torch.int64, device=locations.points.device)
        return LocationTargets(none, none, locations.points.new_zeros(count, 4))
    last = len(locations.levels) - 1
    parts = []
    # Level by level: the table of all locations and instances is the largest thing here.
    for level, points in enumerate(torch.split(locations.points, locations.levels)):
        stride = STRIDES[level]
        low = -1.0 if level == 0 else 4.0 * stride
        high = torch.inf if level == last else 8.0 * stride
        parts.append(_assign_level(points, stride, (low, high), boxes, centres))
    positive, instance, distances = (torch.cat(part) for part in zip(*parts, strict=True))
    return LocationTargets(torch.where(positive, labels[instance], 0), instance, distances)


def _assign_level(
    points: Tensor, stride: int, sizes: tuple[float, float], boxes: Tensor, centres: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Whether each location of a level is positive ``(M,)``, for whom, and its distances in strides."""
    distances = torch.cat([points[:, None] - boxes[None, :, :2], boxes[None, :, 2:] - points[:, None]], dim=2)
    near = (points[:, None] - centres[None]).abs().amax(2) < RADIUS * stride
    farthest = distances.amax(2)
    claimed = (distances.amin(2) > 0) & near & (farthest >= sizes[0]) & (farthest <= sizes[1])
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    smallest, instance = torch.where(claimed, area, torch.inf).min(1)
    positive = smallest < torch.inf
    instance = torch.where(positive, instance, 0)
    own = distances[torch.arange(len(points), device=points.device), instance] / stride
    return positive, instance, torch.where(positive[:, None], own, 0.0)


def centreness(distances: Tensor) -> Tensor:
    """How central a location lies in its box: 1 in the middle, 0 on a side (FCOS, equation 3).

    Args:
        distances: ``(P, 4)`` to left, top, right, bottom.

    Returns:
        ``(P,)``.
    """
    horizontal, vertical = distances[:, 0::2], distances[:, 1::2]
    ratio = horizontal.amin(1) / horizontal.amax(1) * vertical.amin(1) / vertical.amax(1)
    return ratio.sqrt()
