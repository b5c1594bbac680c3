import random
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gains.errors import InputError
from gains.models.build import build_plan
from gains.models.checkpoint import checksum, load_network, read_checkpoint, seal, store_operating_point
from gains.models.recipe import LearnedSizes, Recipe, TrainingData, read_recipe
from gains.operating_point import OperatingPoint

MASK = {"_target_": "gains.models.parts.roi.mask_head.MaskHead", "channels_in": 4, "channels": 4, "num_classes": 2}
PLAN = {"_target_": "gains.models.mask_rcnn.MaskBranch", "head": MASK}
"""A part of a network stands in for the whole: its file is small."""

POINT = OperatingPoint(0.1, 0.3, "mask", 0.4, True, 17)


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    data = TrainingData("0" * 64, {"train": ["a", "b"], "val": [], "test": ["c"]})
    sizes = LearnedSizes({"cell": [20.0, 30.0, 45.5]}, {"cell": [10.0, 15.0, 22.75]}, 0.25)
    return Recipe(PLAN, ["cell", "nucleus"], 64, "percentile", "mask_rcnn", POINT, data, sizes=sizes)


@pytest.fixture(scope="module")
def state(recipe: Recipe) -> dict[str, Tensor]:
    torch.manual_seed(0)
    return {f"network.{name}": value for name, value in build_plan(recipe.network).state_dict().items()}


@pytest.fixture
def path(tmp_path: Path, recipe: Recipe, state: dict[str, Tensor]) -> Path:
    return save(tmp_path / "a.ckpt", state, seal(recipe, state))


def save(path: Path, state: dict[str, Any], recipe: Any) -> Path:
    torch.save({"state_dict": state, "gains": recipe, "optimizer_states": [{"momentum": torch.rand(5)}]}, path)
    return path


def test_what_is_written_is_read(path: Path, recipe: Recipe, state: dict[str, Tensor]) -> None:
    network, found = load_network(path)
    assert replace(found, checksum=None) == recipe
    assert network.operating_point == POINT
    assert not network.training
    assert all(torch.equal(value, state[f"network.{name}"]) for name, value in network.state_dict().items())


def test_the_operating_point_is_set_anew_in_memory_or_in_the_file(path: Path) -> None:
    network, found = load_network(path, {"nms_iou": 0.7, "max_detections": None})
    expected = replace(POINT, nms_iou=0.7)
    assert (network.operating_point, found.operating_point) == (expected, expected)  # type: ignore[comparison-overlap]
    assert read_checkpoint(path).recipe.operating_point == POINT
    store_operating_point(path, expected)
    stored = read_checkpoint(path)
    assert stored.recipe.operating_point == expected
    assert set(stored.content) == {"state_dict", "gains", "optimizer_states"}


def test_what_is_no_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / "damaged.ckpt").write_bytes(b"PK\x03\x04 cut short")
    torch.save({"weights": torch.zeros(3)}, tmp_path / "other.ckpt")
    with pytest.raises(InputError, match=r"damaged\.ckpt cannot be read"):
        read_checkpoint(tmp_path / "damaged.ckpt")
    with pytest.raises(InputError, match=r"other\.ckpt was not written by gains train"):
        read_checkpoint(tmp_path / "other.ckpt")
    with pytest.raises(InputError, match=r"nowhere\.ckpt does not exist"):
        read_checkpoint(tmp_path / "nowhere.ckpt")


def same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return torch.equal(one, other) if isinstance(one, Tensor) else bool(one == other)


def test_a_flipped_bit_anywhere_in_the_file_is_noticed_or_changes_nothing(path: Path, tmp_path: Path) -> None:
    original, whole = path.read_bytes(), read_checkpoint(path).content
    generator, refused, flipped = random.Random(0), 0, tmp_path / "flipped.ckpt"
    for _ in range(400):
        damaged = bytearray(original)
        damaged[generator.randrange(len(damaged))] ^= 1 << generator.randrange(8)
        flipped.write_bytes(damaged)
        try:
            assert same(read_checkpoint(flipped).content, whole)
        except InputError:
            refused += 1
    assert refused > 100  # the rest is padding and dates


