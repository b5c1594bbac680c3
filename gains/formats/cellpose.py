"""Masks of Cellpose's ``NAME_seg.npy``, the file in which its window keeps what was segmented and corrected."""

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from gains.errors import InputError
from gains.formats.plain_pickle import load_pickled_npy

SEG_ENDING = "_seg.npy"
RESULT_ENDINGS = ("_flows", "_flows_cp_masks", "_cp_output", "_outlines_cp_masks")
"""Further results that Cellpose writes beside an image; they are neither images nor labels."""


def without_results(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Divide relative image names into those that count, and Cellpose's pictures of one that is there as well."""
    stems = {PurePosixPath(name).with_suffix("").as_posix() for name in names}
    results = []
    for name in names:
        path = PurePosixPath(name).with_suffix("").as_posix()
        if any(path.lower().endswith(end) and path[: -len(end)] in stems for end in RESULT_ENDINGS):
            results.append(name)
    return [name for name in names if name not in set(results)], results


def read_seg(data: bytes, where: str) -> npt.NDArray[np.int64]:
    """Label image ``(H, W)`` int64 in a ``_seg.npy`` file, 0 being background.

    Args:
        data: bytes of the file.
        where: what the error calls it.

    Raises:
        InputError: if it is unreadable, has no masks, or those of a volume.
    """
    content: Any = load_pickled_npy(data, where)
    masks = content.get("masks") if isinstance(content, dict) else None
    if not isinstance(masks, np.ndarray) or not np.issubdtype(masks.dtype, np.integer):
        raise InputError(f"{where} has no masks; save it from Cellpose again, or remove it")
    if masks.ndim == 3 and masks.shape[0] == 1:
        masks = masks[0]
    if masks.ndim == 3:
        raise InputError(
            f"{where} has masks of a volume of {masks.shape[0]} planes; save each plane and its masks as one image "
            "(NAME.tif, NAME_masks.tif), and keep planes of one volume in one split by dataset.groups"
        )
    if masks.ndim != 2 or masks.size == 0:
        raise InputError(f"{where} has masks of shape {masks.shape}; one image (height, width) is read")
    if masks.min() < 0 or masks.max() >= 2**32:
        raise InputError(f"{where} has a mask number outside 0 to 2^32")
    return masks.astype(np.int64)
