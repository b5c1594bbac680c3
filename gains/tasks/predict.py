"""``gains predict``: from a folder of images to files for Fiji, QuPath and Python."""

import fcntl
import hashlib
import json
import os
import shutil
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

from gains import __version__
from gains.errors import InputError
from gains.export.export import Export
from gains.export.formats import FORMATS, check_formats, save
from gains.files import PARTIAL, explained, replacing
from gains.images.files import open_rasters
from gains.images.listing import is_image, note_others
from gains.images.notes import Notes
from gains.images.options import ReadOptions
from gains.images.raster import Raster
from gains.images.still import READABLE
from gains.instances import Instances
from gains.operating_point import SETTINGS as POINT
from gains.prediction.predictor import Predictor, load_model
from gains.prediction.records import FOLDER, make_record, read_records, record_path, write_record
from gains.reports.prediction import MAX_PICTURES, write_prediction_report

SETTINGS = ("channels", "intensity", "pixel_size_um", "tile", "overlap")
"""What decides a result: a folder holds results of one choice of these, and of one checkpoint."""

CLAIM = "settings.json"
RESERVED = ("measurements",)
"""An image called so would share a file with the joined table."""
LONGEST_NAME = 200
"""Bytes of a result's name without suffix; file systems allow 255 in all."""


@dataclass(frozen=True)
class Item:
    """One image: its name among the results, its file, and how many images that file holds."""

    name: str
    path: Path
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
    formats = list(config.formats)
    check_formats(formats)
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
        **{name: config[name] for name in POINT},
    )
    options = ReadOptions(config.channels, predictor.intensity, config.max_pixels, notes=notes)
    predictor.notes = notes
    with alone_in(output):
        settings = claim(output, config, predictor)
        failures = predict_with_bar(predictor, files, config, options)
        finish(output, formats, settings, failures, notes.lines())


def predict_with_bar(
    predictor: Predictor, files: dict[str, Path], config: DictConfig, options: ReadOptions
) -> dict[Path, str]:
    """Predict what is not done under a progress bar; exits with status 130 when interrupted."""
    with tqdm(total=len(files), bar_format="{l_bar}{bar}| {n:.1f}/{total} files [{elapsed}<{remaining}]") as bar:
        try:
            return predict_files(predictor, files, config, options, Progress(bar))
        except KeyboardInterrupt:
            bar.close()
            print("interrupted; finished images are kept, the same command goes on")
            raise SystemExit(130) from None


@contextmanager
def alone_in(output: Path) -> Iterator[None]:
    """Keep a folder of results to one call at a time; a killed one leaves no trace.

    Raises:
        InputError: if another call is writing to it.
    """
    with explained(output):
        output.mkdir(parents=True, exist_ok=True)
        file = (output / ".lock").open("w")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(
                f"output={output}: another gains predict is writing there; choose another folder"
            ) from None
        yield


def find_images(pattern: str, output: Path, notes: Notes) -> dict[str, Path]:
    """Files of an ``input``, by the name that their results get.

    Args:
        pattern: a file, a folder (its own files, not those of folders in it), or a glob pattern (``**`` for any depth).
        output: folder of results, in which no input is looked for.
        notes: get a line about image files that are not read.

    Raises:
        InputError: if there is none.
    """
    path = Path(pattern)
    if path.is_file():
        found = [path]
    elif path.is_dir():
        files = sorted(file for file in path.iterdir() if file.is_file() and not is_own(file, output))
        found = [file for file in files if is_image(file)]
        note_others(files, notes)
        if not found:
            raise InputError(f"input={pattern} holds no {READABLE} file; for folders in it: '{path}/**/*'")
    else:
        root = Path(path.anchor)
        matches = sorted(root.glob(str(path.relative_to(root)) if path.anchor else pattern))
        results = output.resolve()
        files = [file for file in matches if file.is_file() and results not in file.resolve().parents]
        found = [file for file in files if is_image(file)]
        note_others(files, notes)
        if not found:
            raise InputError(f"input={pattern} is no file, no folder, and matches no {READABLE} file")
    return _names(found)


def is_own(file: Path, output: Path) -> bool:
    """Whether a file is a result of an earlier call into the same folder."""
    suffixes = tuple(form.suffix for form in FORMATS.values())
    return file.name.endswith(suffixes) and file.resolve().parent == output.resolve() and (output / CLAIM).is_file()


def _names(files: list[Path]) -> dict[str, Path]:
    """Paths below the folder common to all, without suffix unless two files would get the same name."""
    # Absolute, not resolved: a link is called what its folder calls it.
    paths = [os.path.abspath(file) for file in files]
    common = os.path.commonpath([os.path.dirname(path) for path in paths])
    names = [os.path.relpath(path, common) for path in paths]
    stems = [os.path.splitext(name)[0] for name in names]
    count = Counter([*stems, *RESERVED])
    taken: dict[str, Path] = {}
    # Names that nobody else wants first, so that a made-up one never takes somebody's own.
    for index in sorted(range(len(files)), key=lambda index: count[stems[index]] > 1):
        wanted = stems[index] if count[stems[index]] == 1 else names[index].replace(".", "_")
        name = wanted = file_name(wanted)
        number = 2
        while name in taken:
            name, number = f"{wanted}_{number}", number + 1
        taken[name] = files[index]
    return dict(sorted(taken.items(), key=lambda entry: files.index(entry[1])))


