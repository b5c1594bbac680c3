"""The table of output formats: what a file is called, who writes it, and how the files of many images become one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gains.errors import InputError
from gains.export.coco import merge_coco, write_coco
from gains.export.csv import merge_csv, write_csv
from gains.export.export import Export
from gains.export.geojson import write_geojson
from gains.export.imagej import write_imagej
from gains.export.labels import write_category_labels, write_label_layers, write_labels
from gains.export.overlay import write_overlay

Write = Callable[[Path, Export], None]
Merge = Callable[[Sequence[tuple[str, Path]], Path], None]


@dataclass(frozen=True)
class Format:
    """One output format.

    Attributes:
        suffix: what its file names end in, behind the name of the image.
        write: writes the file of one image, whole or not at all.
        joined: name of the file that holds all images of a folder; empty where there is none.
        merge: makes that file from the name of each image and its file.
        needs_image: whether it cannot be written without the image.
    """

    suffix: str
    write: Write
    joined: str = ""
    merge: Merge | None = None
    needs_image: bool = False


FORMATS = {
    "coco": Format(".coco.json", write_coco, "predictions.json", merge_coco),
    "labels": Format(".labels.tif", write_labels),
    "category_labels": Format(".categories.tif", write_category_labels),
    "label_layers": Format(".layers.tif", write_label_layers),
    "imagej": Format(".rois.zip", write_imagej),
    "geojson": Format(".geojson", write_geojson),
    "csv": Format(".csv", write_csv, "measurements.csv", merge_csv),
    "overlay": Format(".overlay.png", write_overlay, needs_image=True),
}


def check_formats(names: Sequence[str]) -> None:
    """Refuse unknown formats.

    Raises:
        InputError: naming it and those that exist.
    """
    for name in names:
        if name not in FORMATS:
            raise InputError(f"formats: {name!r} is unknown; use any of {', '.join(FORMATS)}")


def save(export: Export, folder: Path, name: str, formats: Sequence[str]) -> list[Path]:
    """Write the instances of one image.

    Args:
        export: them, and what is known of their image.
        folder: receives ``name`` + a suffix per format; made if it is not there.
        name: beginning of the file names.
        formats: keys of :data:`FORMATS`.

    Returns:
        The files, in the order of the formats.

    Raises:
        InputError: for an unknown format, an overlay without image, or a folder that is full or read-only.
    """
    check_formats(formats)
    for kind in formats:
        if FORMATS[kind].needs_image and export.image is None:
            raise InputError(f"the format {kind!r} needs the image to draw on")
    paths = []
    for kind in formats:
        paths.append(folder / f"{name}{FORMATS[kind].suffix}")
        FORMATS[kind].write(paths[-1], export)
    return paths
