"""Annotations in arrays, in files beside ``annotations.json`` that all processes of a machine map.

A Python object for every annotation costs a kilobyte and a copy in every worker; these arrays cost as much as the text
of the masks, once. They are made when a data set is first used, and again when ``annotations.json`` has changed. Where
the data set is read-only they go to a temporary folder of the process.
"""

import hashlib
import json
import tempfile
from array import array
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

from gains.errors import InputError
from gains.files import replacing_folder
from gains.formats.coco_ids import Id
from gains.formats.stream import top_level
from gains.rle import RLE

FOLDER = ".index"
VERSION = 1
ARRAYS = ("category", "area", "crowd", "end", "length")
"""What is kept of each annotation."""

COLLECTED = {"category": "i", "area": "d", "crowd": "b", "length": "i", "image": "i", "height": "i", "width": "i"}
"""What is collected of each annotation, and in how many bytes: with ten million of them each byte counts."""

Array = npt.NDArray[Any]


class Index:
    """The annotations of a prepared data set, by image.

    Args:
        folder: of the arrays.
        temporary: what removes the folder in the end, if it is one of this process.

    Attributes:
        fingerprint: SHA-256 of ``annotations.json``.
        images: COCO image entries.
        categories: COCO category entries.
        info: where the data set comes from.
        first: ``(I + 1,)`` number of each image's first annotation, and of all.
        category: ``(N,)`` position of each annotation's category, -1 for none; annotations in the order of the images.
        area: ``(N,)`` in pixels.
        crowd: ``(N,)`` whether it is a crowd region.
        end: ``(N,)`` where its mask's text ends.
        length: ``(N,)`` of its mask's text.
    """

    def __init__(self, folder: Path, temporary: "tempfile.TemporaryDirectory[str] | None" = None) -> None:
        self.folder = folder
        self.temporary = temporary
        about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
        self.fingerprint: str = about["fingerprint"]
        self.images: list[dict[str, Any]] = about["images"]
        self.categories: list[dict[str, Any]] = about["categories"]
        self.info: dict[str, Any] = about["info"]
        self.first, self.category, self.area, self.crowd, self.end, self.length = (
            _mapped(folder / f"{name}.npy") for name in ("first", *ARRAYS)
        )
        self._text: Array = np.memmap(folder / "text", np.uint8, mode="r") if len(self.end) else np.zeros(0, np.uint8)

    def __reduce__(self) -> tuple[Callable[..., "Index"], tuple[Any, ...]]:
        """A worker that gets it as a copy maps the same files."""
        return Index, (self.folder,)

    def __len__(self) -> int:
        return len(self.category)

    def mask(self, row: int, size: tuple[int, int]) -> RLE:
        """Mask of an annotation of an image of a size ``(height, width)``."""
        end = int(self.end[row])
        text = self._text[end - int(self.length[row]) : end].tobytes().decode("ascii")
        return {"size": list(size), "counts": text}

    def image_of(self) -> npt.NDArray[np.int64]:
        """``(N,)`` position of each annotation's image."""
        return np.repeat(np.arange(len(self.images)), np.diff(self.first))


def open_index(root: Path) -> Index:
    """The index of a prepared folder, made if it is not there or does not fit.

    Raises:
        InputError: if ``annotations.json`` is damaged.
    """
    path = root / "annotations.json"
    with path.open("rb") as file:
        fingerprint = hashlib.file_digest(file, "sha256").hexdigest()
    folder = root / FOLDER
    if _fits(folder, fingerprint):
        return Index(folder)
    try:
        with replacing_folder(folder) as partial:
            build(path, fingerprint, partial)
    except (OSError, InputError) as error:
        if isinstance(error, InputError) and not isinstance(error.__cause__, OSError):
            raise
        if not _fits(folder, fingerprint):  # else another process was faster
            temporary = tempfile.TemporaryDirectory(prefix="gains-index-")
            build(path, fingerprint, Path(temporary.name))
            return Index(Path(temporary.name), temporary)
    return Index(folder)


def _fits(folder: Path, fingerprint: str) -> bool:
    """Whether a folder holds the index of these annotations; a damaged one does not."""
    try:
        about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(about, dict) and (about.get("version"), about.get("fingerprint")) == (VERSION, fingerprint)


