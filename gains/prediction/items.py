"""Images on their way from files to results: what is wanted of each, how far they are, what the writers get."""

import threading
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gains.export.export import Export
from gains.images.notes import Notes
from gains.images.options import ReadOptions
from gains.images.raster import Raster
from gains.instances import Instances
from gains.prediction.inputs import Source
from gains.prediction.predictor import Predictor


@dataclass(frozen=True)
class Wanted:
    """What is to be made of every image.

    Attributes:
        output: folder of results.
        formats: of their files.
        overwrite: whether images that are done are done again.
        channels: of the images that are read.
        max_pixels: most pixels that are decoded in one piece.
        pixel_size_um: side of a pixel in micrometres; None goes by what an image says.
        ahead: tiles that are read while the network runs; 0 does one thing after the other.
        block: most tiles of one image that are predicted together; one of more is divided.
    """

    output: Path
    formats: Sequence[str]
    overwrite: bool
    channels: Sequence[int] | None
    max_pixels: int
    pixel_size_um: float | None
    ahead: int
    block: int

    def reading(self, predictor: Predictor, notes: Notes) -> ReadOptions:
        """How files are read; notes get what there is to say about them."""
        return ReadOptions(self.channels, predictor.intensity, self.max_pixels, notes=notes)


@dataclass(frozen=True)
class Item:
    """One image: its name among the results, its file, and how many images that file holds."""

    name: str
    source: Source
    pages: int


@dataclass
class Progress:
    """The bar over all files, which also moves within a large image."""

    bar: Any
    done: dict[Path, float] = field(default_factory=lambda: defaultdict(float))
    turn: threading.Lock = field(default_factory=threading.Lock)

    def add(self, path: Path, share: float) -> None:
        """Part of a file is done; any thread may say so."""
        with self.turn:
            share = min(share, 1 - self.done[path])
            self.done[path] += share
            if self.bar is not None:
                self.bar.update(share)


def export_of(item: Item, raster: Raster, instances: Instances, pixel_size_um: float | None) -> Export:
    """What the writers get of one image."""
    source = item.source
    if item.pages == 1:
        return Export(instances, raster, pixel_size_um, source.relative)
    name = f"{item.name}{Path(source.relative).suffix}"
    return Export(instances, raster, pixel_size_um, name, source.relative, raster.page)
