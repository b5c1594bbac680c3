"""A released file predicts as its checkpoint does, in a quarter of the bytes, and damage to it is noticed."""

import json
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn

from gains.config import compose
from gains.errors import InputError
from gains.models.build import build_plan, network_plan
from gains.models.checkpoint import load_network, read_checkpoint, seal
from gains.models.packing import pack, unpack
from gains.models.recipe import Recipe
from gains.models.release import release
from gains.models.safetensors_file import read_safetensors, write_safetensors
from gains.models.weights import load_weights

ROOT = Path(__file__).parents[2]
CLASSES = ["cytoplasm", "nucleus"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a small Mask R-CNN whose norms have seen something, so that no tensor is as it was initialised."""
    torch.manual_seed(0)
    tiny = ("model.width={fpn: 16, box: 32, mask: 16}", "model.proposals={pre_nms: [50, 50], post_nms: [50, 20]}")
    config = compose("train", "model=mask_rcnn", "num_classes=2", "dataset.short_side=96", *tiny)
    recipe = Recipe(network_plan(config), CLASSES, 96, model="mask_rcnn")
    network = build_plan(recipe.network)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.running_mean is not None
            assert layer.running_var is not None
            layer.running_mean.uniform_(-0.1, 0.1)
            layer.running_var.uniform_(0.5, 2.0)
    path = tmp_path_factory.mktemp("release") / "best.ckpt"
    state = {f"network.{name}": value for name, value in network.state_dict().items()}
    torch.save({"state_dict": state, "gains": seal(recipe, state)}, path)
    return path


@pytest.fixture
def released(checkpoint: Path, tmp_path: Path) -> Path:
    release(read_checkpoint(checkpoint), tmp_path / "cells-1.safetensors")
    return tmp_path / "cells-1.safetensors"


def test_it_predicts_as_the_checkpoint_does(checkpoint: Path, released: Path) -> None:
    whole: Any
    half: Any
    whole, recipe = load_network(checkpoint, {"min_score": 0.0})
    half, found = load_network(released, {"min_score": 0.0})
    assert replace(found, checksum=None) == replace(recipe, checksum=None)
    assert {value.dtype for value in half.state_dict().values()} == {torch.float32, torch.int64}
    image = torch.rand(3, 96, 96)
    with torch.inference_mode():
        one, other = whole.backbone(image[None])["0"], half.backbone(image[None])["0"]
        assert (one - other).abs().max() < 0.05 * one.abs().max()
        pooled = torch.rand(2, 16, 7, 7)
        trunks = [network.mask.head.trunk(pooled) for network in (whole, half)]
        assert (trunks[0] - trunks[1]).abs().max() < 0.05 * trunks[0].abs().max()
        (first,), (second,) = whole([image]), half([image])
    assert len(first["scores"]) > 0
    assert abs(len(first["scores"]) - len(second["scores"])) <= 0.1 * len(first["scores"])
    assert abs(float(first["scores"][0]) - float(second["scores"][0])) < 0.01


def test_it_is_a_quarter_of_the_size(checkpoint: Path, released: Path) -> None:
    assert released.stat().st_size < 0.3 * checkpoint.stat().st_size


def test_a_training_starts_from_it(checkpoint: Path, released: Path) -> None:
    recipe = read_checkpoint(checkpoint).recipe
    network = build_plan(recipe.network)
    filled = load_weights(network, str(released), "resnet18", replace(recipe, categories=["debris", "nucleus"]))
    assert filled.missing == []
    assert (filled.kept, filled.new) == (["nucleus"], ["debris"])
    trained = read_checkpoint(checkpoint).weights["mask.head.trunk.0.weight"]
    assert (network.state_dict()["mask.head.trunk.0.weight"] - trained).abs().max() <= trained.abs().max() / 254 * 1.001


def test_a_flipped_bit_is_noticed_or_changes_nothing(released: Path) -> None:
    original, whole = released.read_bytes(), read_checkpoint(released)
    generator = random.Random(0)
    for position in [*range(4), *(generator.randrange(len(original)) for _ in range(8))]:
        damaged = bytearray(original)
        damaged[position] ^= 1 << generator.randrange(8)
        released.write_bytes(damaged)
        try:
            found = read_checkpoint(released)
        except InputError:
            continue
        assert found.recipe == whole.recipe
        assert all(torch.equal(value, whole.weights[name]) for name, value in found.weights.items())


@pytest.mark.parametrize(
    "content", [b"", b"\x00" * 8, b"PK\x03\x04", b'\x10\x00\x00\x00\x00\x00\x00\x00{"a": [1, 2, 3]} ']
)
def test_what_is_no_safetensors_file_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.safetensors cannot be read: it is damaged or no safetensors file"):
        read_checkpoint(tmp_path / "a.safetensors")


def test_tensors_of_somebody_else_are_no_checkpoint(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"network.a": torch.zeros(2)}, tmp_path / "a.safetensors")
    with pytest.raises(InputError, match=r"a\.safetensors was not written by gains train"):
        read_checkpoint(tmp_path / "a.safetensors")
    write_safetensors(tmp_path / "b.safetensors", {"a": torch.zeros(2)}, {"version": 2})
    assert read_safetensors(tmp_path / "b.safetensors", "b")[1] == {"version": 2}
    with pytest.raises(InputError, match="holds 'a', which is no weight of a network"):
        read_checkpoint(tmp_path / "b.safetensors")


def test_packing_loses_half_a_step_of_each_channel_at_most() -> None:
    torch.manual_seed(0)
    kernel = torch.randn(5, 3, 2, 2) * torch.tensor([1e-6, 1.0, 1e6, 0.0, 1e-40]).reshape(-1, 1, 1, 1)
    weights = {"a.weight": kernel, "a.bias": torch.randn(5), "n": torch.tensor(3), "a.weights": torch.tensor([7])}
    packed = pack(weights)
    assert packed["a.weight"].dtype == torch.int8
    again = unpack(packed)
    assert again.keys() == weights.keys()
    largest = kernel.abs().amax(dim=(1, 2, 3), keepdim=True)
    assert ((again["a.weight"] - kernel).abs() <= largest / 254 * 1.0001).all()
    assert torch.equal(again["a.weight"][3], kernel[3])
    assert torch.equal(again["a.bias"], weights["a.bias"])
    assert unpack(weights).keys() == weights.keys()
    with pytest.raises(InputError, match=r"a\.weight has values that are not finite"):
        pack({"a.weight": torch.tensor([[1.0, float("inf")]])})


def test_the_script_writes_the_file_and_its_entry(checkpoint: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "scripts/release.py"), str(checkpoint), "cells", "--version", "3",
               "--card", "Test: nothing.", "--folder", str(tmp_path)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    (entry,) = yaml.safe_load(done.stdout.rpartition("\n\n")[0])
    path = tmp_path / entry["file"]
    assert (entry["name"], entry["version"], entry["card"]) == ("cells", 3, "Test: nothing.")
    sums = subprocess.run(["sha256sum", str(path)], capture_output=True, text=True, check=True).stdout
    assert sums.split()[0] == entry["sha256"]
    assert json.loads(json.dumps(read_checkpoint(path).recipe.categories)) == CLASSES
