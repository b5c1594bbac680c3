"""Checkpoints of a run: written whole, ``best`` by validation, ``last`` often enough that little work is lost."""

import math
import os
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins import TorchCheckpointIO
from lightning_fabric.utilities.types import _PATH
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.trainer.states import TrainerFn

from gains.contract import Batch
from gains.files import replacing
from gains.training.schedule import finishes, stepped, validation_due
from gains.training.stopping import WARNINGS, Stopped, StopSignals

LAST = "last.ckpt"
OLDER = "last-older.ckpt"
"""The ``last`` before the last: what there is to go on from where the newest is damaged."""


class WholeCheckpoints(TorchCheckpointIO):
    """Writes beside the target, syncs, renames; keeps one older ``last.ckpt``."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: _PATH, storage_options: Any = None) -> None:
        """Write a checkpoint; on failure what was there before stays.

        Raises:
            InputError: if the disk is full or the folder cannot be written to.
        """
        target = Path(path)
        with replacing(target) as temporary:
            _write(checkpoint, temporary)
            if target.name == LAST and target.is_file():
                # Only now that the new one is complete; a process killed in between leaves the older one.
                with temporary.open("rb+") as file:
                    os.fsync(file.fileno())
                os.replace(target, target.with_name(OLDER))


def _write(checkpoint: dict[str, Any], path: Path) -> None:
    """``torch.save``, whose writer hides what the system said about a full disk."""
    try:
        with path.open("wb") as file:
            torch.save(checkpoint, file)
    except RuntimeError as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, OSError):
            cause = cause.__cause__ or cause.__context__
        if cause is None:
            raise
        raise cause from None


class BestCheckpoint(Checkpoint):
    """Keeps ``best.ckpt``: the weights with the highest validation metric so far.

    Args:
        dirpath: folder of the run's checkpoints.
        monitor: name of the metric; higher is better. A value that is not a number never counts.
    """

    def __init__(self, dirpath: str, monitor: str) -> None:
        self.path = Path(dirpath) / "best.ckpt"
        self.monitor = monitor
        self.score = -math.inf
        self.step: int | None = None

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save if this validation was the best."""
        if trainer.sanity_checking or trainer.state.fn != TrainerFn.FITTING:
            return
        score = float(trainer.callback_metrics.get(self.monitor, math.nan))
        if not score > self.score:  # false for NaN
            return
        self.score, self.step = score, trainer.global_step
        trainer.save_checkpoint(self.path)

    def state_dict(self) -> dict[str, Any]:
        """Score and step, so that a resumed run knows what it has to beat."""
        return {"score": self.score, "step": self.step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint's score, if its file is still there."""
        if self.path.is_file():
            self.score, self.step = state_dict["score"], state_dict["step"]


class LastCheckpoint(Checkpoint):
    """Keeps ``last.ckpt``: after every validation, every few minutes, at the end, and when told to stop.

    Args:
        dirpath: folder of the run's checkpoints.
        minutes: time after which one is written also between validations.
    """

    def __init__(self, dirpath: str, minutes: float = 10.0) -> None:
        self.path = Path(dirpath) / LAST
        self.minutes = minutes
        self.signals = StopSignals()
        self.saved_step = -1
        self.saved_time = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock, and listen for signals: Lightning's own handlers, set before, end without saving."""
        self.saved_time = time.monotonic()
        self.saved_step = trainer.global_step
        self.signals.listen()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Save where somebody asks to stop or time has passed."""
        if not stepped(trainer):  # gradients that wait for more batches are not part of a checkpoint
            return
        late = time.monotonic() - self.saved_time > 60 * self.minutes and not validation_due(trainer)
        if self._stopping(trainer):
            # Lightning logs a step after this hook, which may not return.
            trainer._logger_connector.update_train_step_metrics()
            self._stop(trainer)
        elif _any_process(trainer, late):
            self.save(trainer)

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Stop also in the middle of a validation; a resumed run begins with it."""
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking and self._stopping(trainer):
            self._stop(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save after every validation, better or not."""
        if trainer.sanity_checking or trainer.state.fn != TrainerFn.FITTING:
            return
        self.save(trainer)
        if self._stopping(trainer) and not finishes(trainer):
            self._end(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save what came after the last validation."""
        if self.saved_step != trainer.global_step:
            self.save(trainer)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Give the signals back."""
        self.signals.leave()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Give the signals back, and end data workers: Lightning forgets those of training during a validation."""
        self.signals.leave()
        trainer.fit_loop.teardown()

    def save(self, trainer: pl.Trainer) -> None:
        """Write the checkpoint, and with it what was logged so far."""
        trainer.save_checkpoint(self.path)
        for logger in trainer.loggers:
            logger.save()
        self.saved_step = trainer.global_step
        self.saved_time = time.monotonic()

    def _stopping(self, trainer: pl.Trainer) -> bool:
        return _any_process(trainer, self.signals.received is not None)

    def _stop(self, trainer: pl.Trainer) -> None:
        self.save(trainer)
        self._end(trainer)

    def _end(self, trainer: pl.Trainer) -> None:
        """Once saved: have the job started again where that is what a signal means, else end the run."""
        for number in WARNINGS:
            if _any_process(trainer, self.signals.requeues(number)):
                self.signals.requeue(number)
                return
        raise Stopped(self.signals.received, trainer.global_step)


def _any_process(trainer: pl.Trainer, decision: bool) -> bool:
    """Whether any process of the run decides so: all must save at the same step."""
    if trainer.world_size == 1:
        return decision
    return bool(trainer.strategy.reduce_boolean_decision(decision, all=False))
