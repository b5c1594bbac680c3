"""Units of work: groups of files that are predicted one after the other, and how one is done.

A unit leaves all it found in the folder of results, image by image. One that is done again, since its worker was
killed, skips the images that it had finished.
"""

import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gains.errors import InputError
from gains.export.export import Export
from gains.images.files import open_rasters
from gains.images.notes import Notes
from gains.images.options import ReadOptions
from gains.images.raster import Raster
from gains.images.shared import taking_turns
from gains.instances import Instances
from gains.prediction.folder import is_done, save_image
from gains.prediction.inputs import Source, page_name
from gains.prediction.pipeline import ahead
from gains.prediction.predictor import Predictor

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
class Wanted:
    """What is to be made of every image.

    Attributes:
        output: folder of results.
        formats: of their files.
        overwrite: whether images that are done are done again.
        channels: of the images that are read.
        max_pixels: most pixels that are decoded in one piece.
        pixel_size_um: side of a pixel in micrometres; None goes by what an image says.
        ahead: tiles that are read while the network runs; 0 does one thing after the other.
    """

    output: Path
    formats: Sequence[str]
    overwrite: bool
    channels: Sequence[int] | None
    max_pixels: int
    pixel_size_um: float | None
    ahead: int


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


def predict_unit(predictor: Predictor, unit: Unit, wanted: Wanted, progress: Progress | None) -> Done:
    """Predict and save what is not done of a unit."""
    notes = Notes()
    predictor.notes = notes
    return predict_files(predictor, unit, wanted, notes, progress or Progress(None)), notes


def predict_files(
    predictor: Predictor, unit: Unit, wanted: Wanted, notes: Notes, progress: Progress
) -> dict[Path, str]:
    """Predict and save what is not done of a unit; returns what is wrong with files that could not be read."""
    failures: dict[Path, str] = {}

    def on_progress(item: Item, share: float) -> None:
        progress.add(item.source.path, share / item.pages)

    options = ReadOptions(wanted.channels, predictor.intensity, wanted.max_pixels, notes=notes)
    found = predictor.predict_many(_todo(unit, wanted, options, failures, progress), on_progress, wanted.ahead)
    # This thread writes, another runs the network, a third one reads.
    with closing(ahead(found, min(wanted.ahead, 1))) as results:
        for item, raster, result in results:
            if isinstance(result, InputError):
                failures[item.source.path] = str(result)
                progress.add(item.source.path, 1)
            else:
                export = export_of(item, raster, result, wanted.pixel_size_um)
                save_image(wanted.output, item.name, item.source.relative, export, raster, wanted.formats)
    return {source.path: failures[source.path] for source in unit.files if source.path in failures}


def _todo(
    unit: Unit, wanted: Wanted, options: ReadOptions, failures: dict[Path, str], progress: Progress
) -> Iterator[tuple[Item, Raster]]:
    """Images of a unit that are not done; files that cannot be read join the failures."""
    for source in unit.files:
        if not wanted.overwrite and is_done(wanted.output, source.name, wanted.formats):
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
            name = source.name if pages == 1 else page_name(source.name, raster.page, unit.taken)
            if pages > 1 and not wanted.overwrite and is_done(wanted.output, name, wanted.formats):
                progress.add(source.path, 1 / pages)
            else:
                yield Item(name, source, pages), raster


def export_of(item: Item, raster: Raster, instances: Instances, pixel_size_um: float | None) -> Export:
    """What the writers get of one image."""
    source = item.source
    if item.pages == 1:
        return Export(instances, raster, pixel_size_um, source.relative)
    name = f"{item.name}{Path(source.relative).suffix}"
    return Export(instances, raster, pixel_size_um, name, source.relative, raster.page)
