import math
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from gains.errors import InputError
from gains.training.checkpoints import LAST
from gains.training.finite import FiniteGuard
from helpers.drawing_network import prepare_noise, start


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_noise(tmp_path_factory.mktemp("data") / "noise")


class Poison(pl.Callback):
    """Makes a weight infinite or not a number before a step."""

    def __init__(self, step: int, value: float) -> None:
        self.step, self.value = step, value
        self.images: list[int] = []
        self.steps = 0

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.steps = trainer.global_step
        if trainer.global_step == self.step:
            pl_module.network.weight.data[3] = self.value
            self.images = [target["image_id"] for target in batch[1]]


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("step", [6, 9])
def test_a_diverged_run_stops_soon_and_says_where(root: Path, tmp_path: Path, value: float, step: int) -> None:
    poison = Poison(step, value)
    with pytest.raises(InputError, match=f"loss_draw is not finite at step {step} ") as stop:
        start(root, tmp_path, extra=[poison, FiniteGuard()], max_steps=40, log_every_n_steps=5, val_check_interval=4)
    assert f"(image ids {', '.join(map(str, poison.images))})" in str(stop.value)
    assert poison.steps < step + 5
    for name in (LAST, "best.ckpt"):
        content = torch.load(tmp_path / "checkpoints" / name, weights_only=True)
        assert content["global_step"] <= step
        assert all(torch.isfinite(value).all() for value in content["state_dict"].values())
    assert torch.load(tmp_path / "checkpoints" / LAST, weights_only=True)["global_step"] == step // 4 * 4


def test_weights_that_break_in_the_last_step_are_not_saved(root: Path, tmp_path: Path) -> None:
    class Break(pl.Callback):
        def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *_: Any) -> None:
            if trainer.global_step == 3:
                pl_module.network.weight.data[0] = math.nan

    with pytest.raises(InputError, match="after step 3 weights are not finite"):
        start(root, tmp_path, extra=[Break(), FiniteGuard()], max_steps=3, limit_val_batches=0)
    assert not (tmp_path / "checkpoints" / LAST).exists()


def test_the_note_is_not_read_at_every_step(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    seen = [0]

    class Count(pl.Callback):
        def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
            seen.append(trainer.global_step)

    monkeypatch.setattr(FiniteGuard, "check", lambda self: read.append(seen[-1]))
    start(root, tmp_path, extra=[Count(), FiniteGuard()], max_steps=12, log_every_n_steps=5, val_check_interval=100)
    assert [step for step in read if step < 12] == [5, 10]
