"""Label images: pixel value k marks the instance of id k.

Written in bands of rows, so that memory follows the width of an image and not its area.
"""

import json
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tifffile

from gains.files import replacing
from gains.instances import Instances
from gains.overlaps import overlapping_pairs, window

BAND = 256
"""Rows per band and TIFF strip."""

IntArray = npt.NDArray[np.int64]


def write_labels(path: Path, instances: Instances, pixel_size_um: float | None = None) -> None:
    """One label TIFF; a pixel of several instances shows the one with the highest score.

    16 bits, or 32 with more than 65535 instances. The ImageDescription tag says how overlaps were resolved, the
    resolution tags the side of a pixel where it is given in micrometres.
    """
    _, _, shared = overlapping_pairs(instances.masks)
    note = {
        "software": "gains",
        "values": "0 background, k the instance of id k",
        "overlaps": f"resolved by score, the higher on top: {len(shared)} pairs share {int(shared.sum())} pixels",
    }
    _write(path, instances, [np.arange(len(instances))], note, pixel_size_um)


def write_label_layers(path: Path, instances: Instances, pixel_size_um: float | None = None) -> None:
    """A multi-page label TIFF that keeps overlaps: every instance is whole on exactly one page.

    Instances that overlap are on different pages; without overlaps there is one. Otherwise as :func:`write_labels`.
    """
    note = {
        "software": "gains",
        "values": "0 background, k the instance of id k",
        "overlaps": "kept: instances that overlap are on different pages",
    }
    _write(path, instances, layers(instances), note, pixel_size_um)


def layers(instances: Instances) -> list[IntArray]:
    """Divide instances into layers ``(K,)`` of indices without overlap: each goes to the first where it fits."""
    first, second, _ = overlapping_pairs(instances.masks)
    earlier: dict[int, list[int]] = {}
    for i, j in zip(first.tolist(), second.tolist(), strict=True):
        earlier.setdefault(j, []).append(i)
    layer = np.zeros(len(instances), dtype=np.int64)
    for index in range(len(instances)):
        taken = {int(layer[other]) for other in earlier.get(index, [])}
        layer[index] = next(number for number in range(len(taken) + 1) if number not in taken)
    return [np.flatnonzero(layer == number) for number in range(int(layer.max(initial=0)) + 1)]


def bands(instances: Instances, members: IntArray, dtype: type[np.unsignedinteger]) -> Iterator[npt.NDArray]:  # type: ignore[type-arg]
    """Label image of some instances as bands ``(h, W)`` from top to bottom, lower indices over higher ones."""
    height, width = instances.size
    boxes = instances.boxes[members]
    for top in range(0, height, BAND):
        bottom = min(top + BAND, height)
        band = np.zeros((bottom - top, width), dtype)
        region = np.array([0, top, width, bottom])
        for index in members[(boxes[:, 1] < bottom) & (boxes[:, 3] > top)][::-1]:
            x0, y0, x1, y1 = instances.boxes[index].tolist()
            view = band[max(y0, top) - top : min(y1, bottom) - top, x0:x1]
            view[window(instances.masks, int(index), region) != 0] = index + 1
        yield band


def _write(
    path: Path, instances: Instances, pages: list[IntArray], note: dict[str, str], pixel_size_um: float | None
) -> None:
    per_cm = None if pixel_size_um is None else (1e4 / pixel_size_um,) * 2
    dtype = np.uint16 if len(instances) <= np.iinfo(np.uint16).max else np.uint32
    strips = (
        zlib.compress(band.astype(band.dtype.newbyteorder("<")).tobytes(), 6)
        for members in pages
        for band in bands(instances, members, dtype)
    )
    with replacing(path) as temporary:
        tifffile.imwrite(
            temporary,
            strips,
            shape=(len(pages), *instances.size),
            dtype=dtype,
            byteorder="<",
            photometric="minisblack",
            compression="zlib",
            rowsperstrip=min(BAND, instances.size[0]),
            resolution=per_cm,
            resolutionunit=None if per_cm is None else "CENTIMETER",
            description=json.dumps(note),
            metadata=None,
        )