def file_name(name: str) -> str:
    """A relative path whose last part leaves room for suffixes and can be printed, whatever bytes the file's has."""
    folder, last = os.path.split(name.encode("utf-8", "replace").decode())
    encoded = last.encode()
    if len(encoded) > LONGEST_NAME:
        digest = hashlib.sha256(encoded).hexdigest()[:8]
        last = f"{encoded[: LONGEST_NAME - 9].decode(errors='ignore')}_{digest}"
    return os.path.join(folder, last)


def page_name(name: str, page: int, names: Collection[str]) -> str:
    """Name of a page of a file, other than that of any file."""
    found = f"{name}_p{page:03d}"
    while found in names:
        found = f"{found}_page"
    return found


def claim(output: Path, config: DictConfig, predictor: Predictor) -> dict[str, Any]:
    """Make the output folder this run's: leftovers go, and its settings are noted for later calls.

    Returns:
        The settings.

    Raises:
        InputError: if it cannot be written to, or holds results of other settings and ``overwrite`` is off.
    """
    checkpoint = Path(config.checkpoint)
    settings = {
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
    path = output / CLAIM
    try:
        earlier = json.loads(path.read_text()) if path.is_file() else settings
    except ValueError:
        earlier = {}
    changed = [
        f"{name} {earlier.get(name)} -> {value}" for name, value in settings.items() if earlier.get(name) != value
    ]
    if changed and not config.overwrite:
        raise InputError(
            f"output={output} holds results of other settings ({'; '.join(changed)}); "
            "choose another folder, or overwrite=true"
        )
    if changed:
        # Without their records images count as not done, so that results of two settings never stay side by side.
        shutil.rmtree(output / FOLDER, ignore_errors=True)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(settings, indent=2))
    for leftover in output.rglob(f".*{PARTIAL}"):
        leftover.unlink()
    return settings


def predict_files(
    predictor: Predictor, files: dict[str, Path], config: DictConfig, options: ReadOptions, progress: Progress
) -> dict[Path, str]:
    """Predict and save every image that is not done; returns what is wrong with files that could not be read."""
    output, formats = Path(config.output), list(config.formats)
    failures: dict[Path, str] = {}

    def todo() -> Iterator[tuple[Item, Raster]]:
        for name, path in files.items():
            if not config.overwrite and is_done(output, name, formats):
                progress.add(path, 1)
                continue
            try:
                rasters = open_rasters(path, options)
            except InputError as error:
                failures[path] = str(error)
                progress.add(path, 1)
                continue
            for raster in rasters:
                item = Item(name if len(rasters) == 1 else page_name(name, raster.page, files), path, len(rasters))
                if len(rasters) > 1 and not config.overwrite and is_done(output, item.name, formats):
                    progress.add(path, 1 / item.pages)
                else:
                    yield item, raster

    results = predictor.predict_many(todo(), lambda item, share: progress.add(item.path, share / item.pages))
    for item, raster, result in results:
        if isinstance(result, InputError):
            failures[item.path] = str(result)
            progress.add(item.path, 1)
        else:
            _save(output, item, raster, result, config)
    return failures


def is_done(output: Path, name: str, formats: list[str]) -> bool:
    """Whether all files of an image are there; its record is written last."""
    return record_path(output, name).is_file() and all(file_of(output, name, kind).is_file() for kind in formats)


def file_of(output: Path, name: str, kind: str) -> Path:
    """The file of an image in a format."""
    return output / f"{name}{FORMATS[kind].suffix}"


def _save(output: Path, item: Item, raster: Raster, instances: Instances, config: DictConfig) -> None:
    """Write an image's files, then the record that says that it is done."""
    folder, stem = (output / item.name).parent, Path(item.name).name
    record_path(output, item.name).unlink(missing_ok=True)
    # Not with_suffix: a dot may be part of the name.
    export = Export(
        instances,
        raster,
        config.pixel_size_um,
        file_name=f"{item.name}{item.path.suffix}",
        page=raster.page if item.pages > 1 else None,
    )
    save(export, folder, stem, list(config.formats))
    write_record(output, make_record(item.name, item.path, instances, raster))


def finish(
    output: Path, formats: list[str], settings: dict[str, Any], failures: dict[Path, str], notes: list[str]
) -> None:
    """Join tables, write the report, print what was done; exits with status 1 if there are failures."""
    records = read_records(output, MAX_PICTURES)
    for kind in formats:
        merge = FORMATS[kind].merge
        if merge is not None:
            # Earlier calls may have written images in other formats.
            files = [(record.name, file_of(output, record.name, kind)) for record in records]
            merge([(name, file) for name, file in files if file.is_file()], output / FORMATS[kind].joined)
    write_prediction_report(output / "report.html", records, settings, list(failures.values()))
    count = sum(record.count for record in records)
    print(f"{count} instances in {len(records)} images; {output / 'report.html'} shows them")
    for note in notes:
        print(f"note: {note}")
    if failures:
        print(f"{len(failures)} of the files could not be predicted:")
        for message in failures.values():
            print(f"  {message}")
        raise SystemExit(1)
