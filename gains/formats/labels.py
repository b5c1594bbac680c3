"""Label images and other full-size masks, as files hold them: which files they are, and their COCO RLE."""

from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from gains.rle import RLE, encode_crop

LABEL_FOLDERS = ("masks", "mask", "labels", "label")
LABEL_ENDINGS = ("_cp_masks", "_masks", "_mask", "_labels", "_label")


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
