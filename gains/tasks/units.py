"""Units of work: groups of files that are predicted one after the other, in this process or on a cluster's workers.

A unit leaves all it found in the folder of results, image by image. One that is done again, since its worker was
killed, skips the images that it had finished.
"""

import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from gains.errors import InputError
from gains.export.export import Export
from gains.images.files import open_rasters
from gains.images.notes import Notes
from gains.images.options import ReadOptions
from gains.images.raster import Raster
from gains.images.shared import taking_turns
from gains.instances import Instances
from gains.operating_point import SETTINGS as POINT
from gains.prediction.cleaning import SETTINGS as CLEANING
from gains.prediction.cluster import WorkerLost, results
from gains.prediction.estimate import Estimate
from gains.prediction.folder import is_done, save_image
from gains.prediction.inputs import Source, page_name
from gains.prediction.pipeline import ahead
from gains.prediction.predictor import Predictor, load_model
from gains.prediction.scale import SETTINGS as SCALE

Done = tuple[dict[Path, str], Notes]
"""What is wrong with files of a unit that could not be read, and what there was to say about others."""


@dataclass(frozen=True)
class Unit:
    """Files that are predicted together.

    Attributes:
        files: the files.
        taken: names of other files that a page of one of these must not get.
    """

    files: tuple[Source, ...]
    taken: frozenset[str]


def divide(files: list[Source], size: int) -> list[Unit]:
    """Files in groups of ``size``, the last perhaps smaller.

    Raises:
        InputError: if the size is not at least 1.
    """
    if size < 1:
        raise InputError(f"unit={size} must be at least 1 file")
    names = sorted(source.name for source in files)
    return [
        Unit(tuple(group), frozenset(name for source in group for name in _pages_like(source.name, names)))
        for group in (files[start : start + size] for start in range(0, len(files), size))
    ]


def _pages_like(name: str, names: list[str]) -> list[str]:
    """The names, out of sorted ones, that look like those of pages of an image."""
    start = f"{name}_p"
    return names[bisect_left(names, start) : bisect_left(names, f"{start}\U0010ffff")]


@dataclass(frozen=True)
class Item:
    """One image: its name among the results, its file, and how many images that file holds."""

    name: str
    source: Source
    pages: int


@dataclass
class Progress:
    """The bar over all files, which also moves within a large image."""

    bar: Any
    done: dict[Path, float] = field(default_factory=lambda: defaultdict(float))
    turn: threading.Lock = field(default_factory=threading.Lock)

    def add(self, path: Path, share: float) -> None:
        """Part of a file is done; any thread may say so."""
        with self.turn:
            share = min(share, 1 - self.done[path])
            self.done[path] += share
            if self.bar is not None:
                self.bar.update(share)


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


def here(predictor: Predictor, units: list[Unit], config: DictConfig, progress: Progress) -> Iterator[Done]:
    """Do units in this process, one after the other."""
    for unit in units:
        yield predict_unit(predictor, unit, config, progress)


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
    return predict_unit(_loaded(settings), unit, DictConfig(OmegaConf.create(settings)), None)


@lru_cache(maxsize=1)
def _loaded(settings: str) -> Predictor:
    """The model of a worker, loaded once."""
    return load_predictor(DictConfig(OmegaConf.create(settings)))


def predict_unit(predictor: Predictor, unit: Unit, config: DictConfig, progress: Progress | None) -> Done:
    """Predict and save what is not done of a unit."""
    notes = Notes()
    options = ReadOptions(config.channels, predictor.intensity, config.max_pixels, notes=notes)
    predictor.notes = notes
    return predict_files(predictor, unit, config, options, progress or Progress(None)), notes


def predict_files(
    predictor: Predictor, unit: Unit, config: DictConfig, options: ReadOptions, progress: Progress
) -> dict[Path, str]:
    """Predict and save what is not done of a unit; returns what is wrong with files that could not be read."""
    output, formats = Path(config.output), formats_of(config)
    failures: dict[Path, str] = {}

    def todo() -> Iterator[tuple[Item, Raster]]:
        for source in unit.files:
            if not config.overwrite and is_done(output, source.name, formats):
                progress.add(source.path, 1)
                continue
            try:
                rasters = taking_turns(open_rasters(source.path, options))
            except InputError as error:
                failures[source.path] = str(error)
                progress.add(source.path, 1)
                continue
            pages = len(rasters)
            for raster in rasters:
                item = Item(
                    source.name if pages == 1 else page_name(source.name, raster.page, unit.taken), source, pages
                )
                if pages > 1 and not config.overwrite and is_done(output, item.name, formats):
                    progress.add(source.path, 1 / pages)
                else:
                    yield item, raster

    def on_progress(item: Item, share: float) -> None:
        progress.add(item.source.path, share / item.pages)

    found = predictor.predict_many(todo(), on_progress, config.ahead)
    # This thread writes, another runs the network, a third one reads.
    with closing(ahead(found, min(config.ahead, 1))) as results:
        for item, raster, result in results:
            if isinstance(result, InputError):
                failures[item.source.path] = str(result)
                progress.add(item.source.path, 1)
            else:
                export = export_of(item, raster, result, config.pixel_size_um)
                save_image(output, item.name, item.source.relative, export, raster, formats)
    return {source.path: failures[source.path] for source in unit.files if source.path in failures}


def export_of(item: Item, raster: Raster, instances: Instances, pixel_size_um: float | None) -> Export:
    """What the writers get of one image."""
    source = item.source
    if item.pages == 1:
        return Export(instances, raster, pixel_size_um, source.relative)
    name = f"{item.name}{Path(source.relative).suffix}"
    return Export(instances, raster, pixel_size_um, name, source.relative, raster.page)
