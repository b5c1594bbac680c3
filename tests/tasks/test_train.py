import math
from pathlib import Path
from typing import Any

import pytest

from gains.errors import InputError
from gains.tasks import train
from gains.tasks.train import resume_from
from gains.training.module import InstanceSegmentation
from helpers.drawing_network import prepare_noise
from helpers.training import run_train


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_noise(tmp_path_factory.mktemp("data") / "noise")


@pytest.fixture
def content(blob_checkpoint: Path) -> bytes:
    return blob_checkpoint.read_bytes()


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_last_falls_back_to_the_one_before_and_says_so(
    tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    last = write(tmp_path / "earlier/checkpoints/last.ckpt", content)
    assert resume_from("last", tmp_path / "now") == str(last)
    older = write(tmp_path / "earlier/checkpoints/last-older.ckpt", content)
    last.write_bytes(content[: len(content) // 2])
    assert resume_from("last", tmp_path / "now") == str(older)
    assert f"going on from the one before, {older}" in capsys.readouterr().out
    last.unlink()
    assert resume_from("last", tmp_path / "now") == str(older)


def test_nothing_to_go_on_from_is_said(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(InputError, match="no earlier run"):
        resume_from("last", tmp_path / "now")
    write(tmp_path / "earlier/checkpoints/last.ckpt", content[:100])
    with pytest.raises(InputError, match=r"last\.ckpt cannot be read"):
        resume_from("last", tmp_path / "now")


def test_a_sweep_is_told_the_best_validation_metric(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    validated = iter([0.25, 0.75, 0.5])

    def validate(module: InstanceSegmentation) -> None:
        module.evaluator.reset()
        module.log("val/segm_map", next(validated))

    def evaluate(*_: Any) -> dict[str, Any]:
        return {"metrics": {"segm_map": 0.9}}

    monkeypatch.setattr(InstanceSegmentation, "on_validation_epoch_end", validate)
    monkeypatch.setattr(train, "evaluate", evaluate)
    monkeypatch.setattr(train, "report", lambda *_: None)
    told = run_train(root, tmp_path / "run", "trainer.max_steps=3", "trainer.val_check_interval=1")
    assert told == 0.75


def test_without_validation_a_sweep_is_told_that_there_is_nothing(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert math.isnan(run_train(root, tmp_path / "run", "++trainer.limit_val_batches=0"))
    assert "no validation gave a number" in capsys.readouterr().out
