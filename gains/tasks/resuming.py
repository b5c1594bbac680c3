"""A resumed run goes on with what it began with: what differs is refused before anything is trained."""

import csv
import math
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loggers import CSVLogger

from gains.comparison.collect import CURVES
from gains.errors import InputError
from gains.models.checkpoint import Checkpoint, read_checkpoint
from gains.models.recipe import Recipe
from gains.training.kept import run_of
from gains.training.module import InstanceSegmentation

ANEW = "to start anew from its weights give model.weights=PATH instead of checkpoint=PATH"


def go_on(path: str, module: InstanceSegmentation, trainer: pl.Trainer) -> list[dict[str, float]]:
    """Check what is to be gone on with, and say where it stands.

    Args:
        path: checkpoint file.
        module: of this run.
        trainer: of this run.

    Returns:
        What the run had logged so far (:func:`earlier_metrics`).

    Raises:
        InputError: if the checkpoint is of another run (:func:`check_resumed`).
    """
    checkpoint = read_checkpoint(path)
    check_resumed(checkpoint, module)
    step, last = int(checkpoint.content["global_step"]), trainer.max_steps
    finished = 0 <= last <= step
    print(f"{path} is already at step {step} of {last}" if finished else f"resuming from {path} at step {step}")
    return earlier_metrics(path, step)


def check_resumed(checkpoint: Checkpoint, module: InstanceSegmentation) -> None:
    """Compare a checkpoint with the run that is to go on from it. Its length may change.

    Raises:
        InputError: naming the first thing that differs and both values.
    """
    theirs, ours = facts(checkpoint.recipe), facts(module.recipe)
    theirs |= rates(checkpoint.content)
    ours |= {f"learning rate of {part}": rate for part, rate in module.learning_rates().items()}
    for name in [*theirs, *(name for name in ours if name not in theirs)]:
        was, now = theirs.get(name), ours.get(name)
        if name.startswith("learning rate") and (was is None or (now is not None and math.isclose(was, now))):
            continue
        if was != now:
            raise InputError(
                f"the checkpoint was trained with {name} {shown(was, now)}, this run has {shown(now, was)}; give the "
                f"settings of the run that is to go on, or {ANEW}"
            )


def facts(recipe: Recipe) -> dict[str, Any]:
    """What makes a run the same run, in the order in which differences are told."""
    found: dict[str, Any] = {"model": recipe.model, "classes": recipe.categories}
    if recipe.data is not None:
        found["annotations (SHA-256)"] = recipe.data.annotations
        found |= {f"{split} images": names for split, names in recipe.data.splits.items()}
    return found | {f"network.{name}": value for name, value in leaves(recipe.network)}


def leaves(tree: Any, name: str = "") -> list[tuple[str, Any]]:
    """Names and values of all that is no dict in a tree of dicts."""
    if not isinstance(tree, dict):
        return [(name, tree)]
    return [leaf for key, value in tree.items() for leaf in leaves(value, f"{name}.{key}" if name else str(key))]


def rates(content: dict[str, Any]) -> dict[str, Any]:
    """Learning rates that a checkpoint's optimiser began with."""
    groups = [group for state in content.get("optimizer_states", ()) for group in state["param_groups"]]
    return {f"learning rate of {group['part']}": group["initial_lr"] for group in groups if "part" in group}


def shown(value: Any, other: Any) -> str:
    """A value in a few characters; of a long list its length and what the other does not have."""
    if isinstance(value, list) and isinstance(other, list) and len(value) + len(other) > 8:
        own = [str(item) for item in value if item not in other]
        return f"({len(value)}, of them only here: {', '.join(own[:3]) or 'none'})"
    return str(value)


def earlier_metrics(checkpoint: str, steps: int) -> list[dict[str, float]]:
    """What the run that wrote a checkpoint had logged up to it.

    Args:
        checkpoint: its path, in ``checkpoints/`` of the run's folder.
        steps: optimiser steps done.

    Returns:
        Rows of ``metrics.csv`` before that step; none where there is no such file.
    """
    path = run_of(checkpoint) / CURVES
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        # The step at which a job saved and went on until it was ended may be there twice.
        lines = dict.fromkeys(tuple(row.items()) for row in csv.DictReader(file))
    rows = [{name: float(value) for name, value in line if value} for line in lines]
    return [row | {"step": int(row["step"])} for row in rows if row["step"] < steps]


def log_again(trainer: pl.Trainer, rows: list[dict[str, float]]) -> None:
    """Begin ``metrics.csv`` with earlier rows, so that it holds the whole run."""
    for logger in trainer.loggers:
        if isinstance(logger, CSVLogger) and trainer.is_global_zero:
            logger.experiment.metrics[:0] = rows
