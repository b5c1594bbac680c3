"""From configuration to Lightning's trainer."""

import os
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from hydra.utils import instantiate
from lightning_fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf

from gains.errors import InputError
from gains.prediction.predictor import pick_device
from gains.spelling import check_trainer_names
from gains.training.checkpoints import WholeCheckpoints
from gains.training.finite import FiniteGuard
from gains.training.precision import choose_precision, precision_note
from gains.training.progress import StepBar
from gains.training.resume import ExactResume
from gains.training.schedule import ValidationSchedule


def set_device_and_precision(config: DictConfig) -> list[str]:
    """Replace ``trainer.accelerator`` and ``trainer.precision=auto`` by what this machine has and computes fast.

    The accelerator becomes the one that is there: Lightning would take Apple's GPU for ``auto`` and ``gpu``. For the
    precision see :mod:`gains.training.precision`.

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
    check_trainer_names(settings)
    interval, every_n_epoch = settings.pop("val_check_interval", None), settings.pop("check_val_every_n_epoch", None)
    loggers = [instantiate(entry, save_dir=str(folder)) for entry in config.logger.loggers.values()]
    callbacks = [instantiate(entry) for entry in config.callbacks.values() if entry is not None]
    if not settings.setdefault("enable_progress_bar", any(isinstance(one, StepBar) for one in callbacks)):
        callbacks = [callback for callback in callbacks if not isinstance(callback, StepBar)]
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
