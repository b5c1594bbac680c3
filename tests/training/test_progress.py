import re
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
from pytorch_lightning.callbacks import ProgressBar

from gains.config import compose
from gains.errors import InputError
from gains.tasks.trainer import build_trainer
from gains.training.progress import StepBar
from helpers.drawing_network import prepare_noise, start


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_noise(tmp_path_factory.mktemp("data") / "noise")


def shown(text: str) -> list[str]:
    """What a terminal showed one after the other."""
    return [line for line in re.split(r"[\r\n]", text) if line.strip()]


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ({"max_steps": 13}, 13),
        ({"max_steps": -1, "max_epochs": 2}, 8),
        ({"max_steps": -1, "max_epochs": 3, "accumulate_grad_batches": 2}, 6),
        ({"max_steps": 7, "max_epochs": 3}, 7),
    ],
)
def test_one_bar_counts_all_steps(
    root: Path, tmp_path: Path, settings: dict[str, Any], steps: int, capsys: pytest.CaptureFixture[str]
) -> None:
    start(root, tmp_path / "run", extra=[StepBar()], enable_progress_bar=True, **settings)
    lines = shown(capsys.readouterr().err)
    assert [line for line in lines if f"/{steps} [" not in line] == []  # an epoch has 4 batches: no bar is of one
    assert lines[0].startswith("training:   0%")
    assert lines[-1].startswith("training: 100%")
    assert "val_map" in lines[-1]
    assert "train/loss" in lines[-1]


def test_a_resumed_run_goes_on_counting(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start(root, tmp_path / "run", max_steps=7)
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    start(root, tmp_path / "run", last, [StepBar()], max_steps=13, enable_progress_bar=True)
    assert "| 7/13 [" in shown(capsys.readouterr().err)[0]


def test_the_time_left_is_that_of_the_whole_run(monkeypatch: pytest.MonkeyPatch) -> None:
    bar = StepBar()
    bar._open("training", 100, 20, "step")
    monkeypatch.setattr(bar.bar, "_time", lambda: bar.bar.start_t + 60)
    bar.bar.n = 40
    assert "[01:00<03:00" in str(bar.bar)  # 20 steps in a minute, 60 to go
    bar._close()


def test_a_run_without_an_end_is_refused(root: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"max_steps=-1 with trainer\.max_epochs=-1 has no end"):
        start(root, tmp_path, max_steps=-1)


@pytest.mark.parametrize(
    ("words", "bars"),
    [([], [StepBar]), (["callbacks.progress=null"], []), (["++trainer.enable_progress_bar=false"], [])],
)
def test_no_other_bar_is_ever_shown(words: list[str], bars: list[type], tmp_path: Path) -> None:
    config = compose("train", "logger=csv", *words)
    config.callbacks = {"progress": config.callbacks.get("progress")}
    trainer = build_trainer(config, tmp_path)
    assert [type(one) for one in trainer.callbacks if isinstance(one, ProgressBar)] == bars  # type: ignore[attr-defined]


class Speaker(pl.Callback):
    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        pl_module.print("something", "to say")


@pytest.mark.parametrize("enabled", [True, False])
def test_what_a_module_prints_stands_on_a_line_of_its_own(
    root: Path, tmp_path: Path, enabled: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    bar = StepBar()
    if not enabled:
        bar.disable()
    start(root, tmp_path / "run", extra=[bar, Speaker()], enable_progress_bar=True, max_steps=2)
    printed = capsys.readouterr()
    assert "something to say" in shown(printed.err if enabled else printed.out)
