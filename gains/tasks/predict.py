"""``gains predict``: from a folder of images to files for Fiji, QuPath and Python."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

from gains import __version__
from gains.errors import InputError
from gains.export.export import Export, check_pixel_size
from gains.export.formats import check_formats
from gains.images.files import open_rasters
from gains.images.notes import Notes
from gains.images.options import ReadOptions
from gains.images.raster import Raster
from gains.instances import Instances
from gains.operating_point import SETTINGS as POINT
from gains.prediction.cleaning import SETTINGS as CLEANING
from gains.prediction.folder import alone_in, claim, is_done, merge_files, save_image
from gains.prediction.inputs import Source, find_images, page_name, printable
from gains.prediction.predictor import Predictor, load_model
from gains.prediction.records import read_records
from gains.reports.prediction import MAX_PICTURES, cap_notes, write_prediction_report

SETTINGS = ("channels", "intensity", "pixel_size_um", "tile", "overlap", *CLEANING)
"""What decides a result: a folder holds results of one choice of these, and of one checkpoint."""


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

    def add(self, path: Path, share: float) -> None:
        """Part of a file is done."""
        share = min(share, 1 - self.done[path])
        self.done[path] += share
        self.bar.update(share)


def run(config: DictConfig) -> None:
    """Predict all images of ``input`` that ``output`` has no results of.

    Exits with status 1 if some images could not be read; the others are done and the report says which.

    Raises:
        InputError: if a setting is missing or wrong, or the output cannot be written.
    """
    for name in ("checkpoint", "input", "output"):
        if config[name] is None:
            raise InputError(f"{name}=... is missing: gains predict checkpoint=best.ckpt input=FOLDER output=FOLDER")
    formats = formats_of(config)
    check_formats(formats)
    check_pixel_size(config.pixel_size_um)
    output = Path(config.output)
    notes = Notes()
    files = find_images(str(config.input), output, notes)
    predictor = load_model(
        config.checkpoint,
        config.accelerator,
        tile=config.tile,
        overlap=config.overlap,
        batch_size=config.batch_size,
        intensity=config.intensity,
        trust=config.trust,
        **{name: config[name] for name in (*POINT, *CLEANING)},
    )
    options = ReadOptions(config.channels, predictor.intensity, config.max_pixels, notes=notes)
    predictor.notes = notes
    with alone_in(output):
        settings = settings_of(config, predictor)
        claim(output, settings, config.overwrite)
        failures = predict_with_bar(predictor, files, config, options)
        finish(output, formats, settings, failures, notes.lines())


def formats_of(config: DictConfig) -> list[str]:
    """The formats, of which one may be given without brackets."""
    return [config.formats] if isinstance(config.formats, str) else list(config.formats)


def predict_with_bar(
    predictor: Predictor, files: list[Source], config: DictConfig, options: ReadOptions
) -> dict[Path, str]:
    """Predict what is not done under a progress bar; exits with status 130 when interrupted."""
    with tqdm(total=len(files), bar_format="{l_bar}{bar}| {n:.1f}/{total} files [{elapsed}<{remaining}]") as bar:
        try:
            return predict_files(predictor, files, config, options, Progress(bar))
        except KeyboardInterrupt:
            bar.close()
            print("interrupted; finished images are kept, the same command goes on")
            raise SystemExit(130) from None


def settings_of(config: DictConfig, predictor: Predictor) -> dict[str, Any]:
    """All that decides the results."""
    checkpoint = Path(config.checkpoint)
    return {
        "gains": __version__,
        "checkpoint": checkpoint.name,
        "sha256": hashlib.sha256(checkpoint.read_bytes()).hexdigest(),
        "model": predictor.recipe.model,
        **{name: OmegaConf.to_container(config)[name] for name in SETTINGS},  # type: ignore[index, call-overload]
        "tile": predictor.tile,
        "overlap": predictor.overlap,
        "intensity": predictor.intensity,
        **predictor.recipe.operating_point.to_plain(),
    }


def predict_files(
    predictor: Predictor, files: list[Source], config: DictConfig, options: ReadOptions, progress: Progress
) -> dict[Path, str]:
    """Predict and save every image that is not done; returns what is wrong with files that could not be read."""
    output, formats = Path(config.output), formats_of(config)
    failures: dict[Path, str] = {}

    def todo() -> Iterator[tuple[Item, Raster]]:
        names = {source.name for source in files}
        for source in files:
            if not config.overwrite and is_done(output, source.name, formats):
                progress.add(source.path, 1)
                continue
            try:
                rasters = open_rasters(source.path, options)
            except InputError as error:
                failures[source.path] = str(error)
                progress.add(source.path, 1)
                continue
            pages = len(rasters)
            for raster in rasters:
                item = Item(source.name if pages == 1 else page_name(source.name, raster.page, names), source, pages)
                if pages > 1 and not config.overwrite and is_done(output, item.name, formats):
                    progress.add(source.path, 1 / pages)
                else:
                    yield item, raster

    results = predictor.predict_many(todo(), lambda item, share: progress.add(item.source.path, share / item.pages))
    for item, raster, result in results:
        if isinstance(result, InputError):
            failures[item.source.path] = str(result)
            progress.add(item.source.path, 1)
        else:
            export = export_of(item, raster, result, config.pixel_size_um)
            save_image(output, item.name, item.source.relative, export, raster, formats)
    return failures


def export_of(item: Item, raster: Raster, instances: Instances, pixel_size_um: float | None) -> Export:
    """What the writers get of one image."""
    source = item.source
    if item.pages == 1:
        return Export(instances, raster, pixel_size_um, source.relative)
    name = f"{item.name}{Path(source.relative).suffix}"
    return Export(instances, raster, pixel_size_um, name, source.relative, raster.page)


def finish(
    output: Path, formats: list[str], settings: dict[str, Any], failures: dict[Path, str], notes: list[str]
) -> None:
    """Join tables, write the report, print what was done; exits with status 1 if there are failures."""
    records = read_records(output, MAX_PICTURES)
    merge_files(output, records, formats)
    notes = [printable(note) for note in notes]
    problems = [printable(message) for message in failures.values()]
    write_prediction_report(output / "report.html", records, settings, problems, notes)
    count = sum(record.count for record in records)
    print(f"{count} instances in {len(records)} images; {output / 'report.html'} shows them")
    for note in [*notes, *map(printable, cap_notes(records))]:
        print(f"note: {note}")
    if problems:
        print(f"{len(problems)} of the files could not be predicted:")
        for message in problems:
            print(f"  {message}")
        raise SystemExit(1)
