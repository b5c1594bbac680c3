"""Units of work: groups of files that are predicted one after the other, and how one is done.

A unit leaves all it found in the folder of results, image by image. One that is done again, since its worker was
killed, skips the images that it had finished.
"""

from bisect import bisect_left
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gains.errors import InputError
from gains.images.files import open_rasters
from gains.images.notes import Notes
from gains.images.raster import Raster
from gains.images.shared import taking_turns
from gains.prediction.folder import is_done, save_image
from gains.prediction.huge import Huge, Tools
from gains.prediction.inputs import Source, page_name
from gains.prediction.items import Item, export_of
from gains.prediction.pipeline import ahead

Done = tuple[dict[Path, str], Notes]
"""What is wrong with files that could not be read, and what there was to say about others."""


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


def predict_unit(tools: Tools, unit: Unit) -> tuple[dict[Path, str], Notes, list[Huge]]:
    """Predict and save what is not done of a unit.

    Returns:
        What is wrong with files that could not be read, what there was to say about others, and the images that are too
        large to be predicted in one piece (:func:`gains.prediction.huge.predict_huge`).
    """
    predictor, wanted, progress = tools.predictor, tools.wanted, tools.progress
    notes = predictor.notes = Notes()
    failures: dict[Path, str] = {}
    huge: list[Huge] = []

    def on_progress(item: Item, share: float) -> None:
        progress.add(item.source.path, share / item.pages)

    found = predictor.predict_many(_todo(tools, unit, notes, failures, huge), on_progress, wanted.ahead)
    # This thread writes, another runs the network, a third one reads. The network is done with a batch of small images
    # at once, and is not to wait until most of them are written; of large ones no more than one waits.
    with closing(ahead(found, min(wanted.ahead, predictor.batch_size), _weight)) as results:
        for item, raster, result in results:
            if isinstance(result, InputError):
                failures[item.source.path] = str(result)
                progress.add(item.source.path, 1)
            else:
                export = export_of(item, raster, result, wanted.pixel_size_um)
                save_image(wanted.output, item.name, item.source.relative, export, raster, wanted.formats)
    return {source.path: failures[source.path] for source in unit.files if source.path in failures}, notes, huge


def _weight(found: tuple[Item, Raster, Any]) -> int:
    """Of an image that waits to be written: 1 below a million pixels."""
    height, width = found[1].size
    return 1 + height * width // 2**20


def _todo(
    tools: Tools, unit: Unit, notes: Notes, failures: dict[Path, str], huge: list[Huge]
) -> Iterator[tuple[Item, Raster]]:
    """Images of a unit that are not done; files that cannot be read join the failures, huge images the others."""
    predictor, wanted, progress = tools.predictor, tools.wanted, tools.progress
    options = wanted.reading(predictor, notes)
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
        for index, raster in enumerate(rasters):
            name = source.name if pages == 1 else page_name(source.name, raster.page, unit.taken)
            item = Item(name, source, pages)
            if pages > 1 and not wanted.overwrite and is_done(wanted.output, name, wanted.formats):
                progress.add(source.path, 1 / pages)
                continue
            job = predictor.job(item, raster, predictor.estimated)
            if job.tiles > wanted.block:
                huge.append(Huge(item, index, raster.size, tuple(each.view for each in job.passes)))
            else:
                yield item, raster
