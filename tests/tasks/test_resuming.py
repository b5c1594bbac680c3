import csv
import json
from pathlib import Path

import pytest

from gains.errors import InputError
from gains.models.checkpoint import read_checkpoint
from gains.operating_point import OperatingPoint
from helpers.drawing_network import prepare_noise
from helpers.training import run_train


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_noise(tmp_path_factory.mktemp("data") / "noise", 6)


@pytest.fixture(scope="module")
def run(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "first"
    run_train(root, folder, "model.optimizer.lr=0.003")
    return folder


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ("model.optimizer.lr=0.002", r"learning rate of \w+ 0\.003, this run has 0\.002"),
        ("model.width.mask=12", "network.*8, this run has 12"),
        ("dataset.fold=1", r"images .*, this run has"),
    ],
)
def test_another_run_is_refused_with_both_values(
    root: Path, run: Path, tmp_path: Path, other: str, message: str
) -> None:
    settings = ["model.optimizer.lr=0.003", f"checkpoint={run}/checkpoints/last.ckpt", "trainer.max_steps=3", other]
    with pytest.raises(InputError, match=message):
        run_train(root, tmp_path / "second", *settings)
    assert list((tmp_path / "second").iterdir()) == []


def test_other_data_are_refused(run: Path, tmp_path: Path) -> None:
    other = prepare_noise(tmp_path / "noise", 7)
    settings = ["model.optimizer.lr=0.003", f"checkpoint={run}/checkpoints/last.ckpt"]
    with pytest.raises(InputError, match=r"annotations \(SHA-256\) [0-9a-f]+, this run has [0-9a-f]+"):
        run_train(other, tmp_path / "second", *settings)


def test_a_longer_run_has_the_whole_curve_and_a_finished_one_says_so(
    root: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ["model.optimizer.lr=0.003", f"checkpoint={run}/checkpoints/last.ckpt", "trainer.max_steps=3"]

    def steps() -> list[int]:
        with (run / "metrics.csv").open() as file:
            return [int(row["step"]) for row in csv.DictReader(file) if row.get("train/loss")]

    run_train(root, run, *settings)
    assert "at step 2" in capsys.readouterr().out
    assert steps() == [0, 1, 2]
    (run / "results.json").unlink()
    run_train(root, run, *settings)
    assert "is already at step 3 of 3" in capsys.readouterr().out
    assert steps() == [0, 1, 2]
    assert json.loads((run / "results.json").read_text())["operating_point"]["nms"] == "box"
    (run / "results.json").unlink()
    run_train(root, run, *settings, "nms=mask", "score_threshold=0.25")
    for point in (
        OperatingPoint(**json.loads((run / "results.json").read_text())["operating_point"]),
        read_checkpoint(run / "checkpoints" / "best.ckpt").recipe.operating_point,
    ):
        assert (point.nms, point.score_threshold) == ("mask", 0.25)


def test_last_goes_on_in_the_folder_of_its_run(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_train(root, tmp_path / "first")
    run_train(root, tmp_path / "second", "checkpoint=last", "trainer.max_steps=3")
    assert not (tmp_path / "second").exists()
    assert f"{tmp_path}/first/checkpoints/last.ckpt at step 2" in capsys.readouterr().out
    with (tmp_path / "first" / "metrics.csv").open() as file:
        assert [int(row["step"]) for row in csv.DictReader(file) if row.get("train/loss")] == [0, 1, 2]
    run_train(root, tmp_path / "third", "checkpoint=last", "trainer.max_steps=3")
    assert "already at step 3 of 3" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["first"]
