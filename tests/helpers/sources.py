"""What several tests of sources need: a small size, dense masks, the one record."""

import numpy as np
import numpy.typing as npt

from gains.data.source import ImageRecord, Source
from gains.rle import decode_crop

SIZE = (24, 32)


def rectangle(x0: int, y0: int, x1: int, y1: int) -> npt.NDArray[np.uint8]:
    mask = np.zeros(SIZE, np.uint8)
    mask[y0:y1, x0:x1] = 1
    return mask


def dense(record: ImageRecord) -> list[npt.NDArray[np.bool_]]:
    """Full-size masks of a record's instances."""
    result = []
    for instance in record.instances:
        crop, (x0, y0, x1, y1) = decode_crop(instance.mask)
        mask = np.zeros(instance.mask["size"], bool)
        mask[y0:y1, x0:x1] = crop
        result.append(mask)
    return result


def only(source: Source) -> ImageRecord:
    """The record of a source of one image."""
    records = list(source)
    assert len(source) == len(records) == 1
    return records[0]
