"""A resumed run goes on exactly as if it had never stopped.

What a checkpoint must say for that is how many batches of which epoch are done, and whether a validation was due.
Order and augmentation of images follow from seed and epoch (:mod:`gains.data.sampler`), and so does from seed and batch
whatever a model draws while it trains: no state of a random generator has to be kept.
"""

import hashlib
from typing import Any

import pytorch_lightning as pl
import torch

from gains.contract import Batch
from gains.data.datamodule import InstanceDataModule
from gains.errors import InputError
from gains.training.schedule import tell, validate_now, validation_due


class ExactResume(pl.Callback):
    """Notes in every checkpoint where the run stands, and returns there.

    Args:
        seed: of the run.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.validation_due = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Do the validation that the stopped run still owed."""
        tell(trainer, self.validation_due)
        if self.validation_due:
            self.validation_due = False
            validate_now(trainer)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Seed what the model draws in this batch, differently in each process."""
        torch.manual_seed(seed_of(self.seed, trainer.fit_loop.total_batch_idx, trainer.global_rank))

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Write the counts of Lightning's loops as they are between two batches, from wherever this is called."""
        checkpoint["validation_due"] = validation_due(trainer)
        settle(checkpoint["loops"]["fit_loop"], int(trainer.num_training_batches), trainer.global_step)

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Let the data begin where the checkpoint was written."""
        if "validation_due" not in checkpoint:
            raise InputError(
                "this checkpoint was written by an earlier version, whose runs cannot be gone on with; "
                "start from its weights with model.weights=PATH instead of checkpoint=PATH"
            )
        self.validation_due = bool(checkpoint["validation_due"])
        loops = checkpoint["loops"]["fit_loop"]
        datamodule = trainer.datamodule  # type: ignore[attr-defined]
        if isinstance(datamodule, InstanceDataModule):
            epoch = loops["epoch_progress"]["current"]["processed"]
            datamodule.start(epoch, loops["epoch_loop.batch_progress"]["current"]["processed"])


def settle(loops: dict[str, Any], batches_per_epoch: int, steps: int) -> None:
    """Bring the saved counts of Lightning's loops to one form, whichever hook they were taken in.

    Lightning tells by small differences between ``ready``, ``started``, ``processed`` and ``completed`` in which hook
    a checkpoint was written, and goes on accordingly, repeating or leaving out a step in some cases. Here the batches
    that were processed are done, and an epoch whose batches are all done is over.

    Args:
        loops: state of the fit loop; changed in place.
        batches_per_epoch: of the training data.
        steps: optimiser steps done.
    """
    batch, epoch = loops["epoch_loop.batch_progress"], loops["epoch_progress"]
    epochs, done = epoch["current"]["processed"], batch["current"]["processed"]
    if epoch["current"]["ready"] == epochs:  # between two epochs the count of batches still stands at its end
        done = 0
    elif done >= batches_per_epoch:
        epochs, done = epochs + 1, 0
    begun = epochs + (done > 0)
    for counts in (epoch["total"], epoch["current"]):
        counts.update(ready=begun, started=begun, processed=epochs, completed=epochs)
    for counts, number in ((batch["total"], batch["total"]["processed"]), (batch["current"], done)):
        counts.update(dict.fromkeys(counts, number))
    batch["is_last_batch"] = False
    for counts in (loops["epoch_loop.val_loop.batch_progress"][name] for name in ("total", "current")):
        counts.update(dict.fromkeys(counts, 0))
    loops["epoch_loop.state_dict"]["_batches_that_stepped"] = steps


def seed_of(*numbers: int) -> int:
    """A seed that differs for any other numbers: 63 bits of their SHA-256."""
    digest = hashlib.sha256(",".join(map(str, numbers)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1