def build(path: Path, fingerprint: str, folder: Path) -> None:
    """Write the arrays of ``annotations.json`` into a folder.

    Raises:
        InputError: if an annotation lacks something, or its image.
    """
    kept: dict[str, Any] = {"images": [], "categories": [], "info": {}}
    own = {name: array(kind) for name, kind in COLLECTED.items()}
    # Ids may be texts: each is numbered when it is first met.
    met: dict[str, dict[Id, int]] = {"image_id": {}, "category_id": {}}
    try:
        with (folder / "text").open("wb") as text:
            for key, value in top_level(path):
                if key == "annotations":
                    for annotation in value:
                        _collect(path, annotation, own, met, text)
                elif key in kept:
                    kept[key] = list(value) if isinstance(value, Iterator) else value
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is damaged, or not written by gains prepare: {error}") from None
    images, categories = kept["images"], kept["categories"]
    place = _places(path, images, met["image_id"], own)
    order = np.argsort(place, kind="stable")
    own_place = {entry["id"]: position for position, entry in enumerate(categories)}
    of_number = np.array([own_place.get(given, -1) for given in met["category_id"]], dtype=np.int64)
    np.save(folder / "first.npy", np.searchsorted(place, np.arange(len(images) + 1), sorter=order))
    for name in ARRAYS:
        values = np.cumsum(own["length"], dtype=np.int64) if name == "end" else np.asarray(own[name])
        values = of_number[values] if name == "category" and len(of_number) else values
        np.save(folder / f"{name}.npy", values[order])
    about = {"version": VERSION, "fingerprint": fingerprint} | kept
    (folder / "about.json").write_text(json.dumps(about), encoding="utf-8")


def _collect(
    path: Path,
    annotation: Mapping[str, Any],
    own: "Mapping[str, array[Any]]",
    met: Mapping[str, dict[Id, int]],
    text: BinaryIO,
) -> None:
    """Append an annotation to the arrays, its mask's text to a file, and its ids, if they are new, to those met.

    Raises:
        InputError: if it lacks something.
    """
    try:
        mask = annotation["segmentation"]
        height, width = mask["size"]
        counts = mask["counts"]
        if isinstance(counts, list):
            counts = coco_mask.frPyObjects(mask, height, width)["counts"]
        packed = counts.encode("ascii") if isinstance(counts, str) else counts
        ids = {name: annotation[name] for name in met}
        values = {
            "area": annotation["area"],
            "crowd": bool(annotation.get("iscrowd", 0)),
            "length": len(packed),
            "height": height,
            "width": width,
            "image": met["image_id"].setdefault(ids["image_id"], len(met["image_id"])),
            "category": met["category_id"].setdefault(ids["category_id"], len(met["category_id"])),
        }
        text.write(packed)
        for name, value in values.items():
            own[name].append(value)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        what = f"lacks {error}" if isinstance(error, KeyError) else f"is not as prepared ({error})"
        raise InputError(f"{path}: annotation {len(own['image']) + 1} {what}") from None


def _places(
    path: Path, images: list[dict[str, Any]], met: Mapping[Id, int], own: "Mapping[str, array[Any]]"
) -> npt.NDArray[np.int64]:
    """``(N,)`` position of each annotation's image.

    Raises:
        InputError: for an annotation of no image, or whose mask has another size.
    """
    position = {entry["id"]: place for place, entry in enumerate(images)}
    for given in met:
        if given not in position:
            raise InputError(f"{path}: an annotation has image_id {given}, which no image has")
    if not met:
        return np.zeros(0, dtype=np.int64)
    of_number = np.array([position[given] for given in met], dtype=np.int64)
    place: npt.NDArray[np.int64] = of_number[np.asarray(own["image"])]
    wrong = np.zeros(len(place), dtype=bool)
    for side in ("height", "width"):
        wrong |= np.array([entry[side] for entry in images], dtype=np.int64)[place] != np.asarray(own[side])
    if wrong.any():
        row = int(wrong.argmax())
        image = images[place[row]]
        raise InputError(
            f"{path}: annotation {row + 1} has a mask of {own['height'][row]}x{own['width'][row]} pixels, its image "
            f"{image['file_name']} has {image['height']}x{image['width']}"
        )
    return place


def _mapped(path: Path) -> Array:
    """An array in a file; an empty one cannot be mapped."""
    try:
        return np.asarray(np.load(path, mmap_mode="r"))
    except ValueError:
        return np.asarray(np.load(path))
