"""Checked COCO annotations in a temporary file: ten million of them would not fit into memory as Python objects."""

import json
import tempfile
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from gains.errors import InputError
from gains.formats.coco_ids import Id
from gains.rle import RLE

IN_MEMORY = 2**26
"""Bytes of annotations from which on they lie in a file."""


@dataclass(frozen=True)
class CocoAnnotation:
    """One annotated object: where it belongs, its mask, and what else its entry says."""

    image: Id
    category: str
    mask: RLE
    box: list[float] | None
    crowd: bool
    extra: dict[str, Any]


class CocoAnnotations:
    """Annotations in the order in which they were added, and by image.

    Args:
        sizes: ``(height, width)`` of each image by id.

    Attributes:
        crowds: how many are crowd regions.
    """

    def __init__(self, sizes: Mapping[Id, tuple[int, int]]) -> None:
        self.crowds = 0
        self._images = list(sizes)
        self._sizes = [list(size) for size in sizes.values()]
        self._place = {image: place for place, image in enumerate(sizes)}
        self._file = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 - gone with this object
        self._owner, self._end, self._hash = array("q"), array("q", [0]), array("q")

    def add(self, annotation: CocoAnnotation) -> None:
        """Append one; only the counts of its mask are kept, whose size is that of the image.

        Raises:
            InputError: if the disk of temporary files is full.
        """
        image, category, counts = self._place[annotation.image], annotation.category, annotation.mask["counts"]
        record = json.dumps([category, counts, annotation.box, annotation.crowd, annotation.extra]).encode("ascii")
        try:
            self._file.write(record)
        except OSError as error:
            raise InputError(
                f"{tempfile.gettempdir()} cannot hold the annotations: {error.strerror}; set TMPDIR to a folder with "
                "more space"
            ) from None
        self._owner.append(image)
        self._end.append(self._end[-1] + len(record))
        self._hash.append(hash((image, category, counts)))
        self.crowds += annotation.crowd

    def __len__(self) -> int:
        return len(self._owner)

    def __iter__(self) -> Iterator[CocoAnnotation]:
        return map(self._read, range(len(self)))

    def of(self, image: Id) -> list[CocoAnnotation]:
        """Those of an image."""
        place = self._place[image]
        first = self._first
        return [self._read(row) for row in self._order[first[place] : first[place + 1]].tolist()]

    def repeated(self) -> int:
        """How many repeat another: same image, category and mask."""
        return len(self) - len(np.unique(np.asarray(self._hash, dtype=np.int64)))

    def _read(self, row: int) -> CocoAnnotation:
        begin, end = self._end[row : row + 2]
        self._file.seek(begin)
        category, counts, box, crowd, extra = json.loads(self._file.read(end - begin))
        owner = self._owner[row]
        mask: RLE = {"size": list(self._sizes[owner]), "counts": counts}
        return CocoAnnotation(self._images[owner], category, mask, box, crowd, extra)

    @cached_property
    def _order(self) -> npt.NDArray[np.int64]:
        """Rows by image."""
        return np.argsort(np.asarray(self._owner, dtype=np.int64), kind="stable")

    @cached_property
    def _first(self) -> npt.NDArray[np.int64]:
        """Where the rows of each image begin in the order, and the end of all."""
        counts = np.bincount(np.asarray(self._owner, dtype=np.int64), minlength=len(self._images))
        return np.concatenate([[0], np.cumsum(counts)])
