"""Values of maps, pyramid features and instance masks at arbitrary points (Kirillov et al., PointRend, CVPR 2020).

Two coordinate systems, both (x, y) with the corner of the first pixel at 0, so that pixel centres lie at halves:
*relative* points span a map or a box with [0, 1]; *image* points are pixels of the network input.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from gains.masks import InstanceCrops


def point_sample(maps: Tensor, points: Tensor) -> Tensor:
    """Bilinear values of maps, with zeros around them.

    Args:
        maps: ``(N, C, H, W)``.
        points: ``(N, P, 2)`` relative to each map.

    Returns:
        ``(N, C, P)`` float32.
    """
    grid = 2 * points.float().unsqueeze(2) - 1
    return F.grid_sample(maps.float(), grid, align_corners=False).squeeze(3)


def cell_centres(side: int, device: torch.device | None = None) -> Tensor:
    """Centres ``(side * side, 2)`` of the cells of a regular grid, relative to it, row by row."""
    line = (torch.arange(side, device=device) + 0.5) / side
    rows, columns = torch.meshgrid(line, line, indexing="ij")
    return torch.stack([columns, rows], dim=-1).reshape(-1, 2)


def box_to_image(points: Tensor, boxes: Tensor) -> Tensor:
    """Points ``(R, P, 2)`` relative to boxes ``(R, 4)`` xyxy, as image points ``(R, P, 2)``."""
    corner, side = boxes[:, None, :2], boxes[:, None, 2:] - boxes[:, None, :2]
    return corner + points * side


def feature_sample(features: Tensor, points: list[Tensor], stride: int) -> Tensor:
    """Values of one pyramid level at image points.

    Args:
        features: ``(N, C, H, W)`` of the padded batch.
        points: per image ``(R, P, 2)`` image points.
        stride: pixels per feature cell; what the level spans is H * stride by W * stride pixels, padding included.

    Returns:
        ``(R of all images, C, P)`` float32.
    """
    height, width = features.shape[-2:]
    span = torch.tensor([width * stride, height * stride], device=features.device)
    sampled = []
    for level, located in zip(features, points, strict=True):
        values = point_sample(level[None], (located / span).reshape(1, -1, 2))[0]
        sampled.append(values.reshape(len(level), *located.shape[:2]).transpose(0, 1))
    return torch.cat(sampled)


def mask_sample(masks: InstanceCrops, instance: Tensor, points: Tensor) -> Tensor:
    """Bilinear values of instance masks, as :func:`point_sample` on the full-size masks would give them.

    The four neighbours of every point are read straight from the flat crops; outside its crop a mask is 0.

    Args:
        masks: the instances of one image.
        instance: ``(R,)`` instance to which each row of points belongs.
        points: ``(R, P, 2)`` image points, on the device of the masks.

    Returns:
        ``(R, P)`` float32 in [0, 1].
    """
    if len(masks.values) == 0:
        return points.new_zeros(points.shape[:2], dtype=torch.float32)
    boxes = masks.boxes.to(points.device, non_blocking=True)
    sides = boxes[:, 2:] - boxes[:, :2]
    begin = (sides.prod(1).cumsum(0) - sides.prod(1))[instance, None]
    corner, (width, height) = boxes[instance, None, :2], sides[instance, None].unbind(-1)
    position = points.float() - 0.5
    lower = position.floor()
    fraction = position - lower
    column, row = (lower.long() - corner).unbind(-1)
    total = torch.zeros_like(position[..., 0])
    for right in (0, 1):
        for down in (0, 1):
            x, y = column + right, row + down
            inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
            value = masks.values[torch.where(inside, begin + y * width + x, 0)] * inside
            weight_x = fraction[..., 0] if right else 1 - fraction[..., 0]
            weight_y = fraction[..., 1] if down else 1 - fraction[..., 1]
            total += weight_x * weight_y * value
    return total


@torch.no_grad()
def sample_uncertain_points(
    logits: Tensor, num_points: int, oversample: float = 3.0, importance: float = 0.75
) -> Tensor:
    """Random points, most of them where a mask prediction is undecided (PointRend, section 3.1).

    ``oversample * num_points`` uniform points are drawn; of these the ``importance * num_points`` whose logit is
    closest to 0 stay, and fresh uniform points fill up the rest. The logit is that *at* the point: a map of
    uncertainties, once interpolated, would miss the zero crossing between a sure 1 and a sure 0.

    Args:
        logits: ``(P, H, W)`` one map per instance.
        num_points: points to return for each.
        oversample: factor of the first draw.
        importance: share of the points chosen by uncertainty.

    Returns:
        ``(P, num_points, 2)`` relative points.
    """
    rows, guided = len(logits), int(importance * num_points)
    drawn = torch.rand(rows, int(oversample * num_points), 2, device=logits.device)
    distance = point_sample(logits[:, None], drawn)[:, 0].abs()
    chosen = distance.topk(guided, dim=1, largest=False).indices
    uncertain = drawn.gather(1, chosen[..., None].expand(-1, -1, 2))
    fresh = torch.rand(rows, num_points - guided, 2, device=logits.device)
    return torch.cat([uncertain, fresh], dim=1)
