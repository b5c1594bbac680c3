"""From configuration to Lightning's trainer."""

import inspect
import os
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from hydra.utils import instantiate
from lightning_fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf

from gains.errors import InputError
from gains.prediction.predictor import pick_device
from gains.training.checkpoints import WholeCheckpoints
from gains.training.finite import FiniteGuard
from gains.training.precision import choose_precision, precision_note
from gains.training.resume import ExactResume
from gains.training.schedule import ValidationSchedule


def set_precision(config: DictConfig) -> list[str]:
    """Replace ``trainer.precision=auto`` by what this machine computes fast, see :mod:`gains.training.precision`.

    The accelerator becomes the one that is there: Lightning would take Apple's GPU for ``auto`` and ``gpu``.

    Returns:
        What was chosen, where there was a choice.

    Raises:
        InputError: for a precision that would move boxes, or an accelerator that is not there.
    """
    config.trainer.accelerator = accelerator = lightning_name(config.trainer.accelerator)
    asked = config.trainer.precision
    config.trainer.precision = choose_precision(asked, accelerator)
    note = precision_note(asked, config.trainer.precision, accelerator)
    return [note] if note else []


def lightning_name(accelerator: str) -> str:
    """Lightning's name of the device that ``accelerator`` stands for: ``cpu`` or ``cuda``.

    Raises:
        InputError: if it is unknown, or there is none.
    """
    return pick_device(accelerator).type


def build_trainer(config: DictConfig, folder: Path) -> pl.Trainer:
    """The Lightning trainer with its loggers and callbacks, writing to the run folder.

    Raises:
        InputError: if a setting is no argument of Lightning's trainer, or Lightning refuses its value.
    """
    settings: dict[str, Any] = OmegaConf.to_container(config.trainer, resolve=True)  # type: ignore[assignment]
    known = set(inspect.signature(pl.Trainer).parameters) - {"logger", "callbacks", "plugins", "default_root_dir"}
    for name in settings:
        if name not in known:
            raise InputError(f"trainer.{name} is no setting of the trainer; there are {', '.join(sorted(known))}")
    interval, every_n_epoch = settings.pop("val_check_interval", None), settings.pop("check_val_every_n_epoch", None)
    loggers = [instantiate(entry, save_dir=str(folder)) for entry in config.logger.loggers.values()]
    callbacks = [instantiate(entry) for entry in config.callbacks.values() if entry is not None]
    schedule = ValidationSchedule(interval, every_n_epoch)
    try:
        return pl.Trainer(
            **settings,
            check_val_every_n_epoch=None,
            logger=loggers,
            callbacks=[schedule, ExactResume(config.seed), FiniteGuard(), *callbacks],
            plugins=[WholeCheckpoints()],
            default_root_dir=str(folder),
        )
    except (TypeError, ValueError, ImportError, MisconfigurationException) as error:
        if os.environ.get("GAINS_DEBUG") == "1":
            raise
        raise InputError(f"trainer: {str(error).splitlines()[0]}") from error
