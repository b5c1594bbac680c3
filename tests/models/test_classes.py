"""Weights of other classes: rows of heads go by the name of the class, all else as before."""

from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from torch import nn

from gains.config import compose
from gains.models.build import build_network, network_plan
from gains.models.classes import class_rows
from gains.models.recipe import Recipe
from gains.models.weights import Filled, load_weights

TINY = ("model.width={fpn: 16, box: 16, mask: 16}", "target_label=1")


def recipe_of(model: str, categories: list[str]) -> Recipe:
    config = compose("train", f"model={model}", f"num_classes={len(categories)}", *TINY)
    return Recipe(network_plan(config), categories, 64)


def network_of(model: str, categories: list[str]) -> nn.Module:
    return build_network(model, *TINY[:1], num_classes=len(categories), target_label=1)


def carried(model: str, old: list[str], new: list[str], folder: Path) -> tuple[nn.Module, nn.Module, nn.Module, Filled]:
    """The trained network, the new one as it was and as it was filled, and what was said of it."""
    trained, fresh = network_of(model, old), network_of(model, new)
    for value in trained.state_dict().values():  # no row like another
        if value.is_floating_point():
            value.copy_(torch.randn_like(value))
    before = network_of(model, new)
    before.load_state_dict(fresh.state_dict())
    state = {f"network.{name}": value for name, value in trained.state_dict().items()}
    torch.save({"state_dict": state, "gains": asdict(recipe_of(model, old))}, folder / "old.ckpt")
    filled = load_weights(fresh, str(folder / "old.ckpt"), "resnet18", recipe_of(model, new))
    return trained, before, fresh, filled


def test_rows_of_a_shared_name_are_kept_wherever_it_stands(tmp_path: Path) -> None:
    old, new = ["nucleus", "cytoplasm"], ["debris", "cytoplasm", "nucleus"]
    trained, before, fresh, filled = carried("gains", old, new, tmp_path)
    theirs, start, own = trained.state_dict(), before.state_dict(), fresh.state_dict()
    score, boxes, masks = "box.head.predictor.cls_score.weight", "box.head.predictor.bbox_pred.bias", "logits.weight"
    assert torch.equal(own[score][[0, 3, 2]], theirs[score])  # background, nucleus, cytoplasm
    assert torch.equal(own[score][1], start[score][1])
    assert torch.equal(own[boxes].view(4, 4)[[0, 3, 2]], theirs[boxes].view(3, 4))
    assert torch.equal(own[boxes].view(4, 4)[1], start[boxes].view(4, 4)[1])
    for head in ("mask.head.predictor.", "mask.anomaly.head.predictor."):
        assert torch.equal(own[head + masks][[2, 1]], theirs[head + masks])
        assert torch.equal(own[head + masks][0], start[head + masks][0])
    assert filled.missing == []
    assert str(filled).endswith("heads kept for cytoplasm, nucleus, new for debris")


def test_as_many_classes_of_other_names_are_not_taken_for_the_same(tmp_path: Path) -> None:
    trained, before, fresh, filled = carried("mask_rcnn", ["cell"], ["nucleus"], tmp_path)
    theirs, start, own = trained.state_dict(), before.state_dict(), fresh.state_dict()
    logits = "mask.head.predictor.logits.weight"
    assert torch.equal(own[logits], start[logits])
    assert torch.equal(own["mask.head.trunk.0.weight"], theirs["mask.head.trunk.0.weight"])
    assert str(filled).endswith("heads kept for no class, new for nucleus")


def test_no_object_of_queries_stays_the_last(tmp_path: Path) -> None:
    trained, _, fresh, _ = carried("fastinst", ["a"], ["b", "a"], tmp_path)
    theirs, own = trained.state_dict(), fresh.state_dict()
    names = [name for name, value in theirs.items() if value.shape[:1] == (2,) and own[name].shape[:1] == (3,)]
    assert len(names) > 1
    for name in names:
        assert torch.equal(own[name][[1, 2]], theirs[name]), name


def test_what_mixes_classes_starts_anew_and_is_named(tmp_path: Path) -> None:
    _, before, fresh, filled = carried("pointrend", ["a"], ["a", "b"], tmp_path)
    mixed = [name for name in filled.missing if name.endswith("weight")]
    assert mixed
    assert all(torch.equal(fresh.state_dict()[name], before.state_dict()[name]) for name in mixed)


@pytest.mark.parametrize("model", ["cascade_rcnn", "condinst", "donet", "htc", "mask_scoring_rcnn", "occlusion_rcnn"])
def test_every_class_dependent_tensor_is_found(model: str) -> None:
    """Against networks that are really built for three and for four classes."""
    three, four = network_of(model, ["a", "b", "c"]), network_of(model, ["a", "b", "c", "d"])
    wider = four.state_dict()
    differing = {name: len(wider[name]) - len(value) for name, value in three.state_dict().items()
                 if value.shape != wider[name].shape}  # fmt: skip
    rows = class_rows(three, recipe_of(model, ["a", "b", "c"]).network, 3)
    assert {name: found.each for name, found in rows.items() if found} == differing
    assert {found.rest // found.each for found in rows.values() if found} <= {0, 1}
