"""Checked COCO annotations, of which few are held at a time."""

from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gains.formats.coco_ids import Id
from gains.formats.spool import Spool
from gains.rle import RLE


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
    """Annotations by image, in the order in which they were added.

    Args:
        sizes: ``(height, width)`` of each image by id.

    Attributes:
        crowds: how many are crowd regions.
    """

    def __init__(self, sizes: Mapping[Id, tuple[int, int]]) -> None:
        self.crowds = 0
        self._sizes = sizes
        self._kept = Spool()
        self._hash = array("q")

    def add(self, annotation: CocoAnnotation) -> None:
        """Append one; only the counts of its mask are kept, whose size is that of the image.

        Raises:
            InputError: if the disk of temporary files is full.
        """
        image, category, counts = annotation.image, annotation.category, annotation.mask["counts"]
        self._kept.add(image, (category, counts, annotation.box, annotation.crowd, annotation.extra))
        self._hash.append(hash((image, category, counts)))
        self.crowds += annotation.crowd

    def __len__(self) -> int:
        return len(self._kept)

    def of(self, image: Id) -> list[CocoAnnotation]:
        """Those of an image."""
        return [
            CocoAnnotation(image, category, {"size": list(self._sizes[image]), "counts": counts}, box, crowd, extra)
            for category, counts, box, crowd, extra in self._kept.of(image)
        ]

    def repeated(self) -> int:
        """How many repeat another: same image, category and mask."""
        return len(self) - len(np.unique(np.asarray(self._hash)))
