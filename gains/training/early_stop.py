"""End a run whose validations no longer rise."""

import math
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.trainer.states import TrainerFn

from gains.data.datamodule import InstanceDataModule
from gains.errors import InputError


class EarlyStop(pl.Callback):
    """Ends training after so many validations in a row without a new best; a resumed run goes on counting.

    Args:
        monitor: name of the metric; higher is better. A value that is not a number is no new best.
        patience: validations without a new best after which the run ends, at least 1.

    Raises:
        InputError: if the patience is no whole number from 1.
    """

    def __init__(self, monitor: str, patience: int) -> None:
        if isinstance(patience, bool) or not isinstance(patience, int) or patience < 1:
            raise InputError(f"callbacks.early_stop.patience={patience} must be a whole number from 1")
        self.monitor = monitor
        self.patience = patience
        self.best = -math.inf
        self.step: int | None = None
        self.waited = 0

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Find out before training whether there will be anything to stop on.

        Raises:
            InputError: without validation images.
        """
        datamodule = trainer.datamodule  # type: ignore[attr-defined]
        ours = isinstance(datamodule, InstanceDataModule)
        if stage == TrainerFn.FITTING and ours and not datamodule.splits[datamodule.validated]:
            raise InputError(
                "callbacks=early_stop ends a run by its validation images, and there are none; see dataset.ratios, "
                "or take callbacks=default"
            )

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Count this validation."""
        if trainer.sanity_checking or trainer.state.fn != TrainerFn.FITTING:
            return
        value = float(trainer.callback_metrics.get(self.monitor, math.nan))
        if value > self.best:  # false for NaN
            self.best, self.step, self.waited = value, trainer.global_step, 0
            return
        self.waited += 1
        if self.waited >= self.patience:
            trainer.should_stop = True
            best = "none is a number" if self.step is None else f"best {self.best:.4f} at step {self.step}"
            pl_module.print(
                f"stopped at step {trainer.global_step}: {self.monitor} has not risen for {self.waited} validations "
                f"({best})"
            )

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run goes on counting from."""
        return {"best": self.best, "step": self.step, "waited": self.waited}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting."""
        self.best, self.step, self.waited = state_dict["best"], state_dict["step"], state_dict["waited"]
