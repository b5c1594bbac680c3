import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from gains.training.checkpoints import LAST, OLDER, WholeCheckpoints
from gains.training.stopping import Stopped
from helpers.drawing_network import prepare_noise, start


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_noise(tmp_path_factory.mktemp("data") / "noise")


def step(path: Path) -> int:
    return int(torch.load(path, weights_only=True)["global_step"])


@pytest.mark.parametrize(
    ("settings", "validated", "last"),
    [
        ({"max_steps": 7, "val_check_interval": 4}, [4, 7], 7),
        ({"max_steps": 3, "val_check_interval": 100}, [3], 3),
        ({"max_steps": -1, "max_epochs": 2, "val_check_interval": 100}, [8], 8),
        ({"max_steps": 5, "limit_val_batches": 0}, [], 5),
        ({"max_steps": 4, "val_check_interval": 2, "accumulate_grad_batches": 2}, [2, 4], 4),
        ({"max_steps": 9, "val_check_interval": 0.5, "check_val_every_n_epoch": 2}, [6, 8, 9], 9),
        ({"fast_dev_run": 2}, [2], 2),
    ],
    ids=str,
)
def test_a_run_ends_on_a_validation_and_keeps_its_last_step(
    root: Path, tmp_path: Path, settings: dict[str, Any], validated: list[int], last: int
) -> None:
    seen = []

    class Listener(pl.Callback):
        def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            seen.append(trainer.global_step)

    start(root, tmp_path, extra=[Listener()], **settings)
    assert seen == validated
    assert step(tmp_path / "checkpoints" / LAST) == last


class Signal(pl.Callback):
    """Sends a signal to this process during a step of training or validation."""

    def __init__(self, number: int, step: int, validating: bool = False) -> None:
        self.number, self.step, self.validating = number, step, validating

    def on_train_batch_start(self, trainer: pl.Trainer, *args: Any) -> None:
        if trainer.global_step == self.step and not self.validating:
            os.kill(os.getpid(), self.number)

    def on_validation_batch_start(self, trainer: pl.Trainer, *args: Any) -> None:
        if trainer.global_step == self.step and self.validating:
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
@pytest.mark.parametrize(("sent", "validating", "saved"), [(2, False, 3), (3, False, 4), (4, True, 4)])
def test_signal_saves_the_step_and_gives_the_handlers_back(
    root: Path, tmp_path: Path, number: signal.Signals, sent: int, validating: bool, saved: int
) -> None:
    before = signal.getsignal(number)
    with pytest.raises(Stopped) as stop:
        start(root, tmp_path, extra=[Signal(number, sent, validating)])
    assert (stop.value.signal, stop.value.step) == (number, saved)
    content = torch.load(tmp_path / "checkpoints" / LAST, weights_only=True)
    assert content["global_step"] == saved
    assert content["validation_due"] == (saved == 4)
    assert signal.getsignal(number) is before


def test_one_older_last_is_kept(root: Path, tmp_path: Path) -> None:
    start(root, tmp_path, max_steps=9, val_check_interval=3)
    assert (step(tmp_path / "checkpoints" / OLDER), step(tmp_path / "checkpoints" / LAST)) == (6, 9)


FULL_DISK = """
import resource, sys, torch
from gains.training.checkpoints import LAST, OLDER, WholeCheckpoints
from gains.training.stopping import Stopped
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
WholeCheckpoints().save_checkpoint({"weights": torch.rand(1_000_000)}, sys.argv[1])
"""


@pytest.mark.slow
def test_full_disk_is_one_line_and_leaves_what_was_there(tmp_path: Path) -> None:
    for number in (1, 2):
        WholeCheckpoints().save_checkpoint({"global_step": number}, tmp_path / LAST)
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(tmp_path / LAST)], capture_output=True, text=True)
    assert f"{tmp_path / LAST} cannot be written: the disk is full" in done.stderr.splitlines()[-1]
    assert (step(tmp_path / LAST), step(tmp_path / OLDER)) == (2, 1)
    assert {path.name for path in tmp_path.iterdir()} == {LAST, OLDER}
