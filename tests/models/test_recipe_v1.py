"""Checkpoints of version 1. The files were written by the last code that wrote them; ``version_1.ckpt`` by torch.save,
its tensors all of one value each, so that it is small."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from gains.errors import InputError
from gains.models.build import build_plan
from gains.models.checkpoint import load_network
from gains.models.recipe import read_recipe
from gains.models.recipe_v1 import MOVED
from gains.operating_point import OperatingPoint

FOLDER = Path(__file__).parent / "data"
RECIPES: dict[str, dict[str, Any]] = json.loads((FOLDER / "version_1_recipes.json").read_text())
POINT = OperatingPoint(min_score=0.07, nms_iou=0.6, max_detections=77)


def test_a_file_of_version_1_loads_and_predicts() -> None:
    network, recipe = load_network(FOLDER / "version_1.ckpt", {"score_threshold": 0.4})
    assert recipe.operating_point == OperatingPoint(0.07, 0.4, "box", 0.6, False, 77)
    assert (recipe.model, recipe.categories, recipe.intensity) == ("gains", ["cytoplasm", "nucleus"], "percentile")
    assert (recipe.image_side, recipe.gains, recipe.data, recipe.checksum) == (64, "0.1.0", None, None)
    stored = torch.load(FOLDER / "version_1.ckpt", weights_only=True)["state_dict"]
    state = network.state_dict()
    assert {f"network.{name}" for name in state} == set(stored)
    assert all(torch.equal(value, stored[f"network.{name}"]) for name, value in state.items())
    [found] = network([torch.rand(3, 64, 64)])
    assert {"boxes", "labels", "scores", "masks"} <= set(found)


@pytest.mark.parametrize("name", RECIPES)
def test_every_method_of_version_1_is_built_at_its_operating_point(name: str) -> None:
    recipe = read_recipe(RECIPES[name], "old.ckpt")
    with torch.device("meta"):
        build_plan(recipe.network)
    expected = POINT if name != "fastinst" else OperatingPoint(min_score=0.07, max_detections=77)
    assert recipe.operating_point == expected


def test_every_move_is_met_by_some_old_file_or_was_never_a_target() -> None:
    targets = json.dumps(RECIPES)
    unseen = {module for module in MOVED if f'"{module}.' not in targets}
    assert not unseen


def test_the_side_of_the_earliest_files_is_that_to_which_they_resize() -> None:
    recipe = read_recipe(RECIPES["gains"] | {"image_side": None}, "old.ckpt")
    assert recipe.image_side == 64


@pytest.mark.parametrize("change", [{"hook": 1}, {"network": None}])
def test_strange_recipes_of_version_1_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"unknown entry"):
        read_recipe(RECIPES["gains"] | change, "old.ckpt")
