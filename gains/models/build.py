"""From configuration to network: a model's ``_target_`` tree is its architecture, and here it is built."""

from collections.abc import Mapping
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import nn

from gains.config import compose

Plan = dict[str, Any]
"""A ``_target_`` tree as plain data: how a network is built, and all that a checkpoint needs to build it again."""


def network_plan(config: DictConfig) -> Plan:
    """The plan of a composed configuration's model, everything in it resolved."""
    plan = OmegaConf.to_container(config.model.network, resolve=True)
    assert isinstance(plan, dict)
    return {str(name): value for name, value in plan.items()}


def build_plan(plan: Mapping[str, Any]) -> nn.Module:
    """The untrained network of a plan."""
    network: nn.Module = instantiate(dict(plan), _convert_="all")
    return network


def build_network(
    model: str | DictConfig, *overrides: str, num_classes: int = 1, target_label: int | None = None
) -> nn.Module:
    """An untrained network, as ``gains train`` would start from without pretrained weights.

    >>> network = build_network("gains", "model/size=r18", num_classes=2)

    Args:
        model: name of a model (``model=NAME`` of the command line), or a composed configuration with all else in it.
        overrides: as on the command line.
        num_classes: K, without background.
        target_label: label from 1 of the category that the method treats apart (DoNet's cells); None where it has none.

    Raises:
        InputError: if the model or an override is unknown.
    """
    if not isinstance(model, DictConfig):
        label = "null" if target_label is None else target_label
        given = (f"model={model}", f"num_classes={num_classes}", f"target_label={label}")
        model = compose("train", *given, *overrides)
    return build_plan(network_plan(model))
