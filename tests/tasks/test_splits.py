import json
import re
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from gains.data.datamodule import InstanceDataModule
from gains.data.dataset import load_annotations
from gains.data.splits import split_by_ratio
from gains.errors import InputError
from gains.models.checkpoint import load_network
from gains.tasks.splits import adapt_to_splits
from helpers.drawing_network import prepare_noise
from helpers.training import run_train


def prepared(folder: Path, ratios: tuple[int, int, int]) -> Path:
    return prepare_noise(folder / "noise", 6, ratios)


@pytest.mark.parametrize(
    ("ratios", "asked", "message"),
    [
        ((3, 1, 1), "vla", "split=vla is unknown; use one of train, val, test"),
        ((1, 0, 0), "test", "split=test: .*noise has no image in it; there are some in train"),
        ((2, 0, 1), "val", "split=val: .*noise has no image in it; there are some in train, test"),
        ((0, 1, 1), "null", "noise has no image to train on"),
    ],
)
def test_a_split_that_cannot_be_used_is_refused_before_training(
    tmp_path: Path, ratios: tuple[int, int, int], asked: str, message: str
) -> None:
    root, folder = prepared(tmp_path, ratios), tmp_path / "run"
    with pytest.raises(InputError, match=message):
        run_train(root, folder, f"split={asked}")
    assert not (folder / "checkpoints").exists()


def test_without_test_images_training_ends_without_evaluation_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    run_train(prepared(tmp_path, (2, 1, 0)), folder)
    assert capsys.readouterr().out.count("no test images: nothing is evaluated after training") == 1
    assert (folder / "checkpoints/best.ckpt").is_file()
    assert not (folder / "results.json").exists()


def test_all_images_may_train(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert split_by_ratio(["a", "b"], 0, (1, 0, 0))["val"] == []  # what an error message of the split advises
    folder = tmp_path / "run"
    run_train(prepared(tmp_path, (1, 0, 0)), folder)
    assert (folder / "checkpoints/last.ckpt").is_file()
    assert not (folder / "checkpoints/best.ckpt").exists()
    printed = capsys.readouterr().out
    assert "no validation images" in printed
    assert f"checkpoint       {folder / 'checkpoints/last.ckpt'}" in printed


@pytest.mark.parametrize("count", [1, 2])
def test_what_few_images_are_advised_is_what_trains(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], count: int
) -> None:
    with pytest.raises(InputError, match="without validation and test") as caught:
        prepare_noise(tmp_path / "few", count, (6, 2, 2))
    advised = re.search(r"dataset\.ratios=\[(\d),(\d),(\d)\]", str(caught.value))
    assert advised is not None
    one, two, three = (int(ratio) for ratio in advised.groups())
    folder = tmp_path / "run"
    # At 32 pixels the last level is one pixel, of which a single image has no variance.
    run_train(prepare_noise(tmp_path / "few", count, (one, two, three)), folder)
    assert (folder / "checkpoints/last.ckpt").is_file()
    said = [line for line in capsys.readouterr().out.splitlines() if "no validation images" in line]
    assert said == ["no validation images: the last checkpoint is kept, not the best"]


def test_one_image_is_validated_on_itself_on_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, folder = prepare_noise(tmp_path / "one", 1, (1, 0, 0)), tmp_path / "run"
    run_train(root, folder, "validate_on=train")
    assert (folder / "checkpoints/best.ckpt").is_file()
    said = capsys.readouterr().out
    assert "validated on the training images (validate_on=train)" in said
    assert "the last checkpoint is kept" not in said
    assert load_network(folder / "checkpoints/best.ckpt")[1].data.splits["val"] == []  # type: ignore[union-attr]


def test_training_images_never_stand_in_for_validation_images_that_are_there(tmp_path: Path) -> None:
    root = prepare_noise(tmp_path / "two", 2, (1, 1, 0))
    with pytest.raises(InputError, match="has 1 validation images"):
        run_train(root, tmp_path / "run", "validate_on=train")


def test_two_images_train_and_validate(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run_train(prepare_noise(tmp_path / "two", 2, (1, 1, 0)), folder)
    assert (folder / "checkpoints/best.ckpt").is_file()


@pytest.mark.parametrize(("crowd", "said"), [(True, "all 1 annotations are crowd regions"), (False, "no annotation")])
def test_nothing_to_learn_is_said(tmp_path: Path, crowd: bool, said: str) -> None:
    root = prepare_noise(tmp_path / "noise", 3, (1, 1, 1))
    content = json.loads((root / "annotations.json").read_text())
    kept = content["annotations"] if crowd else []
    content["annotations"] = [entry | {"iscrowd": 1} for entry in kept]
    (root / "annotations.json").write_text(json.dumps(content))
    datamodule = InstanceDataModule(load_annotations(root))
    config = OmegaConf.create({"split": None, "validate_on": "val", "trainer": {}})
    [note] = adapt_to_splits(config, datamodule)
    assert said in note
    assert ("dataset.crowd=instances" in note) == crowd
