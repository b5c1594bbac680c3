"""One bar over all optimiser steps of a run, or over the images of an evaluation, with the time that is left."""

import math
import sys
import time
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ProgressBar
from tqdm import tqdm

from gains.contract import Batch

SECONDS = 0.5
"""Between two looks at the losses on a terminal: each look waits for the device."""
LOGGED_SECONDS = 30.0
"""The same where the output goes to a file, in which every look leaves a line."""


class StepBar(ProgressBar):
    """Counts steps from the first of the run to its last, epochs and validations included, also in a resumed run.

    The time left is that of all remaining steps at the pace so far, in which validations count.
    """

    def __init__(self) -> None:
        super().__init__()
        self.enabled = True
        self.bar: Any = None
        self.seconds = SECONDS
        self.looked = -math.inf

    @property
    def is_enabled(self) -> bool:
        """Whether the bar is shown; where it is, modules print through it."""
        return self.enabled

    def disable(self) -> None:
        """Show nothing: another process of the run does."""
        self.enabled = False

    def enable(self) -> None:
        """Show the bar again."""
        self.enabled = True

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Print above the bar."""
        tqdm.write(" ".join(map(str, args)), file=sys.stderr)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin where the run stands."""
        self._open("training", int(trainer.estimated_stepping_batches), trainer.global_step, "step")

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Count the optimiser steps done, and show the loss from time to time."""
        self.bar.update(trainer.global_step - self.bar.n)
        if time.monotonic() - self.looked >= self.seconds:
            self._look(trainer)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say why no step is done."""
        if self.bar is not None:
            self.bar.set_description("validating")

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show the new metric."""
        if self.bar is not None:
            self.bar.set_description("training", refresh=False)
            self._look(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave the bar as it stands."""
        self._close()

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin a bar over the batches of an evaluation, each of which is an image."""
        self._open("evaluating", sum(map(int, trainer.num_test_batches)), 0, "image")

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count."""
        self.bar.update()

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave the bar as it stands."""
        self._close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Leave the line to what is said about it."""
        self._close()

    def _open(self, what: str, total: int, done: int, unit: str) -> None:
        self.seconds = SECONDS if sys.stderr.isatty() else LOGGED_SECONDS
        self.bar = tqdm(
            desc=what,
            total=total,
            initial=done,
            unit=unit,
            disable=not self.enabled,
            dynamic_ncols=True,
            smoothing=0,  # the pace of the whole run: that of the last steps knows nothing of validations
            mininterval=self.seconds,
        )

    def _look(self, trainer: pl.Trainer) -> None:
        if self.enabled:
            self.looked = time.monotonic()
            self.bar.set_postfix({name: f"{float(value):.3f}" for name, value in trainer.progress_bar_metrics.items()})

    def _close(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None
