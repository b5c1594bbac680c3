"""The label images of a folder, by the name of the image that each belongs to, and what they hold."""

from collections import Counter
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from gains.errors import InputError
from gains.formats.archives import FolderFiles
from gains.formats.cellpose import SEG_ENDING, read_seg, without_results
from gains.formats.faults import Faults
from gains.formats.labels import (
    LABEL_ENDINGS,
    LABEL_FOLDERS,
    check_lossless,
    encode_labels,
    instances_of,
    is_label,
)
from gains.formats.layers import layer_categories
from gains.images.files import decode_label_planes, decode_labels
from gains.images.listing import IMAGE_SUFFIXES, page_stem
from gains.rle import RLE

SUFFIXES = (".png", ".tif", ".tiff")
PAGES = ("images", "layers")
OPTION = "components"
LAYERS = ".layers"
"""Of the file that `gains predict` writes with ``formats=[label_layers]``."""


@dataclass(frozen=True)
class LabelReading:
    """How label images are read.

    Attributes:
        components: see :func:`gains.formats.labels.instances_of`.
        pages: what the pages of a TIFF file are: ``images`` of their own, as time points are, or ``layers``, which hold
            further instances of one image; None takes layers where no number is on two pages.
    """

    components: bool | None = None
    pages: str | None = None


Labelled = dict[str, tuple[list[RLE], tuple[int, int]]]
"""Masks and ``(height, width)`` of images, by name."""


def label_files(folder: Path) -> dict[str, Path]:
    """Label images below a folder by image name: the relative path without ending and suffix.

    Where some files are marked as label images by their name or folder, only those are meant. ``NAME_seg.npy`` is the
    label image of an image without another one.

    Raises:
        InputError: if there is none, or two of one image.
    """
    every = FolderFiles(folder).names
    images = [name for name in every if name.lower().endswith(IMAGE_SUFFIXES)]
    # Files of other kinds are looked at where there is nothing else, to be read or refused as prepare does.
    files, _ = without_results([name for name in images if name.lower().endswith(SUFFIXES)] or images)
    segs = [name for name in every if name.lower().endswith(SEG_ENDING)]
    marked = [name for name in files if is_label(name)] or [name for name in files if _ends(name, LAYERS)]
    named: dict[str, Path] = {}
    for name in marked or ([] if segs else files):
        key = _image_name(name)
        if key in named:
            raise InputError(f"{folder / name} and {named[key]} are both label images of {key}; keep one")
        named[key] = folder / name
    faults = Faults(str(folder))
    if segs and not marked:
        keys = {name[: -len(SEG_ENDING)] for name in segs}
        for name in files:
            if _image_name(name) not in keys:
                faults.add(f"{folder / name} has no _seg.npy file beside it, as others have; add it, or move it away")
    faults.check()
    for name in segs:
        _check_beside(named.setdefault(name[: -len(SEG_ENDING)], folder / name), folder / name)
    if not named:
        raise InputError(f"{folder} holds no label images; put one TIFF or PNG per image in it")
    return dict(sorted(named.items()))


def _check_beside(file: Path, seg: Path) -> None:
    """Refuse a label image beside a ``_seg.npy`` of other masks: nobody knows which of them was corrected."""
    if file != seg and not np.array_equal(decode_labels(file, str(file)), read_seg(_bytes(seg), str(seg))):
        raise InputError(f"{file} and {seg} hold other masks of one image; keep the one that was corrected last")


def _image_name(name: str) -> str:
    path = PurePosixPath(name)
    folder = path.parent.parent if path.parent.name.lower() in LABEL_FOLDERS else path.parent
    ending = next((ending for ending in (*LABEL_ENDINGS, LAYERS) if _ends(name, ending)), "")
    return (folder / path.stem[: len(path.stem) - len(ending)]).as_posix()


def _ends(name: str, ending: str) -> bool:
    return PurePosixPath(name).stem.lower().endswith(ending)


def read_labelled(name: str, path: Path, reading: LabelReading, doubts: list[str] | None = None) -> Labelled:
    """The images that a file of labels speaks of: one, or one for each page.

    Args:
        name: of the image.
        path: of the file.
        reading: how.
        doubts: see :func:`gains.formats.labels.instances_of`.

    Raises:
        InputError: if it is unreadable, no label image, or a stack whose pages may mean either.
    """
    where = str(path)
    if path.name.lower().endswith(SEG_ENDING):
        return {name: _one(read_seg(_bytes(path), where), where, reading, doubts)}
    data = _bytes(path)
    check_lossless(data, where)
    first = [labels for labels, _ in islice(decode_label_planes(data, where), 2)]
    if len(first) == 1:
        return {name: _one(first[0], where, reading, doubts)}
    if reading.pages is None:
        _check_layers(data, where)
    planes = (labels for labels, _ in decode_label_planes(data, where))
    if reading.pages == "images":
        return {
            page_stem(name, page): _one(labels, f"{where}, page {page}", reading, doubts)
            for page, labels in enumerate(planes, 1)
        }
    masks, sizes = [], []
    for labels in planes:
        masks += encode_labels(labels)
        sizes.append((int(labels.shape[0]), int(labels.shape[1])))
    if len(set(sizes)) > 1:
        raise InputError(f"{where} has pages of several sizes, which are no layers of one image; set pages=images")
    return {name: (masks, sizes[0])}


def _one(
    labels: npt.NDArray[np.int64], where: str, reading: LabelReading, doubts: list[str] | None
) -> tuple[list[RLE], tuple[int, int]]:
    masks = instances_of(labels, where, reading.components, OPTION, doubts)
    return masks, (int(labels.shape[0]), int(labels.shape[1]))


def _check_layers(data: bytes, where: str) -> None:
    """Refuse a stack whose pages may be images of their own, and not layers of one."""
    numbers: Counter[int] = Counter()
    count, ordered = 0, False
    for labels, axes in decode_label_planes(data, where):
        count += 1
        ordered |= bool(axes)
        numbers.update(np.unique(labels[labels > 0]).tolist())
    if not layer_categories(data, where) and (ordered or max(numbers.values(), default=0) > 1):
        raise InputError(
            f"{where} is a stack of {count} label images; set pages=images where each page is an image of its own, as "
            "time points and slices are, or pages=layers where pages hold further instances of one image"
        )


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
