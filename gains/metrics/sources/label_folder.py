"""Ground truth and predictions as folders of label images: pixel value k marks instance k.

Label images have no categories and no scores: all instances are of one category and every prediction scores 1.
"""

import io
from pathlib import Path

import numpy as np
import tifffile

from gains.errors import InputError
from gains.formats.labels import LABEL_ENDINGS, check_lossless, encode_labels, instances_of, is_label
from gains.images.files import decode_labels
from gains.images.listing import IMAGE_SUFFIXES
from gains.images.tiff import TIFF_MAGIC
from gains.metrics.sources.sets import GroundTruth, ImageNames, InstanceSet, Predictions
from gains.rle import RLE

SUFFIXES = (".png", ".tif", ".tiff")
CATEGORY = "object"
"""Category of label images, unless ``category`` names another."""


def folder_truth(folder: Path, category: str | None, components: bool | None = None) -> GroundTruth:
    """Ground truth from a folder; image ids are 1, 2, ... by name.

    Raises:
        InputError: if there is no label image, two of one name, or one is unreadable.
    """
    names: dict[int, str] = {}
    sizes: dict[int, tuple[int, int]] = {}
    instances: dict[int, InstanceSet] = {}
    for image_id, (name, path) in enumerate(_label_files(folder).items(), start=1):
        names[image_id] = name
        masks, sizes[image_id] = read_label_image(path, components)
        instances[image_id] = _instances(masks)
    return GroundTruth(folder, {}, {category or CATEGORY: 1}, names, sizes, instances)


def folder_predictions(folder: Path, truth: GroundTruth, components: bool | None = None) -> Predictions:
    """Predictions from a folder, each label image going with the truth's image of the same name.

    Raises:
        InputError: as :func:`folder_truth`, or if a label image has no partner or another size, or the truth has
            several categories.
    """
    if len(truth.labels) > 1:
        raise InputError(
            f"{folder} holds label images, which have no categories, but {truth.path} has {', '.join(truth.labels)}; "
            "choose one with category=NAME"
        )
    known = ImageNames(truth.names)
    instances = {image_id: InstanceSet() for image_id in truth.names}
    predicted: set[int] = set()
    for name, path in _label_files(folder).items():
        image_id = known.find(name)
        if image_id is None:
            raise InputError(f"{path} has no image of the name {name} in {truth.path}; remove it or rename it")
        masks, size = read_label_image(path, components)
        if size != truth.sizes[image_id]:
            wanted = "x".join(str(side) for side in truth.sizes[image_id])
            raise InputError(f"{path} is {size[0]}x{size[1]} pixels, but its image in {truth.path} is {wanted}")
        instances[image_id] = _instances(masks)
        predicted.add(image_id)
    notes = ["label images have no scores: every prediction counts as 1, so mAP is that of an unranked set"]
    return Predictions(instances, notes, predicted)


def read_label_image(path: Path, components: bool | None = None) -> tuple[list[RLE], tuple[int, int]]:
    """Masks of a label image and its ``(height, width)``; a TIFF stack holds further instances in each plane.

    Raises:
        InputError: if it is unreadable or not a label image.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    planes = _planes(data) if data.startswith(TIFF_MAGIC) else None
    if planes is None:
        planes = [decode_labels(data, str(path))]
    check_lossless(data, str(path))
    if len(planes) == 1:
        masks = instances_of(planes[0], str(path), components, "components")
    else:
        masks = [mask for plane in planes for mask in encode_labels(plane)]
    return masks, (int(planes[0].shape[0]), int(planes[0].shape[1]))


def _planes(data: bytes) -> list[np.ndarray] | None:
    """Planes of a TIFF stack of whole numbers; None if it is one image, or unreadable, for others to say so."""
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            series = file.series[0]
            if len(series.shape) != 3 or series.axes[-1] in "SC" or not np.issubdtype(series.dtype, np.unsignedinteger):
                return None
            return list(series.asarray())
    except Exception:
        return None


def _label_files(folder: Path) -> dict[str, Path]:
    """Label images by name without ending and suffix; where some are marked as such, only those."""
    images = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    # Files of other kinds are looked at where there is nothing else, to be read or refused as prepare does.
    files = [path for path in images if path.suffix.lower() in SUFFIXES] or images
    marked = [path for path in files if is_label(path.name)]
    named: dict[str, Path] = {}
    for path in marked or files:
        name = path.stem
        for ending in LABEL_ENDINGS:
            if name.lower().endswith(ending):
                name = name[: -len(ending)]
                break
        if name in named:
            raise InputError(f"{path} and {named[name]} are both label images of {name}; keep one")
        named[name] = path
    if not named:
        raise InputError(f"{folder} holds no label images; put one TIFF or PNG per image in it")
    return named


def _instances(masks: list[RLE]) -> InstanceSet:
    instances = InstanceSet()
    for mask in masks:
        instances.add(mask, 1)
    return instances
