"""Images of one open file, read by several threads: one region at a time, as the file has one place to read at."""

import threading
from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from gains.images.raster import Raster
from gains.rle import Box


class SharedRaster:
    """An image that takes turns with others of its file.

    Args:
        raster: the image.
        turn: held while a region is read; the same for all images of a file.
    """

    def __init__(self, raster: Raster, turn: threading.Lock) -> None:
        self.raster = raster
        self.turn = turn
        self.name = raster.name
        self.size = raster.size
        self.page = raster.page
        self.position = raster.position
        self.pixel_size_um = raster.pixel_size_um

    def read(self, box: Box) -> npt.NDArray[Any]:
        """Pixels of a box, as the image itself gives them."""
        with self.turn:
            return self.raster.read(box)


def taking_turns(rasters: Sequence[Raster]) -> list[Raster]:
    """The images of one file such that several threads can read them."""
    turn = threading.Lock()
    return [SharedRaster(raster, turn) for raster in rasters]
