import math
from pathlib import Path
from typing import Any

import pytest

from gains.tasks import train
from gains.training.module import InstanceSegmentation
from helpers.drawing_network import prepare_noise
from helpers.training import run_train


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_noise(tmp_path_factory.mktemp("data") / "noise")


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
