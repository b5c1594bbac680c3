"""A folder of results: of one choice of settings, and what in it is done."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gains.errors import InputError
from gains.export.export import Export
from gains.export.formats import FORMATS, save
from gains.files import PARTIAL, replacing
from gains.images.raster import Raster
from gains.prediction.kept import forget
from gains.prediction.records import FOLDER, make_record, record_path, write_record

CLAIM = "settings.json"
"""Settings of the calls whose results a folder holds."""


def claim(output: Path, settings: Mapping[str, Any], overwrite: bool) -> None:
    """Make the folder this run's: leftovers of killed ones go, and its settings are noted for later calls.

    Args:
        output: the folder.
        settings: all that decides a result, plain values.
        overwrite: whether results of other settings may go.

    Raises:
        InputError: if it cannot be written to, or holds results of other settings and ``overwrite`` is off.
    """
    path = output / CLAIM
    try:
        earlier = json.loads(path.read_text()) if path.is_file() else settings
    except ValueError:
        earlier = {}
    changed = [
        f"{name} {earlier.get(name)} -> {value}" for name, value in settings.items() if earlier.get(name) != value
    ]
    if changed and not overwrite:
        raise InputError(
            f"output={output} holds results of other settings ({'; '.join(changed)}); "
            "choose another folder, or overwrite=true"
        )
    if changed or overwrite:
        forget(output)
    if changed:
        # Without their records images count as not done, so that results of two settings never stay side by side.
        shutil.rmtree(output / FOLDER, ignore_errors=True)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(settings, indent=2, allow_nan=False))
    (output / FOLDER).mkdir(exist_ok=True)
    remove_leftovers(output)


def remove_leftovers(output: Path) -> None:
    """Remove what killed calls and workers had begun to write."""
    for leftover in output.rglob(f".*{PARTIAL}"):
        leftover.unlink(missing_ok=True)


def holds_results(folder: Path) -> bool:
    """Whether a call has written to a folder, or begun to."""
    return (folder / FOLDER).is_dir()


def is_done(output: Path, name: str, formats: Sequence[str]) -> bool:
    """Whether all files of an image are there; its record is written last."""
    return record_path(output, name).is_file() and all(file_of(output, name, kind).is_file() for kind in formats)


def file_of(output: Path, name: str, kind: str) -> Path:
    """The file of an image in a format."""
    # Not with_suffix: a dot may be part of the name.
    return output / f"{name}{FORMATS[kind].suffix}"


def save_image(output: Path, name: str, source: str, export: Export, image: Raster, formats: Sequence[str]) -> None:
    """Write an image's files, then the record that says that it is done.

    Args:
        output: the folder.
        name: of the results.
        source: file of the image, as the report calls it.
        export: what was found.
        image: to be shown in the report.
        formats: of the files.
    """
    record_path(output, name).unlink(missing_ok=True)
    save(export, (output / name).parent, Path(name).name, formats)
    write_record(output, make_record(name, source, export.instances, image, export.pixel_size_um))


def merge_files(output: Path, names: Sequence[str], formats: Sequence[str]) -> None:
    """Write the files that hold all images, by the names of their results, of the formats that have one."""
    for kind in formats:
        merge = FORMATS[kind].merge
        if merge is not None:
            # Earlier calls may have written images in other formats.
            files = [(name, file_of(output, name, kind)) for name in names]
            merge([(name, file) for name, file in files if file.is_file()], output / FORMATS[kind].joined)
