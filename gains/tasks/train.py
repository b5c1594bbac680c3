"""``gains train``: fit, evaluate the best checkpoint, say where everything is."""

import math
import signal
from pathlib import Path

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig
from pytorch_lightning.callbacks import Timer
from pytorch_lightning.utilities.exceptions import SIGTERMException

from gains.comparison.collect import CURVES
from gains.errors import InputError
from gains.models.checkpoint import load_network, read_checkpoint
from gains.models.released import released
from gains.reports.curves import plot_losses
from gains.tasks import processes
from gains.tasks.build import build_datamodule, build_module, prepared_annotations
from gains.tasks.folders import begin, check_unused, run_folder, run_of
from gains.tasks.from_data import set_from_data
from gains.tasks.notices import silence_notices
from gains.tasks.results import evaluate, print_places, report
from gains.tasks.resuming import go_on, log_again
from gains.tasks.splits import adapt_to_splits, evaluated_split
from gains.tasks.tracking import begin_tracking, end_tracking, set_mode
from gains.tasks.trainer import build_trainer, set_device_and_precision
from gains.tasks.tuning import check_tuning, tune
from gains.training.checkpoints import LAST, OLDER, BestCheckpoint
from gains.training.module import InstanceSegmentation
from gains.training.stopping import Stopped


def run(config: DictConfig) -> float:
    """Train and evaluate; returns the best validation metric (:func:`objective`), for sweeps."""
    folder = run_folder()
    silence_notices()
    pl.seed_everything(config.seed, workers=True, verbose=False)
    for note in [*set_device_and_precision(config), *set_mode(config)]:
        print(note)
    resume = after_restart(folder) or resume_from(config.checkpoint, folder)
    goes_on = processes.restarted() or (resume is not None and run_of(resume) == folder.resolve())
    check_unused(folder, goes_on)
    annotations = prepared_annotations(config.dataset)
    for note in set_from_data(config, annotations):
        print(note)
    processes.publish(folder)
    datamodule = build_datamodule(config, annotations)
    check_tuning(config, datamodule)
    split = evaluated_split(config, datamodule)
    for note in adapt_to_splits(config, datamodule):
        print(note)
    module = build_module(config, datamodule)
    trainer = build_trainer(config, folder)
    earlier = go_on(resume, module, trainer) if resume else []
    begin(config, folder, goes_on, config.trainer.precision)
    log_again(trainer, earlier)
    begin_tracking(trainer, config)
    processes.meet_again(trainer.strategy.root_device)
    try:
        trainer.fit(module, datamodule, ckpt_path=resume, weights_only=True)
    except Stopped as stop:
        place = folder / "checkpoints" / LAST
        print(f"stopped at step {stop.step} by {stop.signal.name}; the same command with checkpoint={place} goes on")
        raise SystemExit(128 + stop.signal) from None
    except SIGTERMException:  # before the first step
        raise SystemExit(128 + signal.SIGTERM) from None
    if split is None or not trainer.is_global_zero:
        end_tracking()
    if torch.distributed.is_initialized():
        # The first process evaluates alone, and must not wait for the others to take part.
        torch.distributed.destroy_process_group()
    if not trainer.is_global_zero:
        return math.nan
    best = best_checkpoint(folder)
    if resume and not best.is_file():  # nothing was left to do
        best = best_checkpoint(run_of(resume))
    plot_losses(folder / CURVES, folder / "figures" / "curves.png")
    seconds = training_seconds(trainer)
    tuning = tune(best, datamodule, config) if config.tune else None
    if split is None:
        print_places(folder, best)
        return objective(trainer)
    module = InstanceSegmentation(*load_network(best, trust=config.trust))
    results = evaluate(
        module, best, datamodule, split, folder, config.trainer.accelerator, seconds, tuning, config.seed
    )
    end_tracking(results)
    report(results, folder)
    return objective(trainer)


def objective(trainer: pl.Trainer) -> float:
    """What a search over settings maximises: the metric on validation images that chose ``best.ckpt``.

    Never a metric of the test images, which are for the one model that is chosen in the end. NaN where no validation
    gave a number, which is then said.
    """
    best = [callback.score for callback in trainer.callbacks if isinstance(callback, BestCheckpoint)]  # type: ignore[attr-defined]
    if best and math.isfinite(best[0]):
        return best[0]
    print("no validation gave a number: the last checkpoint stands for the run, and a search over settings is told nan")
    return math.nan


def training_seconds(trainer: pl.Trainer) -> float | None:
    """How long the training loop ran, the time before a resume included; None without its timer callback."""
    timers = [callback for callback in trainer.callbacks if isinstance(callback, Timer)]  # type: ignore[attr-defined]
    return timers[0].time_elapsed("train") if timers else None


def after_restart(folder: Path) -> str | None:
    """The last checkpoint of this very run, where torchrun has started it again after a process died."""
    saved = any((folder / "checkpoints" / name).is_file() for name in (LAST, OLDER))
    return str(whole_last(folder / "checkpoints")) if saved and processes.restarted() else None


def resume_from(checkpoint: str | None, folder: Path) -> str | None:
    """The checkpoint to go on from.

    Args:
        checkpoint: a path; ``last`` for the newest ``last.ckpt`` among the runs beside this one; None to start anew.
        folder: of this run.

    Raises:
        InputError: if there is none, or it is not a checkpoint of this application.
    """
    if checkpoint is None:
        return None
    if checkpoint != "last":
        if released(checkpoint):
            raise InputError(
                f"checkpoint={checkpoint} would go on with a stopped run, which a released model is not; "
                f"to start from its weights: model.weights={checkpoint}"
            )
        read_checkpoint(checkpoint)
        return checkpoint
    runs = {file.parent for name in (LAST, OLDER) for file in folder.parent.glob(f"*/checkpoints/{name}")}
    if not runs:
        raise InputError(f"checkpoint=last: no earlier run under {folder.parent} has a checkpoints/{LAST}")
    newest = max(runs, key=lambda place: max(file.stat().st_mtime for file in place.glob("last*.ckpt")))
    return str(whole_last(newest))


def whole_last(checkpoints: Path) -> Path:
    """The last checkpoint of a run, or the one before where that is damaged or missing, which is then said.

    Raises:
        InputError: if neither can be read.
    """
    last, older = checkpoints / LAST, checkpoints / OLDER
    try:
        read_checkpoint(last)
    except InputError as error:
        if not older.is_file():
            raise
        print(f"{error}; going on from the one before, {older}")
        read_checkpoint(older)
        return older
    return last


def best_checkpoint(folder: Path) -> Path:
    """The run's best checkpoint by validation, or the last where no validation took place."""
    best = folder / "checkpoints" / "best.ckpt"
    return best if best.is_file() else folder / "checkpoints" / "last.ckpt"
