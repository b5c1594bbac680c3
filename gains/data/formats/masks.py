"""Full-size masks, as files hold them, to COCO RLE."""

from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask
from scipy import ndimage

from gains.rle import RLE, encode_crop


def encode_mask(mask: npt.NDArray[Any]) -> RLE:
    """RLE of a mask ``(H, W)``; any value but 0 is inside."""
    rle: RLE = coco_mask.encode(np.asfortranarray(mask != 0, dtype=np.uint8))
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode("ascii")}


def encode_labels(labels: npt.NDArray[np.integer[Any]]) -> list[RLE]:
    """RLE of each instance of a label image ``(H, W)``, 0 being background, by ascending label."""
    values, inverse = np.unique(labels, return_inverse=True)
    # Labels may be as far apart as 2**32; find_objects wants them dense.
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
