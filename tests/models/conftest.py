from collections.abc import Callable
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import nn

from gains.cli import config_folder
from helpers.scenes import Scene, make_scene


@pytest.fixture
def scene() -> Scene:
    return make_scene()


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