def test_weights_that_are_not_those_of_the_recipe_are_noticed(
    tmp_path: Path, recipe: Recipe, state: dict[str, Tensor]
) -> None:
    """Also where the archive itself is sound."""
    sealed = seal(recipe, state)
    name = "network.head.predictor.logits.bias"
    save(tmp_path / "a.ckpt", state | {name: state[name] + 1e-6}, sealed)
    with zipfile.ZipFile(tmp_path / "a.ckpt") as archive:
        assert archive.testzip() is None
    with pytest.raises(InputError, match="damaged: its weights are not those that were saved"):
        read_checkpoint(tmp_path / "a.ckpt")


def test_the_checksum_sees_names_types_shapes_and_values() -> None:
    weights = {"a": torch.zeros(2, 3), "b": torch.tensor(5)}
    assert checksum(weights) == checksum(dict(reversed(weights.items())))
    others = [
        {"a": torch.zeros(3, 2), "b": torch.tensor(5)},
        {"a": torch.zeros(2, 3, dtype=torch.int32), "b": torch.tensor(5)},
        {"a": torch.zeros(2, 3), "c": torch.tensor(5)},
        {"a": torch.zeros(2, 3), "b": torch.tensor(6)},
        {"a": torch.zeros(2, 3)},
    ]
    assert len({checksum(weights), *map(checksum, others)}) == 6


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_refused(
    tmp_path: Path, recipe: Recipe, state: dict[str, Tensor], value: float
) -> None:
    name = "network.head.predictor.logits.bias"
    broken = state | {name: torch.full_like(state[name], value)}
    save(tmp_path / "a.ckpt", broken, seal(recipe, broken))
    with pytest.raises(InputError, match=rf"1 tensors that are not finite \(first: {name}\)"):
        read_checkpoint(tmp_path / "a.ckpt")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda plain: plain.pop("categories"), "lacks categories"),
        (lambda plain: plain.update(hook="x"), "unknown entry hook"),
        (lambda plain: plain.update(version=4), "is of version 4"),
        (lambda plain: plain.update(categories=[]), "different names"),
        (lambda plain: plain.update(categories=["a", "a"]), "different names"),
        (lambda plain: plain.update(intensity="log"), "full_range or percentile"),
        (lambda plain: plain.update(image_side="64"), "wrong value for image_side"),
        (lambda plain: plain.update(image_side=0), "image_side 0"),
        (lambda plain: plain["operating_point"].pop("nms"), "operating_point .* lacks nms"),
        (lambda plain: plain["operating_point"].update(min_score=2.0), "min_score=2.0 must be"),
        (lambda plain: plain["data"].update(splits={"train": "a"}), "splits that are not lists"),
        (lambda plain: plain.pop("sizes"), "lacks sizes"),
        (lambda plain: plain["sizes"].pop("network"), "sizes of .* lacks network"),
        (lambda plain: plain["sizes"]["source"].update(tree=[1.0, 2.0, 3.0]), "three rising diameters"),
        (lambda plain: plain["sizes"]["network"].update(cell=[3.0, 2.0, 4.0]), "three rising diameters"),
        (lambda plain: plain["sizes"].update(pixel_size_um=-0.5), "pixel_size_um -0.5; it must be above 0"),
        (lambda plain: plain["network"]["head"].update(num_classes=5), "weights do not fit its network"),
        (lambda plain: plain["network"]["head"].update(colour=5), "MaskHead refuses its settings"),
        (lambda plain: plain["network"]["head"].update(channels="4"), "MaskHead refuses its settings"),
    ],
)
def test_recipes_with_missing_foreign_or_wrong_entries_are_refused_in_one_line(
    tmp_path: Path, recipe: Recipe, state: dict[str, Tensor], change: Any, message: str
) -> None:
    plain = seal(recipe, state)
    change(plain)
    with pytest.raises(InputError, match=message):
        load_network(save(tmp_path / "a.ckpt", state, plain))


def test_a_recipe_of_version_2_is_read_and_knows_no_sizes(recipe: Recipe) -> None:
    plain = recipe.to_plain() | {"version": 2}
    del plain["sizes"]
    assert read_recipe(plain, "old.ckpt") == replace(recipe, sizes=None)


def test_what_is_no_weight_is_refused(tmp_path: Path, recipe: Recipe, state: dict[str, Tensor]) -> None:
    for strange in ({"network.extra": [1, 2]}, {"elsewhere.bias": torch.zeros(1)}, {5: torch.zeros(1)}):
        with pytest.raises(InputError, match="no weight of a network"):
            read_checkpoint(save(tmp_path / "a.ckpt", state | strange, seal(recipe, state)))  # type: ignore[arg-type]
