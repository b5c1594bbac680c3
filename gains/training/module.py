"""The one LightningModule, for every model: losses in, metrics out."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gains.contract import Batch
from gains.errors import InputError
from gains.metrics.evaluator import InstanceSegmentationEvaluator
from gains.metrics.names import MAIN
from gains.models.checkpoint import operate, seal
from gains.models.parts.detections import relabel
from gains.models.recipe import Recipe
from gains.training.optim import parameter_groups, warmup_and_steps
from gains.training.tiled import detect

OptimizerFactory = Callable[[list[dict[str, Any]]], Optimizer]


class InstanceSegmentation(pl.LightningModule):
    """Trains and evaluates any model that follows the contract of :class:`TwoStageDetector`'s call.

    Args:
        network: the model.
        recipe: from which the network can be built again; travels in every checkpoint. Its operating point is that of
            network and evaluator.
        evaluated: names of the categories that are evaluated; position + 1 is the label that targets have. None takes
            all of the recipe's.
        optimizer: makes the optimiser from parameter groups; None for evaluation only.
        schedule: settings of :func:`gains.training.optim.warmup_and_steps`.
        backbone_lr_factor: learning rate of the backbone relative to the rest.
    """

    monitor = f"val/{MAIN}"
    """The metric that picks the best checkpoint; higher is better."""

    def __init__(
        self,
        network: nn.Module,
        recipe: Recipe,
        evaluated: Sequence[str] | None = None,
        optimizer: OptimizerFactory | None = None,
        schedule: Mapping[str, Any] | None = None,
        backbone_lr_factor: float = 1.0,
    ) -> None:
        super().__init__()
        self.network = network
        self.optimizer = optimizer
        self.schedule = dict(schedule or {})
        self.backbone_lr_factor = backbone_lr_factor
        self.recipe = recipe
        self.evaluated = list(recipe.categories if evaluated is None else evaluated)
        self.results: dict[str, Any] = {}
        self.losses: dict[str, Tensor] = {}
        self.capped_images = 0
        point = recipe.operating_point
        operate(network, point)
        self.evaluator = InstanceSegmentationEvaluator(
            dict(enumerate(self.evaluated, 1)),
            max_detections=point.max_detections,
            score_threshold=point.score_threshold,
        )

    def forward(self, images: list[Tensor]) -> list[dict[str, Any]]:
        """Predictions per image (see the model's contract)."""
        predictions: list[dict[str, Any]] = self.network(images)
        return predictions

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Sum of the model's weighted losses, each logged by name."""
        images, targets = batch
        losses: dict[str, Tensor] = self.network(images, targets)
        self.losses = {name: loss.detach() for name, loss in losses.items()}
        total = torch.stack(list(losses.values())).sum()
        logged = {f"train/{name}": loss for name, loss in self.losses.items()}
        self.log_dict(logged, batch_size=len(images))
        self.log("train/loss", total.detach(), prog_bar=True, batch_size=len(images))
        return total

    def _evaluation_step(self, batch: Batch) -> dict[str, Any]:
        images, targets = batch
        seen = detect(self.network, self.recipe, images)
        most = self.recipe.operating_point.max_detections
        self.capped_images += sum(found.get("capped", len(found["scores"]) >= most) for found in seen)
        # Encoded once, for the evaluator and for callbacks that write or draw.
        named = [relabel(detections, self.recipe.categories, self.evaluated) for detections in seen]
        found = [{**detections, "rles": detections["masks"].to_rle()} for detections in named]
        predictions = [{**detections, "masks": detections["rles"]} for detections in found]
        truths = [{**target, "masks": target["rles"]} for target in targets]
        self.evaluator.update(predictions, truths)
        return {"predictions": found}

    def validation_step(self, batch: Batch, batch_index: int) -> dict[str, Any]:
        """Compare predictions with the ground truth; returns ``predictions`` per image, with ``rles``."""
        return self._evaluation_step(batch)

    def test_step(self, batch: Batch, batch_index: int) -> dict[str, Any]:
        """Compare predictions with the ground truth; returns ``predictions`` per image, with ``rles``."""
        return self._evaluation_step(batch)

    def on_validation_epoch_end(self) -> None:
        """Compute and log all metrics as ``val/...``."""
        metrics = self.evaluator.compute()["metrics"]
        self.evaluator.reset()
        # The evaluator has already synchronised, so every process logs the same numbers.
        self.log_dict({f"val/{name}": float(value) for name, value in metrics.items() if value is not None})
        self.log("val_map", float(metrics[MAIN] or 0), prog_bar=True, logger=False)

    def on_test_epoch_end(self) -> None:
        """Keep the whole result in ``results`` and log its main mapping as ``test/...``."""
        self.results = self.evaluator.compute()
        metrics = self.results["metrics"]
        self.log_dict({f"test/{name}": float(value) for name, value in metrics.items() if value is not None})

    def on_test_epoch_start(self) -> None:
        """Start from an empty evaluator, which from now on also looks at how instances lie."""
        self.evaluator.reset()
        self.evaluator.arrangement = True
        self.capped_images = 0

    def configure_optimizers(self) -> Any:
        """The optimiser with its warm-up and step schedule, stepped every batch.

        Raises:
            InputError: if nothing but time ends the run.
            ValueError: if the module was made without an optimiser.
        """
        optimizer = self._new_optimizer()
        total = self.trainer.estimated_stepping_batches
        if total == math.inf:
            raise InputError(
                "trainer.max_steps=-1 with trainer.max_epochs=-1 has no end, which the learning rate's schedule needs; "
                "give one of them (trainer.max_time may end the run earlier)"
            )
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, warmup_and_steps(int(total), **self.schedule))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def learning_rates(self) -> dict[str, float]:
        """The learning rate that each group of parameters begins with, before warm-up.

        Raises:
            ValueError: if the module was made without an optimiser.
        """
        return {group["part"]: float(group["lr"]) for group in self._new_optimizer().param_groups}

    def _new_optimizer(self) -> Optimizer:
        if self.optimizer is None:
            raise ValueError("this module was built for evaluation and has no optimiser")
        try:
            optimizer = self.optimizer(parameter_groups(self.network))
        except ValueError as error:
            raise InputError(f"model.optimizer: {error}") from error
        for group in optimizer.param_groups:
            group["lr"] *= self.backbone_lr_factor if group["part"] == "backbone" else 1.0
            group["weight_decay"] *= 0.0 if group["part"] == "norm" else 1.0
        return optimizer

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what is needed to build the model again without its configuration."""
        checkpoint["gains"] = seal(self.recipe, checkpoint["state_dict"])
