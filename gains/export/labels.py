"""Label images: pixel value k marks the instance of id k.

Written in bands of rows, so that memory follows the width of an image and not its area.
"""

import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from gains.arrays import IntArray
from gains.export.export import Export
from gains.files import replacing
from gains.formats.layers import CATEGORIES, number_ranges
from gains.instances import Instances
from gains.masks import InstanceCrops
from gains.overlaps import overlapping_pairs, window

BAND = 256
"""Rows per band and TIFF strip."""


def write_labels(path: Path, export: Export) -> None:
    """One label TIFF; a pixel of several instances shows the smallest, so that a nucleus is seen in its cell.

    16 bits, or 32 with more than 65535 instances. The ImageDescription tag says how overlaps were resolved and which
    instances have no pixel left, the resolution tags the side of a pixel where it is given in micrometres.
    """
    instances = export.instances
    _, _, shared = overlapping_pairs(instances.masks)
    note = {
        "software": "gains",
        "values": "0 background, k the instance of id k",
        "overlaps": f"resolved by area, the smaller on top: {len(shared)} pairs share {int(shared.sum())} pixels",
        "without a pixel": _ids(hidden(instances)),
    }
    _write(path, export, [smallest_first(instances)], note)


def write_label_layers(path: Path, export: Export) -> None:
    """A multi-page label TIFF that keeps overlaps: every instance is whole on exactly one page.

    Instances that overlap are on different pages; without overlaps there is one. The ImageDescription tag names the
    ids of each category. Otherwise as :func:`write_labels`.
    """
    instances = export.instances
    note = {
        "software": "gains",
        "values": "0 background, k the instance of id k",
        "overlaps": "kept: instances that overlap are on different pages",
        CATEGORIES: number_ranges(instances.categories, instances.labels),
    }
    _write(path, export, layers(instances), note)


def write_category_labels(path: Path, export: Export) -> None:
    """A label TIFF with a page per category, in the order of their labels; on each the smaller lie on top.

    The ImageDescription tag names the categories. Otherwise as :func:`write_labels`.
    """
    instances = export.instances
    order = smallest_first(instances)
    pages = [order[instances.labels[order] == label] for label in range(1, len(instances.categories) + 1)]
    unseen = np.concatenate([np.sort(page)[hidden(instances.select(np.sort(page).tolist()))] for page in pages])
    note = {
        "software": "gains",
        "values": "0 background, k the instance of id k",
        "pages": ", ".join(instances.categories),
        "overlaps": "between categories kept; within one resolved by area, the smaller on top",
        "without a pixel": _ids(unseen),
    }
    _write(path, export, pages, note)


def smallest_first(instances: Instances) -> IntArray:
    """Indices ``(N,)`` of instances as they lie on each other, the topmost first: the smaller, then the better."""
    order: IntArray = np.lexsort((np.arange(len(instances)), instances.masks.areas().numpy()))
    return order


def hidden(instances: Instances) -> IntArray:
    """Indices of instances of which a plain label image shows no pixel, as smaller ones cover all of them."""
    place = np.empty(len(instances), dtype=np.int64)
    place[smallest_first(instances)] = np.arange(len(instances))
    boxes = instances.boxes
    above: dict[int, list[int]] = {}
    for i, j in zip(*overlapping_pairs(instances.masks)[:2], strict=True):
        upper, lower = (int(i), int(j)) if place[i] < place[j] else (int(j), int(i))
        above.setdefault(lower, []).append(upper)
    unseen = []
    for index, uppers in above.items():
        rest = InstanceCrops.from_crops(
            [instances.masks.crop(index).clone()], instances.masks.boxes[index : index + 1], instances.size
        )
        for upper in uppers:
            view = window(rest, 0, boxes[upper])
            view[window(instances.masks, upper, boxes[index]) != 0] = 0
        if not rest.values.any():
            unseen.append(index)
    return np.array(sorted(unseen), dtype=np.int64)


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
    """Label image of some instances as bands ``(h, W)`` from top to bottom, earlier members over later ones."""
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


def _ids(indices: IntArray) -> str:
    return " ".join(map(str, np.sort(indices) + 1)) or "none"


def _write(path: Path, export: Export, pages: list[IntArray], note: dict[str, Any]) -> None:
    instances = export.instances
    per_cm = None if export.pixel_size_um is None else (1e4 / export.pixel_size_um,) * 2
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
