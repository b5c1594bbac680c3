"""What every input format is turned into: images with instance masks, before anything is written."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy.typing as npt

from gains.formats.faults import Faults
from gains.rle import RLE

Each = TypeVar("Each")


@dataclass(frozen=True)
class Instance:
    """One annotated object.

    Attributes:
        category: category name, one of the source's ``categories``.
        mask: COCO compressed RLE of the full (amodal) mask at image size.
        extra: further COCO annotation fields to keep, such as ``source_chromosome``.
    """

    category: str
    mask: RLE
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ImageRecord:
    """One image with its instances.

    Attributes:
        name: unique name without suffix, the ``image_id`` of group and split files.
        pixels: ``(H, W)`` or ``(H, W, 3)``, uint8, uint16 or float32, in the full range of the file.
        instances: in annotation order; may be empty.
        split: ``train``, ``val`` or ``test`` where the source has an official division, else None.
        extra: further COCO image fields to keep, such as ``arrangement``.
        number: id of the image in its source, None where the source has no such ids; of all records or of none.
    """

    name: str
    pixels: npt.NDArray[Any]
    instances: list[Instance]
    split: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    number: int | str | None = None


class Source(Protocol):
    """A data set as distributed (or generated), read image by image."""

    @property
    def categories(self) -> list[str]:
        """Category names; a name's position + 1 is its COCO category id, unless the source has ``category_ids`` too."""

    def __len__(self) -> int:
        """Number of images, for the progress bar."""

    def __iter__(self) -> Iterator[ImageRecord]:
        """Records one at a time, in a fixed order, never all in memory."""


def read_each(items: Iterable[Each], read: Callable[[Each], ImageRecord], owner: str) -> Iterator[ImageRecord]:
    """Records of the items that are sound; what is wrong with the others is told at once, when all were tried.

    Args:
        items: what ``read`` takes.
        read: reads one record.
        owner: the data set, as a message calls it.

    Raises:
        InputError: at the end if anything was wrong; all items are tried, so the number of faults is exact.
    """
    faults = Faults(owner)
    for item in items:
        records: list[ImageRecord] = []
        with faults.collected():
            records.append(read(item))
        yield from records
    faults.check()
