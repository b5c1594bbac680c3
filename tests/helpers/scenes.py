from typing import NamedTuple

import torch
from torch import Tensor, nn

from gains.contract import Target
from gains.masks import InstanceCrops
from gains.models.parts.roi.amodal import VisibleMasks
from gains.models.parts.roi.mask_head import MaskPredictor
from gains.models.parts.roi.sampling import RoISamples


class Scene(NamedTuple):
    """A batch after the pyramid: overlapping instances of two categories in the first image, none in the second."""

    features: dict[str, Tensor]
    sizes: list[tuple[int, int]]
    targets: list[Target]
    proposals: list[Tensor]
    samples: RoISamples


def make_scene() -> Scene:
    """Pyramid of 16 channels of 64 x 96 images, targets, proposals, and RoIs that are drawn already."""
    generator = torch.Generator().manual_seed(7)
    features = {
        str(level): torch.randn(2, 16, 64 >> level + 2, 96 >> level + 2, generator=generator) for level in range(4)
    }
    masks = torch.zeros(3, 64, 96, dtype=torch.bool)
    masks[0, 8:40, 8:40] = True
    masks[1, 24:56, 24:64] = True
    masks[2, 12:20, 12:20] = True
    crops = InstanceCrops.from_dense(masks)
    labels = torch.tensor([1, 1, 2])
    full: Target = {
        "boxes": crops.boxes.float(),
        "labels": labels,
        "masks": crops,
        "visible_masks": VisibleMasks(1)(crops, labels),
    }
    nothing = crops.select([])
    empty: Target = {"boxes": torch.zeros(0, 4), "labels": labels[:0], "masks": nothing, "visible_masks": nothing}
    jitter = torch.randn(3, 20, 4, generator=generator) * 3
    near = (full["boxes"][:, None] + jitter).flatten(0, 1).clamp(min=0).minimum(torch.tensor([96.0, 64, 96, 64]))
    corners = torch.rand(2, 30, 2, generator=generator) * 40
    far = torch.cat([corners, corners + 4 + 20 * torch.rand(2, 30, 2, generator=generator)], dim=-1)
    matched = torch.tensor([0, 1, 2, 0, 0])
    drawn = torch.tensor([[8.0, 8, 40, 40], [22, 26, 66, 55], [12, 12, 20, 20], [11, 7, 37, 41], [60, 2, 80, 20]])
    samples = RoISamples(
        [drawn, far[1][:2]],
        [torch.tensor([1, 1, 2, 1, 0]), torch.zeros(2, dtype=torch.int64)],
        [matched, torch.zeros(2, dtype=torch.int64)],
        [full["boxes"][matched], torch.zeros(2, 4)],
    )
    return Scene(features, [(64, 96), (60, 90)], [full, empty], [torch.cat([near, far[0]]), far[1]], samples)


def make_decided(module: nn.Module) -> None:
    """Give mask predictors logits of about 1; as initialised, all losses are ln 2 whatever the targets are."""
    for layer in module.modules():
        if isinstance(layer, MaskPredictor):
            nn.init.normal_(layer.logits.weight, std=1.0)
