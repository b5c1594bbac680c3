"""A run that is killed and goes on ends as one that was never stopped."""

import random
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from helpers.drawing_network import prepare_noise, start


class Killed(Exception):
    """Nothing is saved on this way out."""


class KillAt(pl.Callback):
    """Ends the process, so to speak, at the n-th call of one of Lightning's hooks."""

    def __init__(self, hook: str, call: int) -> None:
        self.left = call
        setattr(self, hook, self._kill)

    def _kill(self, *args: Any, **kwargs: Any) -> None:
        self.left -= 1
        if self.left == 0:
            raise Killed


TRAINING = ("on_train_batch_start", "on_train_batch_end")
VALIDATION = ("on_validation_batch_end", "on_validation_end")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_noise(tmp_path_factory.mktemp("data") / "noise")


def weights(path: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(path, weights_only=True)["state_dict"]
    return state


def equal(first: Path, second: Path) -> bool:
    one, other = weights(first), weights(second)
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    "settings",
    [
        {"workers": 0},
        {"workers": 1, "minutes": 0},
        pytest.param({"workers": 2, "minutes": 0}, marks=pytest.mark.slow),
        {"accumulate_grad_batches": 2, "minutes": 0},
        {"max_steps": -1, "max_epochs": 3, "val_check_interval": 0.5, "minutes": 0},
        {"max_steps": -1, "max_epochs": 3, "check_val_every_n_epoch": 2, "val_check_interval": 1.0, "minutes": 0},
        {"limit_train_batches": 3, "minutes": 0},
        {"limit_val_batches": 0, "minutes": 0},
    ],
    ids=str,
)
def test_killed_runs_end_with_the_weights_of_one_that_was_not(
    root: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    start(root, tmp_path / "whole", **settings)
    draw = random.Random(str(settings))
    validates = settings.get("limit_val_batches") != 0
    kills = 0
    for attempt in range(3):
        folder = tmp_path / f"killed{attempt}"
        last = folder / "checkpoints" / "last.ckpt"
        for hook, call in ((draw.choice(TRAINING), draw.randint(2, 6)), (draw.choice(VALIDATION), draw.randint(1, 3))):
            try:
                start(root, folder, last if last.is_file() else None, [KillAt(hook, call)], **settings)
            except Killed:
                kills += 1
        start(root, folder, last if last.is_file() else None, **settings)
        for name in ("last.ckpt", "best.ckpt"):
            whole = tmp_path / "whole" / "checkpoints" / name
            if validates or name == "last.ckpt":
                assert equal(whole, folder / "checkpoints" / name), name
    assert kills >= 3
