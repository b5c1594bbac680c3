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


LOSSY_TIFF = (6, 7, 22610, 33003, 33004, 33005, 33007, 34712, 34887, 34892, 34927, 34934, 50001, 50002, 52546)
"""Compressions of TIFF that change values, or may: JPEG, JPEG 2000, JPEG XR, JPEG XL, WebP and LERC, all numbers."""


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
            f"{where} is compressed with loss, or by a method that may be, which changes instance numbers; save it as "
            "PNG or plain TIFF"
        )


def instances_of(
    labels: npt.NDArray[np.integer[Any]],
    where: str,
    components: bool | None,
    option: str = "dataset.components",
    doubts: list[str] | None = None,
) -> list[RLE]:
    """RLE of each instance of one label image, once it is known to be one.

    Args:
        labels: ``(H, W)``, 0 is background.
        where: the file, for the error.
        components: True makes each connected part of what is not 0 an instance, False takes every value as one
            instance; None does the latter, but refuses what looks like a mask of one value or of classes.
        option: the setting that ``components`` came from, for the error.
        doubts: gets what would be refused for its looks; None refuses it.

    Raises:
        InputError: for a binary mask, or numbers that interpolation made.
    """
    values = np.unique(labels)
    check_not_interpolated(labels, where)
    if components:
        return encode_components(labels)
    if components is None and (kind := _no_label_image(labels, values)):
        if doubts is None:
            raise InputError(refused(f"{where} {kind}", option))
        doubts.append(f"{where} {kind}")
    return encode_labels(labels)


def refused(doubt: str, option: str) -> str:
    """What is said of a file that does not look like a label image."""
    return (
        f"{doubt}, no label image; give each instance a number of its own, or set {option}=true to split it into "
        f"connected parts (where 0 is not the background, invert it first), or {option}=false where each value is one "
        "instance"
    )


MOST_CLASSES = 12
"""Values of a mask of classes; instances are rarely so few that each of them lies in several places."""

WHITE = (255, 65535)
"""What binary masks say of a foreground, and hardly any label image of a single instance."""

STRAY = 0.1
"""Of the largest part of an instance: smaller ones are specks that a brush left, no objects of a class."""


def _no_label_image(labels: npt.NDArray[np.integer[Any]], values: npt.NDArray[np.integer[Any]]) -> str:
    """What an image seems to be whose values say nothing about instances; empty for a label image."""
    held = " and ".join(map(str, values))
    if len(values) == 1:
        return f"holds {held} everywhere: a binary mask that is inverted, or full" if values[0] in WHITE else ""
    if len(values) == 2:
        one_value = values[0] != 0 or _is_scattered(labels == values[1], 0) or _is_inverted(labels)
        return f"holds {held} only, in several places: a binary mask" if one_value else ""
    marks = values[values > 0]
    if len(marks) <= MOST_CLASSES and all(_is_scattered(labels == value, STRAY) for value in marks):
        return f"holds {held}, each in several places: a mask of classes"
    return ""


def _is_scattered(mask: npt.NDArray[np.bool_], share: float) -> bool:
    """Whether it has a second 8-connected component of at least that share of its largest."""
    parts, _ = ndimage.label(mask, structure=np.ones((3, 3)))
    areas = np.sort(np.bincount(parts[mask]))
    return bool(areas[-2] > 0 and areas[-2] >= share * areas[-1])


def _is_inverted(labels: npt.NDArray[np.integer[Any]]) -> bool:
    """Whether what is not 0 fills most of the border, and what is 0 lies inside of it."""
    border = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]) != 0
    holes, count = ndimage.label(labels == 0)
    outside = np.unique(np.concatenate([holes[0], holes[-1], holes[:, 0], holes[:, -1]]))
    return bool(border.mean() > 0.5 and count > np.count_nonzero(outside))


def check_not_interpolated(labels: npt.NDArray[np.integer[Any]], where: str) -> None:
    """Refuse numbers that resizing or lossy compression made, although the file is not compressed so itself.

    Such numbers occur only between a smaller and a larger one, or as crumbs: single pixels here and there. Where
    numbers are small, none of them may be new: then borders tell, which rise over several pixels and are no steps.

    Raises:
        InputError: if more than a third of the numbers, and three at least, are such, or too many borders.
    """
    ramps, steps = _borders(labels)
    if ramps >= LEAST_RAMPS and ramps > MOST_RAMPS * (ramps + steps):
        raise InputError(
            f"{where} has borders that rise over several pixels, as interpolation or lossy compression makes them; "
            "resize label images with nearest neighbour and save them as PNG or plain TIFF"
        )
    dense = np.unique(labels, return_inverse=True)[1].reshape(labels.shape)
    padded = np.pad(dense, 1, mode="edge")
    left, right = padded[1:-1, :-2], padded[1:-1, 2:]
    up, down = padded[:-2, 1:-1], padded[2:, 1:-1]
    between = ((left < dense) & (dense < right)) | ((left > dense) & (dense > right))
    between |= ((up < dense) & (dense < down)) | ((up > dense) & (dense > down))
    sizes = np.bincount(dense.ravel())
    only_between = np.bincount(dense.ravel(), weights=between.ravel()) == sizes
    made = int((only_between | _are_crumbs(dense, sizes)).sum())
    if made >= 3 and 3 * made > len(sizes):
        raise InputError(
            f"{where} holds {made} numbers that occur only between smaller and larger ones or as scattered pixels, as "
            "interpolation or lossy compression makes them; resize label images with nearest neighbour and save them "
            "as PNG or plain TIFF"
        )


MOST_RAMPS = 0.3
"""Of the borders: in label images hardly a fifth, however dense; where bilinear resizing made them, half or more."""

LEAST_RAMPS = 16


def _borders(labels: npt.NDArray[np.integer[Any]]) -> tuple[int, int]:
    """Numbers of pixels between a smaller and a larger neighbour, and of steps of 2 or more beside none of them."""
    ramps = steps = 0
    labels = np.asarray(labels, dtype=np.int64)
    for lines in (labels, labels.T):
        before, here, after = lines[:, :-2], lines[:, 1:-1], lines[:, 2:]
        between = np.pad(((before < here) & (here < after)) | ((before > here) & (here > after)), ((0, 0), (1, 1)))
        between = between[:, : lines.shape[1]]
        jumps = np.abs(np.diff(lines)) >= 2
        ramps += int(between.sum())
        steps += int((jumps & ~between[:, 1:] & ~between[:, :-1]).sum())
    return ramps, steps


def _are_crumbs(dense: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """For each value from 0 whether its pixels hardly touch each other, and lie far apart."""
    touching = np.bincount(dense[:, 1:][dense[:, 1:] == dense[:, :-1]], minlength=len(sizes))
    touching += np.bincount(dense[1:][dense[1:] == dense[:-1]], minlength=len(sizes))
    spans = ndimage.find_objects(dense + 1, max_label=len(sizes))
    sides = np.array([max(part.stop - part.start for part in span) if span else 0 for span in spans])
    crumbs: npt.NDArray[np.bool_] = (sizes >= 2) & (4 * touching < 3 * sizes) & (sides > 2 * np.sqrt(sizes) + 2)
    return crumbs
