"""Units of ``gains predict`` are done in this process, or on the workers of a cluster."""

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from gains.images.notes import Notes
from gains.operating_point import SETTINGS as POINT
from gains.prediction.cleaning import SETTINGS as CLEANING
from gains.prediction.cluster import WorkerLost, results
from gains.prediction.estimate import Estimate
from gains.prediction.predictor import Predictor, load_model
from gains.prediction.scale import SETTINGS as SCALE
from gains.prediction.units import Done, Progress, Unit, Wanted, predict_unit


def load_predictor(config: DictConfig) -> Predictor:
    """The model with the settings of ``gains predict``.

    Raises:
        InputError: if the file is no checkpoint, or a setting does not fit.
    """
    predictor = load_model(
        config.checkpoint,
        config.accelerator,
        tile=config.tile,
        overlap=config.overlap,
        batch_size=config.batch_size,
        intensity=config.intensity,
        trust=config.trust,
        **{name: config[name] for name in (*POINT, *CLEANING, *SCALE)},
    )
    if config.get("estimated"):
        predictor.estimated = Estimate(**config.estimated)
    return predictor


def formats_of(config: DictConfig) -> list[str]:
    """The formats, of which one may be given without brackets."""
    return [config.formats] if isinstance(config.formats, str) else list(config.formats)


def wanted_of(config: DictConfig) -> Wanted:
    """What the settings ask for of every image."""
    return Wanted(
        Path(config.output),
        formats_of(config),
        config.overwrite,
        config.channels,
        config.max_pixels,
        config.pixel_size_um,
        config.ahead,
    )


def here(predictor: Predictor, units: list[Unit], config: DictConfig, progress: Progress) -> Iterator[Done]:
    """Do units in this process, one after the other."""
    for unit in units:
        yield predict_unit(predictor, unit, wanted_of(config), progress)


def everywhere(client: Any, units: list[Unit], config: DictConfig, bar: Any) -> Iterator[Done]:
    """Do units on the workers of a cluster, in any order; a unit that kills every worker is a failure of its files."""
    paths = {name: str(Path(config[name]).resolve()) for name in ("checkpoint", "output")}
    plain = OmegaConf.to_yaml(OmegaConf.merge(config, paths), resolve=True)
    units = [
        replace(unit, files=tuple(replace(file, path=file.path.resolve()) for file in unit.files)) for unit in units
    ]
    for unit, done in results(client, _on_worker, units, plain):
        bar.update(len(unit.files))
        if isinstance(done, WorkerLost):
            yield {file.path: f"{file.path.name}: {done}" for file in unit.files}, Notes()
        else:
            yield done


def _on_worker(unit: Unit, settings: str) -> Done:
    return predict_unit(_loaded(settings), unit, wanted_of(DictConfig(OmegaConf.create(settings))), None)


@lru_cache(maxsize=1)
def _loaded(settings: str) -> Predictor:
    """The model of a worker, loaded once."""
    return load_predictor(DictConfig(OmegaConf.create(settings)))
