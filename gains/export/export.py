"""What every writer gets: the instances of one image and all that a format may say about them."""

import math
from dataclasses import dataclass
from functools import cached_property

import pandas as pd
from shapely.geometry.base import BaseGeometry

from gains.errors import InputError
from gains.export.measure import measure
from gains.export.outlines import outlines
from gains.images.raster import Raster
from gains.instances import Instances


@dataclass(frozen=True)
class Export:
    """One image's instances on their way into files; tables and outlines are made once, when first asked for.

    Attributes:
        instances: of the image.
        image: the image itself, for intensities and overlays.
        pixel_size_um: side of a pixel in micrometres.
        file_name: what formats that name their image call it.
        source: the file that it is a plane of; empty for a file with one image.
        page: number of that plane, from 1.

    Raises:
        InputError: if the size of a pixel is none.
    """

    instances: Instances
    image: Raster | None = None
    pixel_size_um: float | None = None
    file_name: str = ""
    source: str = ""
    page: int | None = None

    def __post_init__(self) -> None:
        check_pixel_size(self.pixel_size_um)

    @cached_property
    def table(self) -> pd.DataFrame:
        """A row of measurements per instance."""
        return measure(self.instances, self.image, self.pixel_size_um)

    @cached_property
    def outlines(self) -> list[BaseGeometry]:
        """Polygon or MultiPolygon of each instance."""
        return outlines(self.instances)

    @property
    def position(self) -> dict[str, int]:
        """Of a plane: its index along each axis of its stack, by letter (see :class:`gains.images.raster.Raster`)."""
        return {} if self.image is None or self.page is None else self.image.position


def check_pixel_size(side: float | None) -> None:
    """Refuse what is no side of a pixel in micrometres; None says that it is not known.

    Raises:
        InputError: naming the setting.
    """
    if side is not None and not (isinstance(side, (int, float)) and 0 < side < math.inf):
        raise InputError(f"pixel_size_um={side} must be the side of a pixel in micrometres, above 0")
