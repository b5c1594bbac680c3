from typing import Any

import pytest
import torch
from torch import nn

from gains.errors import InputError
from gains.models.recipe import Recipe
from gains.training.module import InstanceSegmentation
from gains.training.optim import parameter_groups, warmup_and_steps
from helpers.drawing_network import DrawingNetwork


def test_schedule_has_the_papers_values() -> None:
    factor = warmup_and_steps(20000, warmup_steps=1000, warmup_factor=0.001, milestones=[0.75, 0.9], gamma=0.1)
    assert factor(0) == pytest.approx(0.001)
    assert factor(500) == pytest.approx(0.5005)
    assert factor(1000) == 1
    assert factor(14999) == 1
    assert factor(15000) == pytest.approx(0.1)
    assert factor(18000) == pytest.approx(0.01)


def test_warmup_of_a_short_run_is_a_fifth_of_it() -> None:
    factor = warmup_and_steps(20, warmup_steps=1000)
    assert factor(4) == 1


def test_groups_hold_every_trainable_parameter_once() -> None:
    network = nn.ModuleDict({"backbone": nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2)), "head": nn.Linear(2, 2)})
    network["head"].bias.requires_grad_(False)
    groups = {group["part"]: group["params"] for group in parameter_groups(network)}
    assert {part: len(parameters) for part, parameters in groups.items()} == {"backbone": 2, "norm": 2, "rest": 1}
    assert torch.equal(groups["rest"][0], network["head"].weight)  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "value"), [("momentum", -1), ("lr", -0.1), ("weight_decay", -3)])
def test_values_that_the_optimiser_refuses_are_one_line(name: str, value: float) -> None:
    settings: dict[str, Any] = {"lr": 0.1, name: value}
    module = InstanceSegmentation(
        DrawingNetwork(), Recipe({}, ["cell"], 24), optimizer=lambda groups: torch.optim.SGD(groups, **settings)
    )
    with pytest.raises(InputError, match=f"^model.optimizer: .*{value}"):
        module.learning_rates()
