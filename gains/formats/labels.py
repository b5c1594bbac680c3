"""Label images and other full-size masks, as files hold them: which files they are, and their COCO RLE."""

import io
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile
from scipy import ndimage

from gains.errors import InputError
from gains.rle import RLE, encode_crop

LABEL_FOLDERS = ("masks", "mask", "labels", "label")
LABEL_ENDINGS = ("_cp_masks", "_masks", "_mask", "_labels", "_label", ".labels")


def is_label(name: str) -> bool:
    """Whether a relative file name is that of a label image."""
    path = PurePosixPath(name)
    return path.stem.lower().endswith(LABEL_ENDINGS) or path.parent.name.lower() in LABEL_FOLDERS


def encode_mask(mask: npt.NDArray[Any]) -> RLE:
    """RLE of a mask ``(H, W)``; any value but 0 is inside."""
    size = (int(mask.shape[0]), int(mask.shape[1]))
    rows, columns = np.nonzero(mask.any(axis=1))[0], np.nonzero(mask.any(axis=0))[0]
    if len(rows) == 0:
        return encode_crop(np.zeros((0, 0)), (0, 0, 0, 0), size)
    box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    return encode_crop(mask[box[1] : box[3], box[0] : box[2]], box, size)


def encode_labels(labels: npt.NDArray[np.integer[Any]]) -> list[RLE]:
    """RLE of each instance of a label image ``(H, W)``, 0 being background, by ascending label."""
    dense = np.asarray(labels)
    if dense.max(initial=0) > dense.size:
        # Labels may be as far apart as 2**32, but find_objects makes a list as long as the largest.
        values, inverse = np.unique(labels, return_inverse=True)
        dense = inverse.reshape(labels.shape) + int(values[0] != 0)
    size = (int(labels.shape[0]), int(labels.shape[1]))
    rles = []
    for index, slices in enumerate(ndimage.find_objects(dense)):
        if slices is not None:
            rows, columns = slices
            rles.append(
                encode_crop(dense[slices] == index + 1, (columns.start, rows.start, columns.stop, rows.stop), size)
            )
    return rles


def encode_components(mask: npt.NDArray[Any]) -> list[RLE]:
    """RLE of each 8-connected component of a binary mask ``(H, W)``."""
    labels, _ = ndimage.label(mask != 0, structure=np.ones((3, 3)))
    return encode_labels(labels)


LOSSY_TIFF = (6, 7, 33007, 34892, 50001, 52546)
"""Compressions of TIFF that change values: JPEG in its forms, and WebP."""


def check_lossless(data: bytes, where: str) -> None:
    """Refuse a file whose compression changes instance numbers.

    Args:
        data: bytes of the label image.
        where: what the error calls it.

    Raises:
        InputError: for JPEG, lossy WebP, and TIFF that is compressed so.
    """
    lossy = data[:2] == b"\xff\xd8" or (data[:4] == b"RIFF" and data[8:16] == b"WEBPVP8 ")
    if data[:2] in (b"II", b"MM"):
        try:
            with tifffile.TiffFile(io.BytesIO(data)) as file:
                lossy = int(file.pages.first.compression) in LOSSY_TIFF
        except Exception:  # whoever reads the pixels says what is wrong with a damaged file
            return
    if lossy:
        raise InputError(
            f"{where} is compressed with loss, which changes instance numbers; save it as PNG or plain TIFF"
        )


def instances_of(
    labels: npt.NDArray[np.integer[Any]], where: str, components: bool | None, option: str = "dataset.components"
) -> list[RLE]:
    """RLE of each instance of one label image, once it is known to be one.

    Args:
        labels: ``(H, W)``, 0 is background.
        where: the file, for the error.
        components: True makes each connected part of what is not 0 an instance, False takes every value as one
            instance; None does the latter, but refuses an image of a single value in several places.
        option: the setting that ``components`` came from, for the error.

    Raises:
        InputError: for a binary mask, or numbers that interpolation made.
    """
    values = np.unique(labels)
    if components:
        return encode_components(labels)
    if components is None and len(values) <= 2 and _is_binary(labels, values):
        raise InputError(
            f"{where} holds {' and '.join(map(str, values))} only, in several places: a binary mask, no label image;"
            f" give each instance a number of its own, or set {option}=true to split it into connected parts (where"
            f" 0 is not the background, invert it first), or {option}=false where each value is one instance"
        )
    check_not_interpolated(labels, where)
    return encode_labels(labels)


def _is_binary(labels: npt.NDArray[np.integer[Any]], values: npt.NDArray[np.integer[Any]]) -> bool:
    """Whether an image of one or two values has a foreground, or the holes of an inverted one, in several places."""
    if len(values) < 2:
        return False
    parts = ndimage.label(labels == values[1], structure=np.ones((3, 3)))[1]
    if parts > 1 or values[0] != 0:
        return True
    border = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]) != 0
    holes = ndimage.label(labels == 0)[1]
    return bool(border.mean() > 0.5 and holes > 1)


def check_not_interpolated(labels: npt.NDArray[np.integer[Any]], where: str) -> None:
    """Refuse numbers that resizing or lossy compression made: they occur only between a smaller and a larger one.

    Raises:
        InputError: if more than a quarter of the numbers, and three at least, are such.
    """
    dense = np.unique(labels, return_inverse=True)[1].reshape(labels.shape)
    padded = np.pad(dense, 1, mode="edge")
    left, right = padded[1:-1, :-2], padded[1:-1, 2:]
    up, down = padded[:-2, 1:-1], padded[2:, 1:-1]
    between = ((left < dense) & (dense < right)) | ((left > dense) & (dense > right))
    between |= ((up < dense) & (dense < down)) | ((up > dense) & (dense > down))
    sizes = np.bincount(dense.ravel())
    made = int((np.bincount(dense.ravel(), weights=between.ravel()) == sizes).sum())
    if made >= 3 and 4 * made > len(sizes):
        raise InputError(
            f"{where} holds {made} numbers that occur only between smaller and larger ones, as interpolation or lossy "
            "compression makes them; resize label images with nearest neighbour and save them as PNG or plain TIFF"
        )
