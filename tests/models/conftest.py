from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import Tensor, nn

from gains.cli import config_folder
from gains.masks import InstanceCrops
from gains.models.parts.amodal import VisibleMasks
from gains.models.parts.sampling import RoISamples


class Scene(NamedTuple):
    """A batch after the pyramid: three overlapping instances of two categories in the first image, none in the second."""

    features: dict[str, Tensor]
    sizes: list[tuple[int, int]]
    targets: list[dict[str, Any]]
    proposals: list[Tensor]
    samples: RoISamples


@pytest.fixture
def scene() -> Scene:
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
    full = {
        "boxes": crops.boxes.float(),
        "labels": labels,
        "masks": crops,
        "visible_masks": VisibleMasks(1)(crops, labels),
    }
    nothing = crops.select([])
    empty = {"boxes": torch.zeros(0, 4), "labels": labels[:0], "masks": nothing, "visible_masks": nothing}
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


@pytest.fixture(scope="session")
def build() -> Callable[..., nn.Module]:
    """Makes a model's network from its configuration: ``build("htc", "model/size=r50", num_classes=1)``."""

    def make(model: str, *overrides: str, num_classes: int = 2, target_label: int | None = None) -> nn.Module:
        given = [f"model={model}", f"num_classes={num_classes}", *overrides]
        if target_label is not None:
            given.append(f"target_label={target_label}")
        with initialize_config_dir(str(config_folder()), version_base="1.3"):
            config = compose("train", overrides=given)
        network: nn.Module = instantiate(OmegaConf.to_container(config.model.network, resolve=True), _convert_="all")
        return network

    return make


@pytest.fixture(scope="session")
def parameters(build: Callable[..., nn.Module]) -> Callable[..., float]:
    """Number of a model's parameters in millions, at the published size unless overridden; takes no memory."""

    def count(model: str, *overrides: str, **settings: Any) -> float:
        with torch.device("meta"):
            network = build(model, "model/size=r50", "model/pretrained=imagenet", *overrides, **settings)
        return sum(parameter.numel() for parameter in network.parameters()) / 1e6

    return count
