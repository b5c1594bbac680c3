"""``NAME.layers.tif``: label images on pages of a TIFF file, so that instances may overlap, and their categories."""

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from gains.errors import InputError
from gains.formats.labels import encode_labels
from gains.images.files import instance_numbers
from gains.rle import RLE

CATEGORIES = "categories"
"""Key of the ImageDescription, which is JSON."""


def number_ranges(categories: Sequence[str], labels: Iterable[int]) -> dict[str, str]:
    """Numbers of the instances of each category, as ``1-3 7``.

    Args:
        categories: names by label, from 1.
        labels: of the instances 1, 2, ...
    """
    labelled = np.fromiter(labels, dtype=np.int64)
    ranges = {}
    for label, name in enumerate(categories, start=1):
        numbers = np.flatnonzero(labelled == label) + 1
        runs = np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1) if len(numbers) else []
        ranges[name] = " ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
    return ranges


def layer_categories(source: Path | bytes, where: str) -> dict[int, str]:
    """Categories by number; empty where the file does not say, as when another program saved it.

    Args:
        source: the file.
        where: what an error calls it.

    Raises:
        InputError: if it is no TIFF file, or what it says of categories is damaged.
    """
    try:
        with tifffile.TiffFile(io.BytesIO(source) if isinstance(source, bytes) else source) as file:
            text = file.pages.first.description
    except Exception as error:  # a damaged file may raise anything
        raise InputError(f"{where} is no readable TIFF file: {error}") from None
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    ranges = said.get(CATEGORIES) if isinstance(said, dict) else None
    if not isinstance(ranges, Mapping):
        return {}
    try:
        return {number: name for name, numbers in ranges.items() for number in _numbers(numbers)}
    except (ValueError, AttributeError):
        raise InputError(f"{where} has categories that are no ranges of numbers: {str(ranges)[:80]}") from None


MOST_NUMBERS = 10_000_000


def _numbers(text: str) -> Iterable[int]:
    for part in text.split():
        first, _, last = part.partition("-")
        begin, end = int(first), int(last or first)
        if not 0 < begin <= end < MOST_NUMBERS:
            raise ValueError(part)
        yield from range(begin, end + 1)


def read_layers(data: bytes, where: str) -> tuple[list[tuple[int, RLE]], tuple[int, int]]:
    """Numbers and masks on all pages, and their ``(height, width)``.

    Raises:
        InputError: if it is no TIFF file of whole numbers, all pages of one size.
    """
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            pages: list[npt.NDArray[Any]] = [page.asarray() for page in file.pages]
    except Exception as error:  # a damaged file may raise anything
        raise InputError(f"{where} is no readable TIFF file: {error}") from None
    shapes = {page.shape for page in pages}
    if len(shapes) != 1 or pages[0].ndim != 2 or pages[0].size == 0:
        raise InputError(f"{where} has pages of {shapes}; each must be a label image, all of one size")
    found: list[tuple[int, RLE]] = []
    for page in pages:
        labels = instance_numbers(page, where)
        numbers = np.unique(labels)
        found += zip(numbers[numbers > 0].tolist(), encode_labels(labels), strict=True)
    return found, (int(pages[0].shape[0]), int(pages[0].shape[1]))
