"""When a run validates: every so many optimiser steps or epochs, and always at its end.

Lightning counts batches and leaves out what comes after the last full interval; it looks at ``val_check_batch`` after
each batch, which is where this callback tells it yes or no.
"""

import math
from typing import Any

import pytorch_lightning as pl

from gains.contract import Batch
from gains.errors import InputError


class ValidationSchedule(pl.Callback):
    """Validates as ``trainer.val_check_interval`` and ``trainer.check_val_every_n_epoch`` say, and at the end.

    Args:
        interval: optimiser steps between validations, or, below or equal to 1.0, a fraction of an epoch.
        every_n_epoch: with a number, only epochs that are a multiple of it are validated, and a whole ``interval``
            counts steps within the epoch.

    Raises:
        InputError: if the interval is neither.
    """

    def __init__(self, interval: int | float | None, every_n_epoch: int | None = None) -> None:
        interval = 1.0 if interval is None else interval
        if isinstance(interval, bool) or not isinstance(interval, int | float) or interval <= 0:
            raise InputError(
                f"trainer.val_check_interval={interval}: give the number of steps between validations, as 500, or a "
                "fraction of an epoch, as 0.5"
            )
        if isinstance(interval, float) and interval > 1:
            raise InputError(f"trainer.val_check_interval={interval}: a fraction of an epoch is at most 1.0")
        self.interval = interval
        self.every_n_epoch = every_n_epoch if isinstance(interval, int) else every_n_epoch or 1

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Decide about the step that has just been done."""
        due = stepped(trainer) and trainer.global_step > 0
        tell(trainer, due and (finishes(trainer) or self._due(trainer, batch_idx)))

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """It is done: nothing is due any more."""
        tell(trainer, False)

    def _due(self, trainer: pl.Trainer, batch_idx: int) -> bool:
        if self.every_n_epoch is None:
            return trainer.global_step % int(self.interval) == 0
        batches = int(trainer.num_training_batches)
        steps = math.ceil(batches / trainer.accumulate_grad_batches)
        period = self.interval if isinstance(self.interval, int) else max(1, int(steps * self.interval))
        step = math.ceil((batch_idx + 1) / trainer.accumulate_grad_batches)
        return (trainer.current_epoch + 1) % self.every_n_epoch == 0 and step % period == 0


def tell(trainer: pl.Trainer, due: bool) -> None:
    """Make Lightning validate after this batch, or not."""
    done = trainer.fit_loop.total_batch_idx + 1
    trainer.val_check_batch = done if due else done + 1


def validation_due(trainer: pl.Trainer) -> bool:
    """Whether a validation follows the batch that has just been trained on."""
    return trainer.enable_validation and trainer.val_check_batch == trainer.fit_loop.total_batch_idx + 1


def stepped(trainer: pl.Trainer) -> bool:
    """Whether the batch that has just been trained on ended in an optimiser step, not in gradients that wait."""
    return not trainer.fit_loop._should_accumulate()


def finishes(trainer: pl.Trainer) -> bool:
    """Whether the batch that has just been trained on is the run's last."""
    if 0 <= trainer.max_steps <= trainer.global_step:
        return True
    last_epoch = trainer.max_epochs is not None and 0 <= trainer.max_epochs <= trainer.current_epoch + 1
    return last_epoch and trainer.fit_loop.epoch_loop._num_ready_batches_reached()


def validate_now(trainer: pl.Trainer) -> None:
    """Run a validation outside Lightning's schedule, logged at the step that was last done."""
    loop = trainer.fit_loop.epoch_loop
    loop._batches_that_stepped -= 1  # a validation is logged at the step before which the counter still stands
    trainer.validating = True
    loop.val_loop.run()
    trainer.training = True
    loop._batches_that_stepped += 1
