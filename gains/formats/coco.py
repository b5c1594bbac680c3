"""COCO instance annotations as the file has them, checked: the one reader behind ``prepare`` and ``score``."""

import math
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from gains.errors import InputError
from gains.formats.archives import check_relative
from gains.formats.coco_ids import MOST_ID, Id, to_id
from gains.formats.coco_lists import read_lists
from gains.formats.coco_masks import known_sound, to_rle
from gains.formats.coco_store import CocoAnnotation, CocoAnnotations
from gains.formats.faults import Faults

# "group" is what prepare writes from a groups file, which alone decides the split.
STANDARD_IMAGE = ("id", "file_name", "height", "width", "license", "flickr_url", "coco_url", "date_captured", "group")
STANDARD_ANNOTATION = ("id", "image_id", "category_id", "segmentation", "area", "bbox")

TOGETHER = 256
"""Annotations whose masks are checked at a time."""

MAX_PIXELS = 2**31
"""Masks of larger images do not fit the run lengths of COCO's tools."""


@dataclass(frozen=True)
class CocoImage:
    """An image entry: its file name with forward slashes, ``(height, width)``, and fields beyond the standard."""

    file_name: str
    size: tuple[int, int]
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class CocoFile:
    """A COCO data set.

    Attributes:
        path: of the file.
        categories: names by id, ascending.
        images: by id, in the order of the file.
        annotations: in the order of the file.
    """

    path: Path
    categories: dict[Id, str]
    images: dict[Id, CocoImage]
    annotations: CocoAnnotations


def read_coco(path: Path, category: str | None = None) -> CocoFile:
    """Read and check a COCO file with images, annotations and categories.

    Ids may be numbers, or text and fractions that are whole numbers: ``1``, ``1.0`` and ``"1"`` are one id. Of a root
    category that other categories name as their ``supercategory``, and that no annotation has, nothing is left.

    Args:
        path: of the file.
        category: read annotations of this one alone, whatever is wrong with others; None reads all.

    Raises:
        InputError: with everything that is wrong in it.
    """
    lists = read_lists(path)
    faults = Faults(str(path))
    categories = read_categories(lists.categories, path, lists.used, faults)
    images = _images(lists.images, path, faults)
    # What belongs to an entry that is at fault itself would only repeat that.
    at_fault = {to_id(entry.get("id")) for entry in lists.images} - images.keys()
    others = {number for number, name in categories.items() if category not in (None, name)}
    lists.images.clear()  # they are held once
    annotations = CocoAnnotations({number: image.size for number, image in images.items()})
    for index, (entry, sound) in enumerate(with_soundness(lists.annotations())):
        with faults.collected():
            repeats = not categories or (at_fault and to_id(entry.get("image_id")) in at_fault)
            if not repeats and not (others and to_id(entry.get("category_id")) in others):
                where = f"{path}: {describe(entry, index, 'annotation')}"
                annotations.add(_annotation(entry, where, images, categories, sound))
    faults.check()
    return CocoFile(path, categories, images, annotations)


def with_soundness(entries: Iterator[Any]) -> Iterator[tuple[Any, bool]]:
    """Each entry with whether its mask is :func:`known_sound`, which is found for many together."""
    while together := list(islice(entries, TOGETHER)):
        masks = [entry.get("segmentation") if isinstance(entry, dict) else None for entry in together]
        yield from zip(together, known_sound(masks), strict=True)


def _annotation(
    entry: Mapping[str, Any], where: str, images: Mapping[Id, CocoImage], categories: Mapping[Id, str], sound: bool
) -> CocoAnnotation:
    image, category = place(entry, where, images, categories)
    mask = to_rle(entry.get("segmentation"), images[image].size, where, sound)
    crowd = _crowd(entry.get("iscrowd"), where)
    extra = {key: value for key, value in entry.items() if key not in STANDARD_ANNOTATION}
    return CocoAnnotation(image, categories[category], mask, read_box(entry, where), bool(crowd), extra)


def _crowd(value: Any, where: str) -> int:
    """Whether an entry is a crowd region: 0 or 1, also as text or as true and false; nothing is 0."""
    number = int(value) if isinstance(value, bool) else to_id(value or 0)
    if number not in (0, 1):
        raise InputError(f"{where} has iscrowd {value!r}; it must be 0 (one object) or 1 (a crowd region)")
    return int(number)


