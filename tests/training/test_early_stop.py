"""A run ends when validations no longer rise, and counts on where it was stopped."""

import math
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from gains.errors import InputError
from gains.training.checkpoints import LAST
from gains.training.early_stop import EarlyStop
from helpers.drawing_network import prepare_noise, start


class Scripted(pl.Callback):
    """Logs given values, one at each validation (which come at every step here)."""

    def __init__(self, values: list[float]) -> None:
        self.values = values

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        pl_module.log("val/scripted", self.values[trainer.global_step - 1])


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_noise(tmp_path_factory.mktemp("data") / "noise")


def steps_done(root: Path, folder: Path, values: list[float], **settings: Any) -> int:
    extra = [Scripted(values), EarlyStop("val/scripted", 2)]
    start(root, folder, extra=extra, val_check_interval=1, max_steps=len(values), **settings)
    return int(torch.load(folder / "checkpoints" / LAST, weights_only=True)["global_step"])


NAN = math.nan


@pytest.mark.parametrize(
    ("values", "steps"),
    [
        ([0.1, 0.2, 0.2, 0.2, 0.9], 4),  # equal is no new best
        ([0.1, 0.0, 0.2, 0.1, 0.3, 0.2], 6),  # each best starts the count anew
        ([0.5, NAN, NAN, 0.9], 3),
        ([NAN, NAN, 0.5], 2),
        ([0.1, 0.2, 0.3], 3),
    ],
)
def test_it_ends_after_two_validations_without_a_new_best(
    root: Path, tmp_path: Path, values: list[float], steps: int
) -> None:
    assert steps_done(root, tmp_path, values) == steps


def test_it_says_why(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    steps_done(root, tmp_path, [0.1, 0.25, 0.2, 0.2, 0.9])
    expected = "stopped at step 4: val/scripted has not risen for 2 validations (best 0.2500 at step 2)"
    assert expected in capsys.readouterr().out


def test_a_resumed_run_goes_on_counting() -> None:
    first, second = EarlyStop("val/x", 3), EarlyStop("val/x", 3)
    first.best, first.step, first.waited = 0.4, 20, 2
    second.load_state_dict(first.state_dict())
    assert (second.best, second.step, second.waited) == (0.4, 20, 2)


def test_without_validation_images_there_is_nothing_to_stop_on(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"validation images, and there are none; see dataset\.ratios"):
        steps_done(prepare_noise(tmp_path / "noise", 4, ratios=(1, 0, 0)), tmp_path, [0.1])


@pytest.mark.parametrize("patience", [0, -1, 1.5, True, "3"])
def test_a_patience_that_is_none_is_refused(patience: Any) -> None:
    with pytest.raises(InputError, match=rf"patience={patience} must be a whole number from 1"):
        EarlyStop("val/segm_map", patience)
