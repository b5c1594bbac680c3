"""Corrected layers on disk: an image and a GeoJSON file beside it, which ``gains prepare dataset=drawings`` reads."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gains.errors import InputError
from gains.export.export import Export
from gains.export.geojson import write_geojson
from gains.files import explained
from gains.images.files import read_image, write_image
from gains.images.intensity import known_values
from gains.images.options import ReadOptions
from gains.images.raster import ArrayRaster
from gains.instances import Instances


def save_corrections(folder: Path, name: str, image: npt.NDArray[Any], instances: Instances) -> Path:
    """Write an image and its instances; those that were saved of it earlier are replaced.

    GeoJSON, because it keeps overlaps and categories, and QuPath reads it too; its outlines run along the edges of
    pixels, so that the masks come back as they were painted.

    Args:
        folder: made if it is not there; it collects one image after the other.
        name: of the image's layer; what no file can be called becomes an underscore.
        image: ``(H, W)``, ``(H, W, 3)`` or ``(H, W, 4)`` of any type.
        instances: of that image.

    Returns:
        The GeoJSON file.

    Raises:
        InputError: if another image of that name lies there, or nothing can be written.
    """
    stem = file_stem(name)
    pixels = known_values(ArrayRaster(image, name).pixels, "percentile", name)
    picture, drawn = folder / f"{stem}.tif", folder / f"{stem}.geojson"
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
    if not picture.exists():
        write_image(picture, pixels)
    elif not np.array_equal(read_image(picture, ReadOptions(intensity="percentile")), pixels):
        raise InputError(f"{picture} holds another image; rename the layer {name!r}, or choose another folder")
    write_geojson(drawn, Export(instances, file_name=picture.name))
    return drawn


def file_stem(name: str) -> str:
    """What the files of a layer are called."""
    return re.sub(r"[^\w.-]+", "_", name).strip("._") or "image"
