"""What ``predict`` gives back: instances that know how to measure and save themselves."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt
import pandas as pd

from gains.export.export import Export
from gains.export.formats import save
from gains.export.measure import measure
from gains.images.raster import ArrayRaster
from gains.instances import Instances


class Prediction(Instances):
    """The instances found in one image."""

    def measure(self, image: npt.NDArray[Any] | None = None, pixel_size_um: float | None = None) -> pd.DataFrame:
        """One row of measurements per instance, see :func:`gains.export.measure.measure`."""
        return measure(self, None if image is None else ArrayRaster(image), pixel_size_um)

    def save(
        self,
        folder: str | Path,
        name: str,
        formats: Sequence[str],
        image: npt.NDArray[Any] | None = None,
        pixel_size_um: float | None = None,
    ) -> list[Path]:
        """Write files, see :func:`gains.export.formats.save`.

        Args:
            folder: made if it is not there.
            name: beginning of the file names.
            formats: among those of :data:`gains.export.formats.FORMATS`.
            image: adds intensities to the table; needed by ``overlay``.
            pixel_size_um: side of a pixel in micrometres; adds calibrated columns to the table.

        Returns:
            The files.
        """
        raster = None if image is None else ArrayRaster(image)
        return save(Export(self, raster, pixel_size_um, name), Path(folder), name, formats)
