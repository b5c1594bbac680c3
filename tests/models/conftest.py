from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from gains.models.build import build_network
from helpers.scenes import Scene, make_scene


@pytest.fixture
def scene() -> Scene:
    return make_scene()


@pytest.fixture(scope="session")
def build() -> Callable[..., nn.Module]:
    """Makes a model's network from its configuration: ``build("htc", "model/size=r50", num_classes=1)``."""

    return partial(build_network, num_classes=2)


@pytest.fixture(scope="session")
def parameters(build: Callable[..., nn.Module]) -> Callable[..., float]:
    """Number of a model's parameters in millions, at the published size unless overridden; takes no memory."""

    def count(model: str, *overrides: str, **settings: Any) -> float:
        with torch.device("meta"):
            network = build(model, "model/size=r50", "model/pretrained=imagenet", *overrides, **settings)
        return sum(parameter.numel() for parameter in network.parameters()) / 1e6

    return count
