"""Units of ``gains predict`` are done in this process, or on the workers of a cluster."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from gains.errors import InputError, Unwritable
from gains.images.notes import Notes
from gains.operating_point import SETTINGS as POINT
from gains.prediction.cleaning import SETTINGS as CLEANING
from gains.prediction.cluster import WorkerLost, results
from gains.prediction.estimate import Estimate
from gains.prediction.huge import Huge, Tools, predict_huge, watched
from gains.prediction.items import Progress, Wanted
from gains.prediction.kept import forget
from gains.prediction.predictor import Predictor, load_model
from gains.prediction.scale import SETTINGS as SCALE
from gains.prediction.units import Done, Unit, predict_unit


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
        config.block,
    )


def here(predictor: Predictor, units: list[Unit], config: DictConfig, progress: Progress) -> Iterator[Done]:
    """Do units in this process, one after the other."""
    tools = Tools(predictor, wanted_of(config), progress)

    def call(step: Callable[..., Any], *arguments: Any) -> Any:
        return step(tools, *arguments)

    for unit in units:
        failures, notes, several = predict_unit(tools, unit)
        yield failures, notes
        for huge in several:
            try:
                yield {}, predict_huge(call, huge, config.block)
            except Unwritable:  # that is not the image's fault; the blocks that are done stay
                raise
            except InputError as error:
                forget(tools.wanted.output, huge.item.name)
                yield _failed([huge.item.source.path], error, progress)


def everywhere(client: Any, units: list[Unit], config: DictConfig, progress: Progress) -> Iterator[Done]:
    """Do units on the workers of a cluster, in any order; one that kills every worker is a failure of its files."""
    paths = {name: str(Path(config[name]).resolve()) for name in ("checkpoint", "output")}
    plain = OmegaConf.to_yaml(OmegaConf.merge(config, paths), resolve=True)
    call = partial(client.submit, _on_worker, plain, pure=False)
    units = [
        replace(unit, files=tuple(replace(file, path=file.path.resolve()) for file in unit.files)) for unit in units
    ]
    several: list[Huge] = []
    for unit, done in results({call(predict_unit, unit): unit for unit in units}):
        if isinstance(done, Exception):
            yield _failed([file.path for file in unit.files], done, progress)
            continue
        failures, notes, larger = done
        several += larger
        for file in unit.files:
            progress.add(file.path, 1 - sum(1 / huge.item.pages for huge in larger if huge.item.source == file))
        yield failures, notes
    futures = {predict_huge(watched(call, huge, progress), huge, config.block): huge for huge in several}
    for huge, done in results(futures):
        if isinstance(done, InputError):
            forget(Path(config.output), huge.item.name)
        yield _failed([huge.item.source.path], done, progress) if isinstance(done, Exception) else ({}, done)


def _failed(paths: list[Path], error: Exception, progress: Progress) -> Done:
    """What is told of files that could not be predicted."""
    for path in paths:
        progress.add(path, 1)
    lost = isinstance(error, WorkerLost)
    return {path: f"{path.name}: {error}" if lost else str(error) for path in paths}, Notes()


def _on_worker(settings: str, step: Callable[..., Any], *arguments: Any) -> Any:
    config = DictConfig(OmegaConf.create(settings))
    return step(Tools(_loaded(settings), wanted_of(config), Progress(None)), *arguments)


@lru_cache(maxsize=1)
def _loaded(settings: str) -> Predictor:
    """The model of a worker, loaded once."""
    return load_predictor(DictConfig(OmegaConf.create(settings)))
