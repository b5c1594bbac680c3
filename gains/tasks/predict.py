"""``gains predict``: from a folder of images to files for Fiji, QuPath and Python."""

import hashlib
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

from gains import __version__
from gains.errors import InputError
from gains.export.export import check_pixel_size
from gains.export.formats import check_formats
from gains.images.notes import Notes
from gains.locks import alone_in
from gains.models.released import locate
from gains.prediction.cleaning import SETTINGS as CLEANING
from gains.prediction.cluster import connected
from gains.prediction.folder import claim, merge_files, remove_leftovers
from gains.prediction.inputs import find_images, printable
from gains.prediction.items import Progress
from gains.prediction.predictor import Predictor
from gains.prediction.records import read_records
from gains.prediction.scale import SETTINGS as SCALE
from gains.prediction.units import Unit, divide
from gains.reports.prediction import MAX_PICTURES, cap_notes, summarise, write_prediction_report
from gains.tasks.scaling import ENTRY, settle_scale
from gains.tasks.workers import everywhere, formats_of, here, load_predictor

SETTINGS = ("channels", "intensity", "tile", "overlap", *SCALE, *CLEANING)
"""What decides a result: a folder holds results of one choice of these, and of one checkpoint."""


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
    if not isinstance(config.ahead, int) or config.ahead < 0:
        raise InputError(f"ahead={config.ahead} must be a whole number of tiles, 0 reads none ahead")
    output = Path(config.output)
    notes = Notes()
    config.checkpoint = str(locate(config.checkpoint))
    files = find_images(str(config.input), output, notes)
    predictor = load_predictor(config)
    work = divide(files, config.unit)
    with alone_in(output, "output"), connected(config.cluster, config.dask, output, config.devices) as client:
        settle_scale(config, predictor, files, settings_of(config, predictor), notes)
        settings = settings_of(config, predictor)
        claim(output, settings, config.overwrite)
        failures = predict_with_bar(predictor, work, config, notes, client)
        remove_leftovers(output)
        finish(output, formats, settings, failures, sorted(notes.lines()))


def predict_with_bar(
    predictor: Predictor, work: list[Unit], config: DictConfig, notes: Notes, client: Any
) -> dict[Path, str]:
    """Do all units, here or on a cluster, under a progress bar; exits with status 130 when interrupted."""
    failures: dict[Path, str] = {}
    total = sum(len(unit.files) for unit in work)
    with tqdm(total=total, bar_format="{l_bar}{bar}| {n:.1f}/{total} files [{elapsed}<{remaining}]") as bar:
        try:
            done = (
                here(predictor, work, config, Progress(bar))
                if client is None
                else everywhere(client, work, config, Progress(bar))
            )
            for unit_failures, unit_notes in done:
                failures |= unit_failures
                notes.join(unit_notes)
        except KeyboardInterrupt:
            bar.close()
            print("interrupted; finished images are kept, the same command goes on")
            raise SystemExit(130) from None
    return failures


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
        **({} if predictor.estimated is None else {ENTRY: predictor.estimated.diameter}),
        "intensity": predictor.intensity,
        **predictor.recipe.operating_point.to_plain(),
    }


def finish(
    output: Path, formats: list[str], settings: dict[str, Any], failures: dict[Path, str], notes: list[str]
) -> None:
    """Join tables, write the report, print what was done; exits with status 1 if there are failures."""
    found = summarise(read_records(output, MAX_PICTURES))
    merge_files(output, [image.name for image in found.images], formats)
    notes = [printable(note) for note in notes]
    problems = [printable(message) for message in failures.values()]
    write_prediction_report(output / "report.html", found, settings, problems, notes)
    count = sum(image.count for image in found.images)
    print(f"{count} instances in {len(found.images)} images; {output / 'report.html'} shows them")
    for note in [*notes, *map(printable, cap_notes(found))]:
        print(f"note: {note}")
    if problems:
        print(f"{len(problems)} of the files could not be predicted:")
        for message in problems:
            print(f"  {message}")
        raise SystemExit(1)
