"""The three lists of a COCO file, of which that of annotations may be too long to hold."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from gains.errors import InputError
from gains.formats.coco_ids import Id, to_id
from gains.formats.stream import entries, first_character, top_level

LISTS = ("images", "annotations", "categories")

SMALL = 2**28
"""Bytes of a damaged file that is parsed whole, to say the place of the damage as Python does."""

Entry = dict[str, Any]


@dataclass(frozen=True)
class CocoLists:
    """What is held of a COCO file, and the way to the rest.

    Attributes:
        path: of the file.
        images: entries of the images.
        categories: entries of the categories.
        used: category ids of the annotations, None among them where one has none.
        number: of the list of annotations in the file that counts, from 1; as in Python it is the last.
    """

    path: Path
    images: list[Entry]
    categories: list[Entry]
    used: set[Id | None]
    number: int

    def annotations(self) -> Iterator[Entry]:
        """Entries of the annotations, read from the file again."""
        lists = (value for key, value in top_level(self.path) if key == "annotations")
        for number, value in enumerate(lists, 1):
            if number == self.number:
                yield from value
                return


def read_lists(path: Path) -> CocoLists:
    """Read all of a COCO file and keep its images and categories.

    Raises:
        InputError: if it cannot be read, is no JSON, lacks a list, or one holds anything but objects.
    """
    try:
        return _scan(path)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        _refuse(path, error)


def _scan(path: Path) -> CocoLists:
    """See :func:`read_lists`; damaged files end in ``ValueError``."""
    kept: dict[str, list[Entry]] = {}
    strange: set[str] = set()
    used: set[Id | None] = set()
    number = 0
    for key, value in top_level(path):
        if key not in LISTS:
            continue
        # Of members of one name the last counts.
        kept.pop(key, None)
        strange.discard(key)
        if key == "annotations":
            number += 1
            used.clear()
        if not isinstance(value, Iterator):
            continue
        kept[key] = []
        for entry in value:
            if not isinstance(entry, dict):
                strange.add(key)
            elif key == "annotations":
                used.add(to_id(entry.get("category_id")))
            else:
                kept[key].append(entry)
    for key in LISTS:
        if key not in kept:
            raise InputError(_lacks(path, key))
        if key in strange:
            raise InputError(_holds_other(path, key))
    return CocoLists(path, kept["images"], kept["categories"], used, number)


def holds_list(path: Path) -> bool:
    """Whether a JSON file is a list, as results are.

    Raises:
        InputError: if it cannot be read.
    """
    try:
        return first_character(path) == "["
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError:
        return False


def read_results(path: Path) -> Iterator[Any]:
    """Entries of a JSON list, which may be too long to hold.

    Raises:
        InputError: if it is damaged.
    """
    try:
        yield from entries(path)
    except (ValueError, RecursionError) as error:
        _refuse(path, error)


def _refuse(path: Path, error: Exception) -> NoReturn:
    """Say what is wrong with a file that is no JSON, or holds no object."""
    if path.stat().st_size >= SMALL:
        raise InputError(f"{path} is no COCO file: {error}") from None
    try:
        json.loads(path.read_bytes())
    except (ValueError, RecursionError) as damage:
        raise InputError(f"{path} is no JSON file: {damage}") from None
    raise InputError(_lacks(path, LISTS[0])) from None


def _lacks(path: Path, key: str) -> str:
    return f"{path} has no list {key!r}; a COCO file has images, annotations and categories"


def _holds_other(path: Path, key: str) -> str:
    return f"{path}: every entry of {key!r} must be an object"
