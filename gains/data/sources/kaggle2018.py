"""The Kaggle layout of the Data Science Bowl 2018 (BBBC038): one folder per image, one binary PNG per nucleus."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from gains.data.source import ImageRecord, Instance
from gains.errors import InputError
from gains.formats.archives import open_files
from gains.formats.labels import encode_mask
from gains.images.files import read_image
from gains.images.listing import IMAGE_SUFFIXES
from gains.images.options import ReadOptions

SAMPLE_FILE = re.compile(r"(?:.*/)?(?P<sample>[^/]+)/(?P<kind>images|masks)/[^/]+", re.IGNORECASE)


@dataclass
class _Sample:
    """Files of one image."""

    images: list[str] = field(default_factory=list)
    masks: list[str] = field(default_factory=list)


class Kaggle2018:
    """``<id>/images/<id>.png`` with ``<id>/masks/*.png``, as a zip archive or a folder, in any enclosing folder.

    Masks may overlap and keep their overlaps. Their order is that of their file names.

    Args:
        source: ``stage1_train.zip`` or the folder it unpacks to.
        reading: how images are read.

    Raises:
        InputError: if there are no such samples, or one has no image, several images or no masks.
    """

    categories = ["nucleus"]  # noqa: RUF012

    def __init__(self, source: str | Path | None, reading: ReadOptions | None = None) -> None:
        self.reading = reading or ReadOptions()
        self.files = open_files(source, max_pixels=self.reading.max_pixels)
        self.samples: dict[str, _Sample] = {}
        for name in self.files.names:
            match = SAMPLE_FILE.fullmatch(name)
            if match and name.lower().endswith(IMAGE_SUFFIXES):
                sample = self.samples.setdefault(match["sample"], _Sample())
                getattr(sample, match["kind"].lower()).append(name)
        if not self.samples:
            raise InputError(f"{source} has no <id>/images/*.png with <id>/masks/*.png in it")
        for name, sample in self.samples.items():
            if len(sample.images) != 1:
                raise InputError(f"{source}: {name}/images must hold one image; it holds {len(sample.images)}")
            if not sample.masks:
                raise InputError(f"{source}: {name}/masks holds no mask; only labelled samples can be prepared")

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[ImageRecord]:
        for name, sample in self.samples.items():
            pixels = read_image(self.files.source(sample.images[0]), self.reading, self.files.where(sample.images[0]))
            instances = [self._instance(mask, pixels.shape[:2]) for mask in sample.masks]
            yield ImageRecord(name, pixels, instances)

    def _instance(self, name: str, size: tuple[int, ...]) -> Instance:
        """One nucleus from its mask file."""
        where = self.files.where(name)
        mask = read_image(self.files.source(name), ReadOptions(max_pixels=self.reading.max_pixels), where)
        if mask.ndim == 3:
            mask = mask.max(axis=2)
        if mask.shape != size:
            raise InputError(f"{where} is {mask.shape[0]}x{mask.shape[1]} pixels, its image {size[0]}x{size[1]}")
        if not mask.any():
            raise InputError(f"{where} has no pixel inside; delete it, or draw the nucleus it stands for")
        return Instance("nucleus", encode_mask(mask))