def read_categories(
    entries: Sequence[Mapping[str, Any]],
    path: Path,
    used: Collection[Id | None] = (),
    faults: Faults | None = None,
) -> dict[Id, str]:
    """Names by id, ascending; space around a name and the normal form of its accents do not matter.

    Args:
        entries: of the list of categories.
        path: of the file, for errors.
        used: category ids of the annotations of the file.
        faults: collect what is wrong; None refuses it.

    Raises:
        InputError: if there are none, one lacks its id, or two have one id or one name.
    """
    collected = faults or Faults(str(path))
    above = [(entry.get("supercategory"), entry.get("name")) for entry in entries]
    parents = {parent for parent, name in above if isinstance(parent, str) and parent != name}
    names: dict[Id, str] = {}
    for entry in entries:
        with collected.collected():
            number, name = _category(entry, path)
            if number not in used and name in parents and len(entries) > 1:
                continue  # the root that some tools write above the categories they mean
            if number in names:
                raise InputError(f"{path}: category id {number} occurs twice; ids must be unique")
            same = name in names.values()
            names[number] = name
            if same:
                raise InputError(
                    f"{path}: two categories are called {name!r}; categories must differ in id and in name"
                )
    if not entries:
        collected.add(f"{path} declares no categories; at least one is needed")
    if faults is None:
        collected.check()
    return dict(sorted(names.items(), key=lambda item: (isinstance(item[0], str), item[0])))


def _category(entry: Mapping[str, Any], path: Path) -> tuple[Id, str]:
    """Id and name of a category; without a name its id is that."""
    number, name = to_id(entry.get("id")), entry.get("name")
    if number is None:
        raise InputError(f"{path}: a category has id {entry.get('id')!r}; it needs an id and a name")
    if isinstance(name, bool) or not isinstance(name, (str, int, float, type(None))):
        raise InputError(f"{path}: category {number} has the name {name!r}, which is no text")
    called = "" if name is None else unicodedata.normalize("NFC", str(name)).strip()
    return number, called or str(number)


def new_image_id(entry: Mapping[str, Any], index: int, known: Collection[Id], path: Path) -> Id:
    """The id of an image of a COCO file.

    Args:
        entry: of the list of images.
        index: of the entry.
        known: ids of the entries before it.
        path: of the file.

    Raises:
        InputError: if it has none, or that of an entry before it.
    """
    number = to_id(entry.get("id"))
    if number is None:
        raise InputError(f"{path}: each image needs an id, and image {index + 1} has {entry.get('id')!r}")
    if number in known:
        raise InputError(f"{path}: image id {number} occurs twice; ids must be unique")
    return number


def _images(entries: Sequence[Mapping[str, Any]], path: Path, faults: Faults) -> dict[Id, CocoImage]:
    images: dict[Id, CocoImage] = {}
    for index, entry in enumerate(entries):
        with faults.collected():
            number = new_image_id(entry, index, images, path)
            height, width = (to_id(entry.get(side)) for side in ("height", "width"))
            if not (isinstance(height, int) and isinstance(width, int) and height > 0 and width > 0):
                raise InputError(f"{path}: image {number} needs height and width, whole numbers from 1")
            if height * width >= MAX_PIXELS:
                raise InputError(f"{path}: image {number} is said to have {height} x {width} pixels, 2^31 or more")
            if not isinstance(entry.get("file_name", number), (str, int)):
                raise InputError(f"{path}: image {number} has file_name {entry['file_name']!r}, which is no text")
            name = file_name(str(entry.get("file_name", number)))
            check_relative(name, str(path))
            extra = {key: value for key, value in entry.items() if key not in STANDARD_IMAGE}
            images[number] = CocoImage(name, (height, width), extra)
    return images


def file_name(name: str) -> str:
    """A file name as all systems write it: forward slashes, letters and their accents composed (NFC)."""
    return unicodedata.normalize("NFC", name.replace("\\", "/"))


def describe(entry: Any, index: int, kind: str) -> str:
    """What an error calls an entry."""
    if not isinstance(entry, dict):
        return f"entry {index + 1}"
    return f"annotation {entry['id']}" if "id" in entry else f"{kind} {index + 1}"


def place(entry: Any, where: str, images: Mapping[Any, Any], categories: Mapping[Any, Any]) -> tuple[Any, Any]:
    """Image id and category id of an entry.

    Raises:
        InputError: if it is no object, or one of them is missing or not declared.
    """
    if not isinstance(entry, dict):
        raise InputError(f"{where} must be an object, not {type(entry).__name__}")
    found = []
    for key, known in (("image_id", images), ("category_id", categories)):
        if key not in entry:
            raise InputError(f"{where} has no {key}")
        number = to_id(entry[key])
        if number not in known:
            some = ", ".join(str(value) for value in islice(known, 5)) + (", ..." if len(known) > 5 else "")
            raise InputError(f"{where} has {key} {entry[key]!r}, which is not declared; declared are {some or 'none'}")
        found.append(number)
    return found[0], found[1]


def read_box(entry: Mapping[str, Any], where: str) -> list[float] | None:
    """Box ``[x, y, width, height]`` of an entry, or None.

    Raises:
        InputError: if it is anything but four finite numbers, the sides not negative.
    """
    box = entry.get("bbox")
    if not box:
        return None
    numbers = isinstance(box, list) and len(box) == 4 and all(is_number(side) for side in box)
    if not numbers or min(box[2:]) < 0:
        raise InputError(f"{where} has bbox {box!r}; it must be [x, y, width, height] in pixels, finite, sides from 0")
    return [float(side) for side in box]


def is_number(value: Any) -> bool:
    """Whether a value is a finite number."""
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < MOST_ID
