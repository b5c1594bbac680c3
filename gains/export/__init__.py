"""Instances to files that other programs open. One file per format; every file is whole or not there."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from gains.errors import InputError
from gains.export.coco import write_coco
from gains.export.geojson import write_geojson
from gains.export.imagej import write_imagej
from gains.export.labels import write_label_layers, write_labels
from gains.export.measure import measure
from gains.export.outlines import outlines
from gains.export.overlay import write_overlay
from gains.files import replacing
from gains.images.raster import Raster
from gains.instances import Instances

SUFFIXES = {
    "coco": ".coco.json",
    "labels": ".labels.tif",
    "label_layers": ".layers.tif",
    "imagej": ".rois.zip",
    "geojson": ".geojson",
    "csv": ".csv",
    "overlay": ".overlay.png",
}
"""What each format's file names end in."""


def check_formats(formats: Sequence[str]) -> None:
    """Refuse unknown formats.

    Raises:
        InputError: naming it and those that exist.
    """
    for name in formats:
        if name not in SUFFIXES:
            raise InputError(f"formats: {name!r} is unknown; use any of {', '.join(SUFFIXES)}")


def save(
    instances: Instances,
    folder: Path,
    name: str,
    formats: Sequence[str],
    image: Raster | None = None,
    pixel_size_um: float | None = None,
    file_name: str | None = None,
) -> list[Path]:
    """Write the instances of one image.

    Args:
        instances: of one image.
        folder: receives ``name`` + a suffix per format; made if it is not there.
        name: beginning of the file names.
        formats: keys of :data:`SUFFIXES`.
        image: the image, for intensities; needed by ``overlay``.
        pixel_size_um: side of a pixel in micrometres.
        file_name: of the image, as COCO is to call it; ``name`` by default.

    Returns:
        The files, in the order of the formats.

    Raises:
        InputError: for an unknown format, an overlay without image, or a folder that is full or read-only.
    """
    check_formats(formats)
    if "overlay" in formats and image is None:
        raise InputError("the format 'overlay' needs the image to draw on")
    table: pd.DataFrame | None = None
    if "csv" in formats or "geojson" in formats:
        table = measure(instances, image, pixel_size_um)
    shapes = outlines(instances) if "imagej" in formats or "geojson" in formats else []
    paths = []
    for kind in formats:
        path = folder / f"{name}{SUFFIXES[kind]}"
        if kind == "coco":
            write_coco(path, instances, file_name or name)
        elif kind == "labels":
            write_labels(path, instances, pixel_size_um)
        elif kind == "label_layers":
            write_label_layers(path, instances, pixel_size_um)
        elif kind == "imagej":
            write_imagej(path, instances, shapes)
        elif kind == "geojson":
            assert table is not None
            write_geojson(path, instances, shapes, table)
        elif kind == "csv":
            assert table is not None
            with replacing(path) as temporary:
                table.to_csv(temporary, index=False)
        elif kind == "overlay":
            assert image is not None
            write_overlay(path, instances, image)
        paths.append(path)
    return paths
