"""``gains train``: fit, evaluate the best checkpoint, say where everything is."""

import math
import signal
from contextlib import ExitStack

import pytorch_lightning as pl
from omegaconf import DictConfig
from pytorch_lightning.callbacks import Timer
from pytorch_lightning.utilities.exceptions import SIGTERMException

from gains.comparison.collect import CURVES
from gains.models.checkpoint import load_network
from gains.reports.curves import plot_losses
from gains.tasks import processes
from gains.tasks.build import build_datamodule, build_module, prepared_annotations
from gains.tasks.folders import alone, begin, earlier_objective, run_folder
from gains.tasks.from_data import set_from_data
from gains.tasks.going_on import where_to_go_on
from gains.tasks.notices import silence_notices
from gains.tasks.results import evaluate, print_places, report
from gains.tasks.resuming import go_on, log_again
from gains.tasks.splits import adapt_to_splits, evaluated_split
from gains.tasks.tracking import begin_tracking, end_tracking, set_mode
from gains.tasks.trainer import build_trainer, set_device_and_precision
from gains.tasks.tuning import check_tuning, tune
from gains.training.checkpoints import LAST, BestCheckpoint
from gains.training.kept import best_of
from gains.training.module import InstanceSegmentation
from gains.training.stopping import Stopped


def run(config: DictConfig) -> float:
    """Train and evaluate; returns the best validation metric (:func:`objective`), for sweeps."""
    with ExitStack() as held:
        held.enter_context(alone(run_folder()))
        earlier_value = earlier_objective(run_folder())
        return train(config, held) if earlier_value is None else earlier_value


def train(config: DictConfig, held: ExitStack) -> float:
    """What :func:`run` does with a run that is not finished; its folder is held meanwhile."""
    silence_notices()
    pl.seed_everything(config.seed, workers=True, verbose=False)
    for note in [*set_device_and_precision(config), *set_mode(config)]:
        print(note)
    resume, folder, goes_on = where_to_go_on(config, held)
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
    processes.wait()  # for the first to have written
    best = best_of(folder, resume, module.recipe.operating_point, trainer.is_global_zero)
    processes.wait()
    if trainer.is_global_zero:
        plot_losses(folder / CURVES, folder / "figures" / "curves.png")
    tuning = tune(best, datamodule, config) if config.tune else None
    processes.wait()
    if split is None:
        processes.part()
        if trainer.is_global_zero:
            print_places(folder, best)
        return objective(trainer) if trainer.is_global_zero else math.nan
    chosen = None if tuning else module.recipe.operating_point.to_plain()
    module = InstanceSegmentation(*load_network(best, chosen, config.trust))
    seconds, device = training_seconds(trainer), config.trainer.accelerator
    results = evaluate(module, best, datamodule, split, folder, device, seconds, tuning, config.seed)
    processes.part()
    if not trainer.is_global_zero:
        return math.nan
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
