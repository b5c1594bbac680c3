"""A diverged run stops soon, and never replaces a checkpoint that is still finite."""

import pytorch_lightning as pl
import torch
from torch import Tensor

from gains.contract import Batch
from gains.errors import InputError

ADVICE = "lower model.optimizer.lr, lengthen model.schedule.warmup_steps, or look at these images"


class FiniteGuard(pl.Callback):
    """Notes on the device the first step at which a loss is not finite; looks at it every few steps.

    Nothing waits for the device in between: the note is read every ``log_every_n_steps`` batches and before each
    validation and checkpoint, which must also have finite weights.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self.first: Tensor | None = None
        self.images: dict[int, list[int]] = {}
        self.accumulated = 1

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: Batch, batch_idx: int
    ) -> None:
        """Note whether a loss of this batch was not finite."""
        losses: dict[str, Tensor] = pl_module.losses  # type: ignore[assignment]
        if list(losses) != self.names:
            self._stop_where_noted()
            self.names, self.first = list(losses), None
        number = trainer.fit_loop.total_batch_idx
        self.accumulated = trainer.accumulate_grad_batches
        values = torch.stack([loss.float() for loss in losses.values()])
        if self.first is None:
            self.first = torch.full_like(values, -1, dtype=torch.int64)
        new = ~torch.isfinite(values) & (self.first < 0)
        self.first = torch.where(new, number, self.first)
        self.images[number] = [int(target["image_id"]) for target in batch[1]]
        every = int(trainer.log_every_n_steps)  # type: ignore[attr-defined]
        if (number + 1) % max(1, every) == 0:
            self.check()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Weights that have diverged are not worth a validation."""
        self.check()

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, object]
    ) -> None:
        """Refuse to save what has diverged: the earlier checkpoint stays."""
        self.check()
        if not all(bool(torch.isfinite(parameter).all()) for parameter in pl_module.parameters()):
            raise InputError(
                f"training diverged: after step {trainer.global_step} weights are not finite, though the losses were; "
                f"what was saved before stays. {ADVICE}"
            )

    def check(self) -> None:
        """Read the note.

        Raises:
            InputError: if a loss was not finite in this process; one that ends takes the others of the run with it.
        """
        self._stop_where_noted()
        self.images = {}

    def _stop_where_noted(self) -> None:
        first = [] if self.first is None else self.first.tolist()
        noted = sorted((batch, name) for batch, name in zip(first, self.names, strict=True) if batch >= 0)
        if noted:
            batch = noted[0][0]
            names = ", ".join(name for number, name in noted if number == batch)
            shown = ", ".join(map(str, self.images.get(batch, [])))
            raise InputError(
                f"training diverged: {names} is not finite at step {batch // self.accumulated} "
                f"(image ids {shown}); what was saved before stays. {ADVICE}"
            )
