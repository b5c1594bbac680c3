"""The side of a pixel is read where a microscope's file says it, and only there."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from gains.images.files import open_rasters
from gains.images.raster import ArrayRaster

PIXELS = np.zeros((40, 50), np.uint8)


def side_of(path: Path) -> float | None:
    sides = {raster.pixel_size_um for raster in open_rasters(path)}
    [side] = sides
    return side


def ome(path: Path, metadata: dict[str, Any], pixels: Any = PIXELS) -> Path:
    tifffile.imwrite(path, pixels, ome=True, metadata={"axes": "YX" if pixels.ndim == 2 else "TYX"} | metadata)
    return path


@pytest.mark.parametrize(
    ("side", "unit", "expected"),
    [(0.25, "µm", 0.25), (250, "nm", 0.25), (0.00025, "mm", 0.25), (1.0, "pixel", None), (0.25, None, 0.25)],
)
def test_ome(tmp_path: Path, side: float, unit: str | None, expected: float | None) -> None:
    sizes = {"PhysicalSizeX": side, "PhysicalSizeY": side}
    units = {} if unit is None else {"PhysicalSizeXUnit": unit, "PhysicalSizeYUnit": unit}
    for pixels in (PIXELS, np.zeros((3, 40, 50), np.uint8)):
        assert side_of(ome(tmp_path / "a.ome.tif", sizes | units, pixels)) == (expected and pytest.approx(expected))


@pytest.mark.parametrize("unit", ["um", "micron", r"\u00B5m"])
def test_imagej(tmp_path: Path, unit: str) -> None:
    tifffile.imwrite(tmp_path / "a.tif", PIXELS, imagej=True, resolution=(3.1, 3.1), metadata={"unit": unit})
    assert side_of(tmp_path / "a.tif") == pytest.approx(1 / 3.1, rel=1e-4)


@pytest.mark.parametrize(("x", "y"), [(0.009, 0.009), (21.0, 21.0), (0.5, 0.6), (0.0, 0.0), (-1.0, -1.0)])
def test_sizes_that_no_microscope_has(tmp_path: Path, x: float, y: float) -> None:
    assert side_of(ome(tmp_path / "a.ome.tif", {"PhysicalSizeX": x, "PhysicalSizeY": y})) is None


def test_what_says_nothing(tmp_path: Path) -> None:
    assert side_of(ome(tmp_path / "a.ome.tif", {})) is None
    tifffile.imwrite(tmp_path / "dpi.tif", PIXELS, resolution=(300, 300), resolutionunit="INCH")
    assert side_of(tmp_path / "dpi.tif") is None
    tifffile.imwrite(tmp_path / "plain.tif", PIXELS, imagej=True)
    assert side_of(tmp_path / "plain.tif") is None
    tifffile.imwrite(tmp_path / "inch.tif", PIXELS, imagej=True, resolution=(72, 72), metadata={"unit": "inch"})
    assert side_of(tmp_path / "inch.tif") is None
    assert ArrayRaster(PIXELS).pixel_size_um is None


def test_damaged_metadata_say_nothing(tmp_path: Path) -> None:
    path = ome(tmp_path / "a.ome.tif", {"PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25})
    content = path.read_bytes()
    for wrong in (b'PhysicalSizeX="zwei"', b'PhysicalSizeX="nan" ', b'PhysicalSizeX="1e99"'):
        (tmp_path / "b.ome.tif").write_bytes(content.replace(b'PhysicalSizeX="0.25"', wrong))
        assert side_of(tmp_path / "b.ome.tif") is None
